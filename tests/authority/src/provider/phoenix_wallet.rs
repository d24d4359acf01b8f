//! phoenix-wallet: client credentials in the body, six scopes, and its own table of errors.

use hyper::Method;

use super::{Contract, Exchange, granted_scope, invalid_client, oauth_error, readable};
use crate::answer::Answer;
use crate::received::{ClientAuth, TokenRequest};

pub static CONTRACT: Contract = Contract {
    name: "phoenix-wallet",
    token_method: Method::POST,
    token_path: "/oauth/token",
    client_auth: &[ClientAuth::Body],
    parameters: &["grant_type", "client_id", "client_secret", "scope"],
    lifetime_s: 3600.0,
    date_skew_s: 0,
    body_on_401: true,
    challenges: true,
    api_error: "unauthorized",
    jwt: true,
    omit_scope: false,
    page: None,
    token,
    api,
};

fn token(exchange: &mut Exchange<'_>, request: &TokenRequest) -> Result<Answer, Answer> {
    readable(exchange, request)?;
    let client =
        exchange.client(request).ok_or_else(|| invalid_client(401, request, "Client authentication failed"))?;
    match request.parameters.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(oauth_error(400, "invalid_grant", "Grant type not supported")),
        None => return Err(oauth_error(400, "invalid_request", "grant_type is missing")),
    }
    let own = client.scopes.as_deref().map(|scopes| scopes.iter().map(String::as_str).collect::<Vec<_>>());
    let allowed = own.as_deref().unwrap_or(&SCOPES);
    let scope = granted_scope(request.parameters.get("scope"), allowed, &allowed.join(" "))
        .ok_or_else(|| oauth_error(400, "invalid_scope", "Requested scope not allowed"))?;
    Ok(exchange.own_token(&client, &scope))
}

fn api(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    let token = exchange.bearer("authorization")?;
    let read = exchange.received.method == Method::GET;
    let resource = exchange.received.path.split('/').nth(2).unwrap_or_default();
    let needed = match (resource, read) {
        ("wallets", true) => "wallets:read",
        ("wallets", false) => "wallets:write",
        ("policies", true) => "policies:read",
        ("policies", false) => "policies:write",
        ("ledger", _) => "ledger:read",
        ("events", _) => "events:subscribe",
        _ => "",
    };
    if !needed.is_empty() && !token.owner.scope.split(' ').any(|scope| scope == needed) {
        exchange.note(format!("the token lacks the scope {needed}"));
        let body =
            serde_json::json!({"error": "insufficient_scope", "error_description": format!("{needed} is needed")});
        let challenge = format!("Bearer realm=\"{}\", error=\"insufficient_scope\", scope=\"{needed}\"", CONTRACT.name);
        return Err(Answer::json(403, &body).with("www-authenticate", challenge));
    }
    Ok(exchange.accepted(&token.owner, "bearer", token.number))
}

const SCOPES: [&str; 6] =
    ["wallets:read", "wallets:write", "policies:read", "policies:write", "ledger:read", "events:subscribe"];
