//! One file per provider's contract, and what they have in common. Nothing here knows of faults.

mod personify;
mod phoenix_market;
mod phoenix_security;
mod phoenix_wallet;
mod rapidomize;

use std::time::{Duration, Instant};

use hyper::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer::Answer;
use crate::grants::{AccessToken, Client, Owner, Shape, seconds};
use crate::lane::Lane;
use crate::received::{ClientAuth, Received, Refusal, TokenRequest, credentials};
use crate::record::{Entry, Kind, fingerprint};
use crate::settings::Settings;

/// What makes one provider different from another.
pub struct Contract {
    pub name: &'static str,
    pub token_method: Method,
    pub token_path: &'static str,
    pub client_auth: &'static [ClientAuth],
    /// The parameters of a token request that this provider documents.
    pub parameters: &'static [&'static str],
    pub lifetime_s: f64,
    pub date_skew_s: i64,
    pub body_on_401: bool,
    pub challenges: bool,
    /// What the body of the API's 401 says.
    pub api_error: &'static str,
    pub jwt: bool,
    pub omit_scope: bool,
    /// Also answers requests that aren't under `/v1/`.
    pub page: Option<&'static str>,
    pub token: fn(&mut Exchange<'_>, &TokenRequest) -> Result<Answer, Answer>,
    pub api: fn(&mut Exchange<'_>) -> Result<Answer, Answer>,
}

impl Contract {
    pub fn named(name: &str) -> Option<&'static Self> {
        CONTRACTS.into_iter().find(|contract| contract.name == name)
    }

    pub fn kind(&self, received: &Received, settings: &Settings) -> Option<Kind> {
        let path = received.path.as_str();
        if path == self.token_path || (settings.short_token_path && path == phoenix_security::SHORT_TOKEN_PATH) {
            Some(Kind::Token)
        } else if path == rapidomize::AUTHORIZE_PATH && self.name == rapidomize::CONTRACT.name {
            Some(Kind::Authorize)
        } else if path.starts_with("/v1/") && path != phoenix_security::SHORT_TOKEN_PATH || self.page == Some(path) {
            Some(Kind::Api)
        } else {
            None
        }
    }
}

/// The hint for a name in a control request that isn't a provider's.
pub fn unknown_name(name: Option<&str>) -> Option<String> {
    let name = name.filter(|name| Contract::named(name).is_none())?;
    let known = CONTRACTS.map(|contract| contract.name).join("`, `");
    Some(format!("`{name}` is no provider; there are `{known}`"))
}

/// One request while a contract looks at it.
pub struct Exchange<'a> {
    pub contract: &'static Contract,
    pub received: &'a Received,
    pub settings: &'a Settings,
    pub lane: &'a mut Lane,
    /// Its number in the log.
    pub number: u64,
}

/// A successful answer of RFC 6749 section 5.1.
#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

impl Exchange<'_> {
    pub fn run(&mut self, kind: Kind, request: &TokenRequest) -> Answer {
        let outcome = match kind {
            Kind::Token => (self.contract.token)(self, request),
            Kind::Authorize => rapidomize::authorize(self),
            Kind::Api | Kind::Echo => (self.contract.api)(self),
        };
        let (Ok(answer) | Err(answer)) = outcome;
        answer
    }

    fn entry(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lane.record.entry(self.number) {
            change(entry);
        }
    }

    fn note(&mut self, problem: impl Into<String>) {
        self.entry(|entry| entry.problems.push(problem.into()));
    }

    /// The client, if it proved itself in a way that is allowed; the reason is for the log only.
    fn client(&mut self, request: &TokenRequest) -> Option<Client> {
        let method = request.method();
        let allowed = &self.settings.client_auth;
        let candidates = match method {
            ClientAuth::RawBasic | ClientAuth::Basic => {
                let form = request.basic.clone().filter(|_| allowed.contains(&ClientAuth::Basic));
                let raw = request.raw_basic.clone().filter(|_| allowed.contains(&ClientAuth::RawBasic));
                vec![form, raw]
            }
            ClientAuth::Body | ClientAuth::None => {
                let id = request.parameters.get("client_id").map(str::to_owned);
                let secret = request.parameters.get("client_secret").unwrap_or_default();
                vec![id.map(|id| (id, secret.to_owned()))]
            }
        };
        let public_allowed = self.contract.name == rapidomize::CONTRACT.name || allowed.contains(&ClientAuth::None);
        let matching = candidates.iter().flatten().find_map(|(id, secret)| {
            let client = self.lane.grants.client(self.contract.name, id)?;
            let proved = match method {
                ClientAuth::None => client.public && public_allowed,
                ClientAuth::Body => allowed.contains(&method) && client.client_secret.as_ref() == Some(secret),
                ClientAuth::Basic | ClientAuth::RawBasic => client.client_secret.as_ref() == Some(secret),
            };
            proved.then(|| client.clone())
        });
        let told = request.parameters.get("client_id");
        let same = matching.filter(|client| told.is_none() || told == client.client_id.as_deref());
        if same.is_none() {
            self.note(format!(
                "client authentication failed ({method:?} was used, {:?} are allowed)",
                self.settings.client_auth
            ));
        }
        same
    }

    /// Issues a token for the client itself.
    fn own_token(&mut self, client: &Client, scope: &str) -> Answer {
        let owner = Owner {
            provider: self.contract.name,
            client_id: client.client_id.clone().unwrap_or_default(),
            scope: scope.to_owned(),
            ..Owner::default()
        };
        let token = self.issue(owner);
        self.token_answer(&token, None, scope, self.settings.lifetime_s)
    }

    fn issue(&mut self, owner: Owner) -> String {
        let shape = Shape { jwt: self.contract.jwt, bytes: self.settings.token_bytes, user_login: false };
        let client_id = owner.client_id.clone();
        let token = self.lane.grants.issue(owner, seconds(self.settings.lifetime_s), shape);
        self.lane.record.change(Some(&client_id), |counters| counters.access_tokens_issued += 1);
        token
    }

    fn token_answer(&mut self, token: &str, refresh_token: Option<&str>, scope: &str, lifetime_s: f64) -> Answer {
        self.entry(|entry| entry.issued_sha256 = Some(fingerprint(token)));
        let body = TokenAnswer {
            access_token: token,
            token_type: self.settings.token_type.as_deref(),
            expires_in: self.expires_in(lifetime_s.floor()),
            refresh_token,
            scope: Some(scope).filter(|scope| !self.settings.omit_scope && !scope.is_empty()),
        };
        Answer::json(200, &body).with("cache-control", "no-store").with("pragma", "no-cache")
    }

    /// The number of seconds, unless the settings tell something else.
    fn expires_in(&self, seconds: f64) -> Option<Box<RawValue>> {
        if self.settings.omit_expires_in {
            return None;
        }
        let told = self.settings.expires_in.clone();
        told.or_else(|| RawValue::from_string(format!("{seconds:.0}")).ok())
    }

    /// The access token that a request holds after `Bearer`, if it is good.
    fn bearer(&mut self, header: &str) -> Result<AccessToken, Answer> {
        let (scheme, token) = self.api_credentials(header)?;
        if scheme != "bearer" {
            return Err(self.unauthorized(format!("the scheme of {header} is not Bearer")));
        }
        self.access_token(&token, "bearer")
    }

    fn api_credentials(&mut self, header: &str) -> Result<(String, String), Answer> {
        let mut problems = Vec::new();
        let found = match self.received.header(header) {
            Ok(Some(value)) => credentials(value, &mut problems).map(|(scheme, token)| (scheme, token.to_owned())),
            Ok(None) => return Err(self.no_credentials(format!("{header} is missing"))),
            Err(problem) => Err(problem),
        };
        self.entry(|entry| entry.problems.append(&mut problems));
        found.map_err(|problem| self.unauthorized(problem))
    }

    fn access_token(&mut self, token: &str, credential: &'static str) -> Result<AccessToken, Answer> {
        self.entry(|entry| {
            entry.token_sha256 = Some(fingerprint(token));
            entry.authentication = credential;
        });
        let found = self.lane.grants.access.get(token);
        let problem = match found {
            None => "the token is unknown",
            Some(found) if found.owner.provider != self.contract.name => "the token is another provider's",
            Some(found) if found.revoked => "the token was revoked",
            Some(found) if found.expires <= Instant::now() => "the token has expired",
            Some(found) if found.user_login => "the token is of a user's login",
            Some(found) => return Ok(found.clone()),
        };
        Err(self.unauthorized(problem))
    }

    /// A 401 of the API to credentials that are no good.
    fn unauthorized(&mut self, problem: impl Into<String>) -> Answer {
        self.refused(problem, ", error=\"invalid_token\"")
    }

    /// A 401 of the API to a request without credentials, which names no error (RFC 6750 section 3.1).
    fn no_credentials(&mut self, problem: impl Into<String>) -> Answer {
        self.refused(problem, "")
    }

    fn refused(&mut self, problem: impl Into<String>, error: &str) -> Answer {
        self.note(problem);
        let mut answer = match self.settings.body_on_401 {
            true => oauth_error(401, self.contract.api_error, "Token expired or invalid"),
            false => Answer::empty(401),
        };
        let own = || format!("Bearer realm=\"{}\"{error}", self.contract.name);
        let own = || self.contract.challenges.then(own).into_iter().collect();
        for challenge in self.settings.challenges.clone().unwrap_or_else(own) {
            answer = answer.with("www-authenticate", challenge);
        }
        answer
    }

    /// What every API call is answered with once its credential is found good.
    fn accepted(&mut self, owner: &Owner, credential: &str, token_number: u64) -> Answer {
        let received = self.received;
        if received.path == "/v1/redirect" {
            return self.redirect();
        }
        let body = serde_json::json!({
            "ok": true,
            "provider": self.contract.name,
            "method": received.method.as_str(),
            "path": received.path,
            "client_id": owner.client_id,
            "subject": owner.subject,
            "scope": owner.scope,
            "credential": credential,
            "token_sha256": self.lane.record.entry(self.number).and_then(|entry| entry.token_sha256.clone()),
            "token_number": token_number,
            "body_bytes": received.body.len(),
            "body_sha256": fingerprint(&received.body),
        });
        Answer::json(200, &body)
    }

    fn redirect(&mut self) -> Answer {
        let query = self.received.query().unwrap_or_default();
        let status = query.get("status").map_or(Ok(302), str::parse::<u16>);
        match (query.get("to"), status) {
            (Some(to), Ok(status @ 300..=399)) => Answer::empty(status).with("location", to),
            _ => Answer::hint(400, "bad_redirect", "give `to`, an address, and `status`, a number from 300 to 399"),
        }
    }
}

/// For all providers: a request that can't be read is refused with this body.
fn readable(exchange: &Exchange<'_>, request: &TokenRequest) -> Result<(), Answer> {
    match &request.refusal {
        None => Ok(()),
        Some(refusal) if refusal.status == 405 => {
            Err(refusal.answer().with("allow", exchange.contract.token_method.as_str()))
        }
        Some(refusal) => Err(refusal.answer()),
    }
}

/// An error of RFC 6749 section 5.2.
fn oauth_error(status: u16, error: &'static str, description: &str) -> Answer {
    Refusal { status, error, description: description.to_owned() }.answer()
}

/// A 401 that tells the scheme when a scheme was used, as RFC 6749 section 5.2 demands.
fn invalid_client(status: u16, request: &TokenRequest, description: &str) -> Answer {
    let answer = oauth_error(status, "invalid_client", description);
    match request.method() {
        ClientAuth::Basic | ClientAuth::RawBasic if status == 401 => {
            answer.with("www-authenticate", "Basic realm=\"token\"")
        }
        _ => answer,
    }
}

/// The scope to give: what was asked for if it is allowed, else what the provider gives unasked.
fn granted_scope(asked: Option<&str>, allowed: &[&str], unasked: &str) -> Option<String> {
    let Some(asked) = asked else {
        return Some(unasked.to_owned());
    };
    asked.split(' ').all(|scope| allowed.contains(&scope)).then(|| asked.to_owned())
}

/// Lets `control` make tokens.
pub fn lifetime(settings: &Settings) -> Duration {
    seconds(settings.lifetime_s)
}

pub static CONTRACTS: [&Contract; 5] = [
    &personify::CONTRACT,
    &phoenix_market::CONTRACT,
    &phoenix_security::CONTRACT,
    &phoenix_wallet::CONTRACT,
    &rapidomize::CONTRACT,
];
