//! personify: client credentials in the body, one scope, and a tenant on every API request.

use hyper::Method;

use super::{Contract, Exchange, granted_scope, oauth_error};
use crate::answer::Answer;
use crate::received::{ClientAuth, TokenRequest};

pub static CONTRACT: Contract = Contract {
    name: "personify",
    token_method: Method::POST,
    token_path: "/connect/token",
    client_auth: &[ClientAuth::Body],
    parameters: &["grant_type", "client_id", "client_secret", "scope"],
    lifetime_s: 3600.0,
    date_skew_s: 0,
    body_on_401: true,
    challenges: true,
    api_error: "invalid_token",
    jwt: true,
    omit_scope: false,
    page: None,
    token,
    api,
};

fn token(exchange: &mut Exchange<'_>, request: &TokenRequest) -> Result<Answer, Answer> {
    // The one error that this provider documents, also for "missing required form parameters" and "incorrect grant_type".
    let invalid = |status| oauth_error(status, "invalid_client", "Invalid client credentials");
    if let Some(refusal) = &request.refusal {
        return Err(invalid(refusal.status));
    }
    let client = exchange.client(request).ok_or_else(|| invalid(400))?;
    if request.parameters.get("grant_type") != Some("client_credentials") {
        exchange.note("grant_type must be client_credentials");
        return Err(invalid(400));
    }
    let own = client.scopes.as_deref().map(|scopes| scopes.iter().map(String::as_str).collect::<Vec<_>>());
    let allowed = own.as_deref().unwrap_or(&[SCOPE]);
    let scope = granted_scope(request.parameters.get("scope"), allowed, SCOPE)
        .ok_or_else(|| oauth_error(400, "invalid_scope", "The scope is not allowed"))?;
    Ok(exchange.own_token(&client, &scope))
}

fn api(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    let token = exchange.bearer("authorization")?;
    let tenant = match exchange.received.header("x-tenant-id") {
        Ok(Some(tenant)) => tenant,
        Ok(None) => return Err(refused(exchange, 400, "tenant_required", "X-Tenant-Id is missing")),
        Err(problem) => return Err(refused(exchange, 400, "tenant_required", &problem)),
    };
    let client = exchange.lane.grants.client(CONTRACT.name, &token.owner.client_id);
    let tenants = client.and_then(|client| client.tenants.clone()).unwrap_or_else(|| vec![TENANT.to_owned()]);
    if !tenants.iter().any(|own| own == tenant) {
        return Err(refused(exchange, 403, "unknown_tenant", "the tenant in X-Tenant-Id is not the client's"));
    }
    Ok(exchange.accepted(&token.owner, "bearer", token.number))
}

fn refused(exchange: &mut Exchange<'_>, status: u16, error: &'static str, description: &str) -> Answer {
    exchange.note(description);
    oauth_error(status, error, description)
}

const SCOPE: &str = "idp_api";
const TENANT: &str = "demo-tenant";
