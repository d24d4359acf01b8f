//! A model of an authorization server: it knows what it issued, counts what it is asked, and notices reuse.

use crate::plan::{Fault, Plan, Reuse};

/// In every secret, so that one that got out is found.
pub const CANARY: &str = "canary.CANARY";

#[derive(Debug)]
pub struct AccessToken {
    /// The owner of the grant it came from.
    pub owner: usize,
    /// The scope that was asked for.
    pub scope: Option<String>,
    pub expires: i64,
    /// It says no life, or none left.
    pub odd: bool,
    pub revoked: bool,
}

#[derive(Debug)]
pub struct RefreshToken {
    pub owner: usize,
    pub family: usize,
    used: Option<i64>,
    pub successor: Option<usize>,
}

#[derive(Debug)]
pub struct Family {
    pub owner: usize,
    /// The refresh token that it takes now.
    pub current: usize,
    pub revoked: bool,
    /// Somebody sent a token that had been replaced.
    pub reused: bool,
}

#[derive(Debug, Default)]
pub struct Authority {
    pub access: Vec<AccessToken>,
    pub refresh: Vec<RefreshToken>,
    pub families: Vec<Family>,
    /// Token requests that were looked at, by owner.
    pub requests: Vec<u64>,
}

/// What is asked of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Question {
    ClientCredentials { owner: usize, scope: Option<String> },
    Refresh { token: usize, scope: Option<String> },
    Revoke { refresh: Option<usize>, access: Option<usize> },
}

/// What it says.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Reply {
    Tokens { access: usize, refresh: Option<usize>, life: Option<i64> },
    InvalidGrant,
    Done,
}

pub fn access_text(number: usize) -> String {
    format!("at-{number}-{CANARY}")
}

pub fn refresh_text(number: usize) -> String {
    format!("rt-{number}-{CANARY}")
}

fn number(text: &str, prefix: &str) -> Option<usize> {
    text.strip_prefix(prefix)?.strip_suffix(CANARY)?.strip_suffix('-')?.parse().ok()
}

pub fn access_number(text: &str) -> Option<usize> {
    number(text, "at-")
}

pub fn refresh_number(text: &str) -> Option<usize> {
    number(text, "rt-")
}

/// The refresh token in a plain record.
pub fn refresh_in(record: &str) -> Option<usize> {
    let (_, rest) = record.split_once("\"rt-")?;
    rest.split_once('-')?.0.parse().ok()
}

impl Authority {
    pub fn new(plan: &Plan) -> Self {
        let mut authority = Self { requests: vec![0; plan.owners()], ..Self::default() };
        if plan.rotating {
            (0..plan.owners()).for_each(|owner| {
                authority.consent(owner);
            });
        }
        authority
    }

    /// A person agrees: a new family of refresh tokens begins.
    pub fn consent(&mut self, owner: usize) -> usize {
        let token = self.refresh.len();
        let family = self.families.len();
        self.refresh.push(RefreshToken { owner, family, used: None, successor: None });
        self.families.push(Family { owner, current: token, revoked: false, reused: false });
        token
    }

    /// The family that counts: the last one that the owner agreed to.
    pub fn family(&self, owner: usize) -> Option<&Family> {
        self.families.iter().rev().find(|family| family.owner == owner)
    }

    /// Whether the second was issued in exchange for the first, directly or not.
    pub fn succeeds(&self, first: usize, second: usize) -> bool {
        let mut token = self.refresh.get(first).and_then(|token| token.successor);
        while let Some(next) = token {
            if next == second {
                return true;
            }
            token = self.refresh.get(next).and_then(|token| token.successor);
        }
        false
    }

    pub fn answer(&mut self, question: &Question, plan: &Plan, life: Option<i64>, now: i64) -> Reply {
        match question {
            Question::ClientCredentials { owner, scope } => {
                self.requests[*owner] += 1;
                let same = plan.has(Fault::SameToken).then(|| self.given_before(scope.as_deref(), now)).flatten();
                if let Some(access) = same {
                    return Reply::Tokens { access, refresh: None, life: Some(self.access[access].expires - now) };
                }
                let access = self.issue(*owner, scope.clone(), plan, life, now);
                Reply::Tokens { access, refresh: None, life }
            }
            Question::Refresh { token, scope } => {
                let (owner, family) = (self.refresh[*token].owner, self.refresh[*token].family);
                self.requests[owner] += 1;
                if self.families[family].revoked {
                    return Reply::InvalidGrant;
                }
                let refresh = match (plan.reuse, self.refresh[*token].used) {
                    (Reuse::NoRotation, _) => None,
                    (_, None) => {
                        let successor = self.refresh.len();
                        self.refresh.push(RefreshToken { owner, family, used: None, successor: None });
                        self.refresh[*token].used = Some(now);
                        self.refresh[*token].successor = Some(successor);
                        self.families[family].current = successor;
                        Some(successor)
                    }
                    (Reuse::Grace(grace), Some(used)) if now - used <= grace => {
                        // Once more what the first request was given, wherever the chain has gone since.
                        Some(self.families[family].current)
                    }
                    (Reuse::Strict | Reuse::Grace(_), Some(_)) => {
                        self.families[family].revoked = true;
                        self.families[family].reused = true;
                        self.access
                            .iter_mut()
                            .filter(|access| access.owner == owner)
                            .for_each(|access| access.revoked = true);
                        return Reply::InvalidGrant;
                    }
                };
                let access = self.issue(owner, scope.clone(), plan, life, now);
                Reply::Tokens { access, refresh, life }
            }
            Question::Revoke { refresh, access } => {
                if let Some(refresh) = refresh {
                    let (owner, family) = (self.refresh[*refresh].owner, self.refresh[*refresh].family);
                    self.families[family].revoked = true;
                    self.access
                        .iter_mut()
                        .filter(|access| access.owner == owner)
                        .for_each(|access| access.revoked = true);
                }
                if let Some(access) = access {
                    self.access[*access].revoked = true;
                }
                Reply::Done
            }
        }
    }

    /// The last token of a scope, if it has a second left at least.
    fn given_before(&self, scope: Option<&str>, now: i64) -> Option<usize> {
        let last = self.access.iter().rposition(|access| access.scope.as_deref() == scope)?;
        let access = &self.access[last];
        (!access.revoked && access.expires >= now + 1_000).then_some(last)
    }

    fn issue(&mut self, owner: usize, scope: Option<String>, plan: &Plan, life: Option<i64>, now: i64) -> usize {
        let odd = life.is_none_or(|life| life != plan.life);
        self.access.push(AccessToken { owner, scope, expires: now + life.unwrap_or(plan.life), odd, revoked: false });
        self.access.len() - 1
    }

    /// What an API says about a token.
    pub fn accepts(&self, access: usize, now: i64) -> bool {
        self.access.get(access).is_some_and(|token| !token.revoked && token.expires > now)
    }
}
