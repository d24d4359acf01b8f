//! rapidomize: the code flow with refresh tokens that rotate, API tokens, and a header of its own.

use std::time::{Duration, Instant};

use hyper::Method;

use super::{Contract, Exchange, invalid_client, oauth_error, readable};
use crate::answer::Answer;
use crate::grants::{Client, Code, Owner, RefreshToken, Revocation, challenge, seconds};
use crate::received::{ClientAuth, TokenRequest, form_encoded, raw_basic};
use crate::record::fingerprint;

pub static CONTRACT: Contract = Contract {
    name: "rapidomize",
    token_method: Method::POST,
    token_path: "/oauth/token",
    client_auth: &[ClientAuth::Basic, ClientAuth::Body],
    parameters: &[
        "grant_type",
        "client_id",
        "client_secret",
        "scope",
        "code",
        "redirect_uri",
        "code_verifier",
        "refresh_token",
    ],
    lifetime_s: 7200.0,
    date_skew_s: 0,
    body_on_401: true,
    challenges: true,
    api_error: "invalid_token",
    jwt: false,
    omit_scope: false,
    page: None,
    token,
    api,
};

pub const AUTHORIZE_PATH: &str = "/oauth/authorize";

/// Approves at once.
pub fn authorize(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    let refuse = |exchange: &mut Exchange<'_>, description: &str| {
        exchange.note(description);
        oauth_error(400, "invalid_request", description)
    };
    if exchange.received.method != Method::GET {
        return Err(refuse(exchange, "the method must be GET"));
    }
    let query = exchange.received.query().map_err(|problem| refuse(exchange, &problem))?;
    let client = query.get("client_id").and_then(|id| exchange.lane.grants.client(CONTRACT.name, id)).cloned();
    let client = client.ok_or_else(|| refuse(exchange, "client_id is missing or unknown"))?;
    let redirect_uri = query.get("redirect_uri").map(str::to_owned);
    let known = client.redirect_uris.as_deref();
    let only = known.and_then(|known| if let [one] = known { Some(one.clone()) } else { None });
    let target = redirect_uri.clone().or(only).ok_or_else(|| refuse(exchange, "redirect_uri is missing"))?;
    if known.is_some_and(|known| !known.contains(&target)) || target.contains('#') || !target.contains(':') {
        return Err(refuse(exchange, "redirect_uri is not one of the client's"));
    }
    // From here on, errors go to the redirect URI.
    let state = query.get("state");
    if state.is_none() {
        exchange.note("state is missing");
    }
    let error = match (query.get("response_type"), query.get("code_challenge"), query.get("code_challenge_method")) {
        _ if query.get("client_secret").is_some() => Some("invalid_request"),
        (Some("code"), Some(challenge), Some("S256")) if challenge.len() == 43 => None,
        (Some("code"), None, None) if !exchange.settings.require_pkce => None,
        (Some("code"), _, _) => Some("invalid_request"),
        _ => Some("unsupported_response_type"),
    };
    let error = error.or((!exchange.settings.approve).then_some("access_denied"));
    let mut answer = Vec::new();
    if let Some(error) = error {
        exchange.note(format!("answered with {error}"));
        answer.push(("error", error.to_owned()));
    } else {
        let family = exchange.lane.grants.founded();
        let code = Code {
            owner: Owner {
                provider: CONTRACT.name,
                client_id: client.client_id.unwrap_or_default(),
                subject: Some(query.get("login_hint").unwrap_or("demo-user").to_owned()),
                scope: query.get("scope").unwrap_or_default().to_owned(),
                family,
            },
            redirect_uri,
            challenge: query.get("code_challenge").map(str::to_owned),
            expires: Instant::now() + CODE_LIFETIME,
            used: false,
        };
        answer.push(("code", exchange.lane.grants.issue_code(code)));
    }
    answer.extend(state.map(|state| ("state", state.to_owned())));
    let iss = exchange.settings.iss.clone().unwrap_or_else(|| Some(exchange.received.base.clone()));
    answer.extend(iss.map(|iss| ("iss", iss)));
    let answer: Vec<_> = answer.iter().map(|(name, value)| format!("{name}={}", form_encoded(value))).collect();
    let joint = if target.contains('?') { '&' } else { '?' };
    let location = format!("{target}{joint}{}", answer.join("&"));
    Ok(Answer::empty(302).with("location", location).with("cache-control", "no-store"))
}

fn token(exchange: &mut Exchange<'_>, request: &TokenRequest) -> Result<Answer, Answer> {
    readable(exchange, request)?;
    let client = exchange
        .client(request)
        .ok_or_else(|| invalid_client(401, request, "the client is unknown or its secret is wrong"))?;
    match request.parameters.get("grant_type") {
        Some("authorization_code") => exchange_code(exchange, request, &client),
        Some("refresh_token") => refresh(exchange, request, &client),
        Some(_) => Err(oauth_error(400, "unsupported_grant_type", "use authorization_code or refresh_token")),
        None => Err(oauth_error(400, "invalid_request", "grant_type is missing")),
    }
}

fn exchange_code(exchange: &mut Exchange<'_>, request: &TokenRequest, client: &Client) -> Result<Answer, Answer> {
    let value = request.parameters.get("code").ok_or_else(|| oauth_error(400, "invalid_request", "code is missing"))?;
    let found = exchange.lane.grants.codes.get_mut(value);
    let Some(code) = found.filter(|code| Some(&code.owner.client_id) == client.client_id.as_ref()) else {
        return Err(invalid_grant(exchange, "the code is unknown"));
    };
    let (owner, used) = (code.owner.clone(), code.used);
    let verifier = request.parameters.get("code_verifier");
    let wrong = if used {
        Some("the code was used before")
    } else if code.expires <= Instant::now() {
        Some("the code has expired")
    } else if code.redirect_uri.as_deref() != request.parameters.get("redirect_uri") {
        Some("redirect_uri is not that of the authorization request")
    } else if code.challenge.is_none() != verifier.is_none() {
        Some("code_verifier and code_challenge must come both or neither")
    } else if verifier.is_some_and(|verifier| !(43..=128).contains(&verifier.len())) {
        Some("code_verifier must have 43 to 128 characters")
    } else if verifier.map(challenge) != code.challenge {
        Some("code_verifier does not fit the code_challenge")
    } else {
        None
    };
    // A code is spent by any attempt.
    code.used = true;
    if used {
        exchange.lane.grants.revoke(&Revocation::family(owner.family));
    }
    match wrong {
        Some(wrong) => Err(invalid_grant(exchange, wrong)),
        None => Ok(pair(exchange, owner)),
    }
}

fn refresh(exchange: &mut Exchange<'_>, request: &TokenRequest, client: &Client) -> Result<Answer, Answer> {
    let value = request.parameters.get("refresh_token");
    let value = value.ok_or_else(|| oauth_error(400, "invalid_request", "refresh_token is missing"))?;
    let found = exchange.lane.grants.refresh.get(value).cloned();
    let Some(token) = found.filter(|token| Some(&token.owner.client_id) == client.client_id.as_ref()) else {
        return Err(invalid_grant(exchange, "the refresh token is unknown"));
    };
    let now = Instant::now();
    if token.revoked {
        return Err(invalid_grant(exchange, "the refresh token was revoked"));
    }
    if token.expires.is_some_and(|expires| expires <= now) {
        return Err(invalid_grant(exchange, "the refresh token has expired"));
    }
    let grace = seconds(exchange.settings.reuse_grace_s);
    if token.rotated.is_some_and(|rotated| now.duration_since(rotated) >= grace) {
        exchange.lane.record.change(Some(&token.owner.client_id), |counters| counters.refresh_tokens_reused += 1);
        exchange.lane.grants.revoke(&Revocation::family(token.owner.family));
        return Err(invalid_grant(exchange, "the refresh token was used before; its family is revoked"));
    }
    let mut owner = token.owner.clone();
    if let Some(scope) = request.parameters.get("scope") {
        let granted: Vec<_> = owner.scope.split(' ').collect();
        if !scope.split(' ').all(|scope| granted.contains(&scope)) {
            return Err(oauth_error(400, "invalid_scope", "the scope is wider than the one granted"));
        }
        scope.clone_into(&mut owner.scope);
    }
    let same = exchange.settings.same_token_on_refresh.then(|| same_again(exchange, &token));
    if let Some(answer) = same.flatten() {
        return Ok(answer);
    }
    if !exchange.settings.rotation {
        let access = exchange.issue(owner.clone());
        return Ok(exchange.token_answer(&access, None, &owner.scope, exchange.settings.lifetime_s));
    }
    if let Some(old) = exchange.lane.grants.refresh.get_mut(value) {
        old.rotated.get_or_insert(now);
    }
    Ok(pair(exchange, owner))
}

/// The access token of last time, with what is left of its life.
fn same_again(exchange: &mut Exchange<'_>, token: &RefreshToken) -> Option<Answer> {
    let access = exchange.lane.grants.access.get(&token.access_token)?;
    let left = access.expires.checked_duration_since(Instant::now()).filter(|_| !access.revoked)?;
    let scope = access.owner.scope.clone();
    Some(exchange.token_answer(&token.access_token, None, &scope, left.as_secs_f64()))
}

fn pair(exchange: &mut Exchange<'_>, owner: Owner) -> Answer {
    let access = exchange.issue(owner.clone());
    let lifetime = exchange.settings.refresh_lifetime_s.map(seconds);
    let (scope, client_id) = (owner.scope.clone(), owner.client_id.clone());
    let refresh = exchange.lane.grants.issue_refresh(owner, lifetime, &access);
    exchange.lane.record.change(Some(&client_id), |counters| counters.refresh_tokens_issued += 1);
    exchange.token_answer(&access, Some(&refresh), &scope, exchange.settings.lifetime_s)
}

fn invalid_grant(exchange: &mut Exchange<'_>, description: &str) -> Answer {
    exchange.note(description);
    oauth_error(400, "invalid_grant", description)
}

fn api(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    let query = exchange.received.query().map_err(|problem| oauth_error(400, "invalid_request", &problem))?;
    let has = |name| exchange.received.headers.contains_key(name);
    // With x-rpz-auth, Authorization is the business of whatever lies behind the API.
    let header = if has("x-rpz-auth") { "x-rpz-auth" } else { "authorization" };
    if let Some(token) = query.get("token") {
        if has(header) {
            exchange.note("the token was sent in two ways");
            return Err(oauth_error(400, "invalid_request", "send the token in one way only"));
        }
        return api_token(exchange, None, token, "query");
    }
    let (scheme, credentials) = exchange.api_credentials(header)?;
    if scheme == "basic" {
        return match raw_basic(&credentials) {
            Some((id, token)) => api_token(exchange, Some(&id), &token, "api_token"),
            None => Err(exchange.unauthorized("the Basic credentials are not padded base64 of id and token")),
        };
    }
    let token = exchange.bearer(header)?;
    Ok(exchange.accepted(&token.owner, "bearer", token.number))
}

/// An API token, which belongs to an App or Device and doesn't expire.
fn api_token(
    exchange: &mut Exchange<'_>,
    id: Option<&str>,
    token: &str,
    credential: &'static str,
) -> Result<Answer, Answer> {
    exchange.entry(|entry| {
        entry.token_sha256 = Some(fingerprint(token));
        entry.authentication = credential;
    });
    let grants = &exchange.lane.grants;
    let client = match id {
        Some(id) => grants.client(CONTRACT.name, id).filter(|client| client.api_token.as_deref() == Some(token)),
        None => grants.with_api_token(CONTRACT.name, token),
    };
    let Some(client_id) = client.and_then(|client| client.client_id.clone()) else {
        return Err(exchange.unauthorized("the API token is unknown"));
    };
    let owner = Owner { provider: CONTRACT.name, client_id, ..Owner::default() };
    Ok(exchange.accepted(&owner, credential, 0))
}

const CODE_LIFETIME: Duration = Duration::from_secs(60);
