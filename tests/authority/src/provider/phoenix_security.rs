//! phoenix-security: not OAuth. A GET with raw Basic, and an absolute expiry by a clock that is off.

use std::time::UNIX_EPOCH;

use hyper::Method;

use super::{Contract, Exchange};
use crate::answer::{Answer, shifted};
use crate::grants::Owner;
use crate::received::{ClientAuth, TokenRequest};
use crate::record::fingerprint;

pub static CONTRACT: Contract = Contract {
    name: "phoenix-security",
    token_method: Method::GET,
    token_path: "/v1/auth/access_token",
    client_auth: &[ClientAuth::RawBasic],
    parameters: &[],
    lifetime_s: 3600.0,
    date_skew_s: 90,
    body_on_401: false,
    challenges: false,
    api_error: "invalid_token",
    jwt: false,
    omit_scope: true,
    page: None,
    token,
    api,
};

/// Named once in the provider's text, beside the path of its sample.
pub const SHORT_TOKEN_PATH: &str = "/v1/access_token";

fn token(exchange: &mut Exchange<'_>, request: &TokenRequest) -> Result<Answer, Answer> {
    if let Some(refusal) = &request.refusal {
        // This provider knows no error but "Incorrect credentials: 401 Unauthorized".
        let status = if refusal.status == 405 { 405 } else { 401 };
        return Err(refused(exchange, status));
    }
    let client = exchange.client(request).ok_or_else(|| refused(exchange, 401))?;
    let owner = Owner { provider: CONTRACT.name, client_id: client.client_id.unwrap_or_default(), ..Owner::default() };
    let token = exchange.issue(owner);
    exchange.entry(|entry| entry.issued_sha256 = Some(fingerprint(&token)));
    let now = shifted(exchange.settings.date_skew_s).duration_since(UNIX_EPOCH).unwrap_or_default();
    let whole = (now.as_secs() as f64) + exchange.settings.lifetime_s.floor();
    let mut body = serde_json::json!({"token": token}).to_string();
    if let Some(expiry) = exchange.expires_in(whole) {
        body.pop();
        body.push_str(&format!(",\"expiry\":{expiry}}}"));
    }
    Ok(Answer::text(200, "application/json", body))
}

fn api(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    let token = exchange.bearer("authorization")?;
    Ok(exchange.accepted(&token.owner, "bearer", token.number))
}

fn refused(exchange: &Exchange<'_>, status: u16) -> Answer {
    if exchange.settings.body_on_401 {
        Answer::json(status, &serde_json::json!({"message": "Unauthorized"}))
    } else {
        Answer::empty(status)
    }
}
