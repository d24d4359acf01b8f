//! phoenix-market: client credentials for one token that all users share, and the page that takes it in its URL.

use hyper::Method;

use super::{Contract, Exchange, invalid_client, oauth_error, readable};
use crate::answer::Answer;
use crate::received::{ClientAuth, TokenRequest};

pub static CONTRACT: Contract = Contract {
    name: "phoenix-market",
    token_method: Method::POST,
    // The provider's text names no path; this one is ours.
    token_path: "/oauth/token",
    client_auth: &[ClientAuth::Body],
    parameters: &["grant_type", "client_id", "client_secret"],
    lifetime_s: 3600.0,
    date_skew_s: 0,
    body_on_401: true,
    challenges: true,
    api_error: "invalid_token",
    jwt: false,
    omit_scope: true,
    page: Some("/embed"),
    token,
    api,
};

fn token(exchange: &mut Exchange<'_>, request: &TokenRequest) -> Result<Answer, Answer> {
    readable(exchange, request)?;
    let client =
        exchange.client(request).ok_or_else(|| invalid_client(401, request, "Client authentication failed"))?;
    if request.parameters.get("grant_type") != Some("client_credentials") {
        return Err(oauth_error(400, "unsupported_grant_type", "grant_type must be client_credentials"));
    }
    Ok(exchange.own_token(&client, ""))
}

fn api(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    if Some(exchange.received.path.as_str()) == CONTRACT.page {
        return embed(exchange);
    }
    let token = exchange.bearer("authorization")?;
    Ok(exchange.accepted(&token.owner, "bearer", token.number))
}

/// What an iframe shows.
fn embed(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    let query = exchange.received.query().map_err(|problem| exchange.unauthorized(problem))?;
    let Some(token) = query.get("access_token") else {
        return Err(exchange.no_credentials("access_token is missing in the URL"));
    };
    exchange.access_token(token, "query")?;
    let page = "<!doctype html><title>Phoenix</title><p>The token is good.</p>";
    let answer = Answer::text(200, "text/html; charset=utf-8", page);
    Ok(answer.with("cache-control", "no-store").with("referrer-policy", "no-referrer"))
}
