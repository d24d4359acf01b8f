//! API requests: what to put on them, and what their answers say about the token.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cache::Key;
use crate::challenge::{self, Challenge};
use crate::config::Grant;
use crate::entropy::draw;
use crate::errand::{Kind, Outcome};
use crate::error::{Error, ErrorCode};
use crate::event::{Answered, Attach};
use crate::form;
use crate::machine::{Core, Turn, pause};
use crate::notice::NoticeKind;
use crate::secret::Secret;
use crate::step::{Answer, Done, Verdict, Withdraw};
use crate::token::Token;
use crate::url::Origin;

impl Core {
    /// What to put on one API request.
    pub(crate) fn attach(&mut self, attach: &Attach, turn: &mut Turn<'_>) -> Answer {
        let key = self.key(&attach.want);
        if let Err(error) = self.check_destination(&attach.url) {
            return Answer::Fail(error);
        }
        let token = self.cache.find(&key).and_then(|entry| entry.token(attach.call.generation()));
        // It was withdrawn, or its entry made room for another: the caller asks for the one there is now.
        let Some(token) = token.filter(|token| turn.now.until(token.expires) > 0 || attach.call.is_minted()) else {
            return Answer::Verdict(Verdict::Retry);
        };
        if !token.is_for_requests() {
            return Answer::Fail(Error::new(
                ErrorCode::UnsupportedTokenType,
                "this token is no access token (`N_A`): exchange it for one, and send that",
            ));
        }
        if attach.insecure_query {
            return match self.insecure_url(&attach.url, token) {
                Ok(done) => Answer::Done { done },
                Err(error) => Answer::Fail(error),
            };
        }
        let mut headers = Vec::with_capacity(self.config.attach.headers.len().saturating_add(2));
        headers.push((String::from(token.header()), token.authorization().expose().into()));
        if token.is_bound() {
            // Each request has a proof of its own (STD-119), and the host has to sign it.
            match attach.after.and_then(|after| self.results.take(after)) {
                Some(Ok(Outcome::Proof(proof))) => headers.push(("DPoP".into(), proof.expose().into())),
                Some(Err(error)) => return Answer::Fail(error),
                Some(Ok(Outcome::Done(_))) | None => return self.wait_for_proof(attach, key, turn),
            }
        }
        headers.extend(self.config.attach.headers.iter().cloned());
        Answer::Headers { headers }
    }

    /// The proof of this very request is being signed, or will be.
    fn wait_for_proof(&mut self, attach: &Attach, key: Key, turn: &mut Turn<'_>) -> Answer {
        let deadline = turn.now.boot.saturating_add(self.config.policy.caller_timeout);
        if let Some(after) = attach.after.filter(|after| self.errands.contains_key(after)) {
            return Answer::Wait { flight: after, until: deadline };
        }
        let (call, method, url) = (attach.call, attach.method.clone(), attach.url.clone());
        self.set_out(Kind::Prove { key, call, method, url }, deadline, turn).unwrap_or_else(Answer::Fail)
    }

    /// A token goes only where the profile or the user said that it may, and only over TLS (STD-21, RFC 6750 section 5.3).
    fn check_destination(&self, url: &str) -> Result<(), Error> {
        let origin = Origin::of_request(url, self.config.allow_loopback_http).map_err(|why| {
            Error::new(ErrorCode::OriginNotAllowed, format!("no token is attached to this URL: {why}"))
        })?;
        if self.config.api_origins.contains(&origin) {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::OriginNotAllowed,
            format!("no token is attached to `{}`: if it may have it, name it in `api_origins`", origin.as_str()),
        ))
    }

    /// The token in the query (RFC 6750 section 2.3, which RFC 9700 section 4.3.2 forbids): two providers need it.
    fn insecure_url(&self, url: &str, token: &Token) -> Result<Done, Error> {
        let Some(parameter) = &self.config.attach.insecure_query else {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                format!("the profile `{}` takes no token in a URL: put it into a header", self.config.profile),
            ));
        };
        let (before, fragment) = match url.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (url, None),
        };
        let mut full = String::from(before);
        full.push(if before.contains('?') { '&' } else { '?' });
        form::encode(parameter, &mut full);
        full.push('=');
        form::encode(token.access_token.expose(), &mut full);
        if let Some(fragment) = fragment {
            full.push('#');
            full.push_str(fragment);
        }
        let headers = [("cache-control", "no-store"), ("referrer-policy", "no-referrer")];
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Ok(Done::InsecureUrl { url: Secret::new(full), headers })
    }

    /// An API request was answered: is another token worth a second try?
    pub(crate) fn answered(&mut self, answered: &Answered, turn: &mut Turn<'_>) -> Answer {
        let key = self.key(&answered.want);
        let origin =
            answered.url.as_deref().and_then(|url| Origin::of_request(url, self.config.allow_loopback_http).ok());
        // Any answer may bring the next nonce (STD-125).
        let learned = self.config.dpop.is_some()
            && origin.is_some_and(|origin| self.servers.learn(&origin, &answered.headers, turn.now.wall));
        let challenges = challenge::challenges(&answered.headers);
        if let (401 | 403, Some(step_up)) = (answered.status, challenge::step_up(&challenges)) {
            return Answer::Fail(
                Error::new(
                    ErrorCode::InsufficientUserAuthentication,
                    "the API wants a person who signed in more strongly or more recently: \
                     send them through `authorization_url` with `acr_values` and `max_age` as parameters",
                )
                .with_status(answered.status)
                .with_oauth_error("insufficient_user_authentication")
                .with_authentication(step_up.acr_values, step_up.max_age),
            );
        }
        let is_bound = self
            .cache
            .find(&key)
            .and_then(|entry| entry.token(answered.call.generation()))
            .is_some_and(|token| token.is_bound());
        if let (401, true, true) = (answered.status, is_bound, challenge::refuses_proof(&challenges)) {
            // It is not about the token: one more try with what was just learned, and none after that (STD-124).
            return match learned && !answered.call.is_proven_again() {
                true => Answer::Again { call: answered.call.with_another_proof() },
                false => Answer::Verdict(Verdict::GiveUp),
            };
        }
        Answer::Verdict(match answered.status {
            401 => self.rejected(key, answered, &challenges, turn),
            _ => {
                if let Some(rare) = self.cache.find_mut(&key).and_then(|entry| entry.rare.as_mut()) {
                    rare.rejections.count = 0;
                }
                Verdict::Pass
            }
        })
    }

    fn rejected(&mut self, key: Key, answered: &Answered, challenges: &[Challenge], turn: &mut Turn<'_>) -> Verdict {
        let call = answered.call;
        let refused = call.generation();
        if challenge::insufficient_scope(challenges).is_some() || self.config.grant == Grant::ApiToken {
            return Verdict::GiveUp;
        }
        // One retry, and none for a token that was fetched for this very call.
        let verdict = if call.is_retried() || call.is_minted() { Verdict::GiveUp } else { Verdict::Retry };
        let now = turn.now.boot;
        let policy = &self.config.policy;
        let Some(entry) = self.cache.find_mut(&key) else { return verdict };
        if entry.held.as_ref().is_none_or(|held| held.token.generation != refused) {
            // It is gone already, or a newer one is here: that one is not touched.
            return verdict;
        }
        let rejections = &mut entry.rare().rejections;
        if rejections.count > 0 && now < rejections.pause {
            return Verdict::GiveUp;
        }
        if rejections.generation != refused || rejections.count == 0 {
            rejections.count = rejections.count.saturating_add(1);
            rejections.generation = refused;
            if rejections.count > 1 {
                // A second token fares no better: it is not about the token. It stays, and the API's answer is the caller's.
                let span = pause(
                    policy.terminal_first_min,
                    policy.terminal_first_max,
                    policy.terminal_max,
                    rejections.count.saturating_sub(1),
                    draw(turn.entropy),
                );
                rejections.pause = now.saturating_add(span);
                turn.notice(NoticeKind::Rejected(refused), Some(key), None);
                return Verdict::GiveUp;
            }
        }
        rejections.dropped = true;
        self.discard(key);
        turn.notice(NoticeKind::Rejected(refused), Some(key), None);
        turn.step.withdraw.push(Withdraw { key: Some(key), generation: Some(refused) });
        let owner = self.cache.owner(&key);
        self.note(owner, turn);
        verdict
    }
}
