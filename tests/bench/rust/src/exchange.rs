//! One token request: building it and reading its answer, without a network between the two.

use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;

use oauth2::basic::BasicClient;
use oauth2::http::{Response, header::CONTENT_TYPE};
use oauth2::{AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse as PeerResponse, Scope, TokenUrl};
use remint::{Config, HttpResponse, Now, TokenRequest};

use crate::measure::{Work, compare};

pub fn run() -> Result<(), Box<dyn Error>> {
    let options = format!(
        r#"{{"profile": "phoenix-wallet", "client_id": "{ID}", "client_secret": "{SECRET}", "scope": "{SCOPE}"}}"#
    );
    let config = Arc::new(Config::new(&options)?);
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let body = answer();
    let build = || config.build(TokenRequest::ClientCredentials { scope: None });
    let (_, exchange) = build()?;
    exchange.finish(HttpResponse { status: 200, headers: &headers, body: body.as_bytes() }, Now::default())?;

    let received = || (headers.clone(), body.clone().into_bytes());
    let ours = Work::with("Remint", received, |(headers, body)| {
        let (request, exchange) = build().ok()?;
        let response = HttpResponse { status: 200, headers: &headers, body: &body };
        Some((request, exchange.finish(response, Now::default()).ok()?))
    });

    let client = BasicClient::new(ClientId::new(ID.into()))
        .set_client_secret(ClientSecret::new(SECRET.into()))
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(TokenUrl::new(ENDPOINT.into())?);
    let peer = Work::with(
        "oauth2-rs",
        || peer_answer(&body),
        |answer| {
            let answer = RefCell::new(answer);
            let http =
                |_: HttpRequest| -> Result<PeerResponse, std::fmt::Error> { answer.take().ok_or(std::fmt::Error) };
            client
                .exchange_client_credentials()
                .add_scopes(SCOPE.split(' ').map(|scope| Scope::new(scope.into())))
                .request(&http)
                .ok()
        },
    );
    compare("Build a request, read an 800-byte token", 2_000, ours, vec![peer.target(3.0)]);
    Ok(())
}

fn peer_answer(body: &str) -> Option<PeerResponse> {
    Response::builder().header(CONTENT_TYPE, "application/json").body(body.as_bytes().to_vec()).ok()
}

/// What a token endpoint answers.
pub fn answer() -> String {
    format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3600,"scope":"{SCOPE}"}}"#, token())
}

/// 800 characters, as a JWT has them.
pub fn token() -> String {
    "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.".chars().chain(('a'..='z').cycle()).take(800).collect()
}

const ENDPOINT: &str = "https://auth.phoenixwallet.io/oauth/token";
pub const ID: &str = "wallet-client";
pub const SECRET: &str = "s3cr3t-of-the-wallet";
pub const SCOPE: &str = "wallets:read wallets:write";
