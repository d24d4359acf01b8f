//! A client that registers itself, by threads and by tasks (RFC 7591, RFC 7592).

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hosts_rust::assert_no_secret;
use hosts_rust::scripted::{AUTH, Scripted, Seen, answer};
use remint::client::{Incoming, Outgoing, SendError};
use remint::{ClientInformation, ErrorCode, Family, Registrar, RegistrationRequest, Secret};
use serde_json::{Value, json};

const METADATA: &str = r#"{"client_name": "Zürich", "grant_types": ["client_credentials"]}"#;

/// What the registration endpoint is known by.
fn registrar(endpoints: &Value) -> Registrar {
    let mut profile = json!({
        "name": "registry",
        "title": "Registry",
        "grants": ["client_credentials"],
        "token": {"endpoint": format!("{AUTH}/token")},
        "api_origins": [],
    });
    profile.as_object_mut().unwrap().extend(endpoints.as_object().unwrap().clone());
    Registrar::new(&json!({ "profile": profile }).to_string()).unwrap()
}

fn known() -> Registrar {
    registrar(&json!({"endpoints": {"registration": format!("{AUTH}/register")}}))
}

/// A server that registers whoever comes.
fn registry() -> Scripted {
    Scripted::new(|seen| match (seen.method, seen.path()) {
        ("GET", "/.well-known/oauth-authorization-server") => answer(200, &json!({"issuer": "https://other.example"})),
        ("GET", "/.well-known/openid-configuration") => {
            let endpoint = format!("{AUTH}/elsewhere");
            answer(200, &json!({"issuer": AUTH, "token_endpoint": endpoint, "registration_endpoint": endpoint}))
        }
        ("DELETE", _) => Incoming { status: 204, headers: Vec::new(), body: Vec::new() },
        (method, _) => answer(if method == "POST" { 201 } else { 200 }, &registered(seen)),
    })
}

fn registered(seen: &Seen) -> Value {
    let mut client = serde_json::from_str(&seen.body).unwrap_or_else(|_| json!({}));
    let more = json!({
        "client_id": "c1",
        "client_secret": "canary-secret",
        "client_id_issued_at": 1_700_000_000,
        "client_secret_expires_at": 0,
        "registration_client_uri": format!("{AUTH}/clients/c1"),
        "registration_access_token": "canary-access",
    });
    client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client
}

fn new_client() -> RegistrationRequest {
    RegistrationRequest::Register {
        metadata: METADATA.into(),
        initial_access_token: Some("canary-initial".into()),
        software_statement: None,
    }
}

fn access(client: &ClientInformation) -> (String, Secret) {
    (client.registration_client_uri.clone().unwrap(), client.registration_access_token.clone().unwrap())
}

fn read(client: &ClientInformation) -> RegistrationRequest {
    let (registration_client_uri, registration_access_token) = access(client);
    RegistrationRequest::Read { registration_client_uri, registration_access_token }
}

fn update(client: &ClientInformation, metadata: &str) -> RegistrationRequest {
    let (registration_client_uri, registration_access_token) = access(client);
    let (client_id, client_secret) = (Some(client.client_id.clone()), client.client_secret.clone());
    let metadata = metadata.into();
    RegistrationRequest::Update {
        registration_client_uri,
        registration_access_token,
        client_id,
        client_secret,
        metadata,
    }
}

fn delete(client: &ClientInformation) -> RegistrationRequest {
    let (registration_client_uri, registration_access_token) = access(client);
    RegistrationRequest::Delete { registration_client_uri, registration_access_token }
}

/// What the server saw of a whole life, whoever sent it.
fn assert_whole_life(server: &Scripted, first: &ClientInformation) {
    assert_eq!((&*first.client_id, first.client_secret.as_ref().unwrap().expose()), ("c1", "canary-secret"));
    assert_eq!((first.client_id_issued_at, first.client_secret_expires_at), (Some(1_700_000_000), None));
    assert_eq!(
        serde_json::from_str::<Value>(&first.metadata).unwrap(),
        serde_json::from_str::<Value>(METADATA).unwrap()
    );
    let register = &server.at("/register")[0];
    assert_eq!((register.method, &*register.body), ("POST", METADATA));
    assert_eq!(register.headers["authorization"], "Bearer canary-initial");
    let managed = server.at("/clients/c1");
    assert_eq!(managed.iter().map(|seen| seen.method).collect::<Vec<_>>(), ["GET", "PUT", "DELETE"]);
    assert!(managed.iter().all(|seen| seen.headers["authorization"] == "Bearer canary-access"));
    let sent: Value = serde_json::from_str(&managed[1].body).unwrap();
    assert_eq!(sent, json!({"client_name": "Other", "client_id": "c1", "client_secret": "canary-secret"}));
}

#[test]
fn a_client_registers_itself_and_is_read_replaced_and_deleted() {
    let (server, registrar) = (registry(), known());
    let client = registrar.register(new_client(), &server, None).unwrap().unwrap();
    assert_eq!(registrar.register(read(&client), &server, None).unwrap().unwrap().client_id, "c1");
    let other = registrar.register(update(&client, r#"{"client_name": "Other"}"#), &server, None).unwrap().unwrap();
    assert!(other.metadata.contains("Other"));
    assert!(registrar.register(delete(&client), &server, None).unwrap().is_none());
    assert_whole_life(&server, &client);
}

#[tokio::test]
async fn tasks_register_a_client_too() {
    let (server, registrar) = (registry(), known());
    let client = registrar.register_async(new_client(), &server, None).await.unwrap().unwrap();
    assert_eq!(registrar.register_async(read(&client), &server, None).await.unwrap().unwrap().client_id, "c1");
    let other = registrar.register_async(update(&client, r#"{"client_name": "Other"}"#), &server, None).await;
    assert!(other.unwrap().unwrap().metadata.contains("Other"));
    assert!(registrar.register_async(delete(&client), &server, None).await.unwrap().is_none());
    assert_whole_life(&server, &client);
}

#[tokio::test]
async fn where_the_endpoint_is_in_the_metadata_that_is_read_first() {
    let (server, registrar) = (registry(), registrar(&json!({"token": {}, "discovery": {"issuer": AUTH}})));
    registrar.register(new_client(), &server, None).unwrap().unwrap();
    registrar.register_async(new_client(), &server, None).await.unwrap().unwrap();
    let order = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/elsewhere"];
    assert_eq!(format!("{server:?}"), format!("{:?}", [order, order].concat()));
    assert!(server.at(order[1]).iter().all(|seen| !seen.headers.contains_key("authorization")));
}

#[test]
fn nothing_prints_a_secret() {
    let (server, registrar) = (registry(), known());
    let request = new_client();
    assert_no_secret(&request, &["canary", "Zürich"]);
    let client = registrar.register(request, &server, None).unwrap().unwrap();
    assert_no_secret(&client, &["canary"]);
    assert_no_secret(&(update(&client, METADATA), read(&client), delete(&client)), &["canary"]);
}

#[test]
fn what_the_server_refuses_and_what_does_not_arrive_is_a_typed_error() {
    let said = |status, body: &str| Ok(Incoming { status, headers: Vec::new(), body: body.into() });
    let long = "x".repeat(300_000);
    for (sent, code, family, retryable) in [
        (said(400, r#"{"error": "invalid_client_metadata"}"#), ErrorCode::InvalidClientMetadata, Family::Server, false),
        (said(401, "canary"), ErrorCode::InvalidClient, Family::Server, false),
        (said(503, "canary"), ErrorCode::ServerUnavailable, Family::Server, true),
        (said(201, &long), ErrorCode::AnswerTooLarge, Family::Transport, false),
        (Err(SendError::TooLarge), ErrorCode::AnswerTooLarge, Family::Transport, false),
        (Err(SendError::NotSent), ErrorCode::TransportFailed, Family::Transport, true),
        (Err(SendError::MaybeSent), ErrorCode::TransportFailed, Family::Transport, false),
        (Err(SendError::Timeout), ErrorCode::Timeout, Family::Transport, false),
    ] {
        let transport = move |_: Outgoing| sent.clone();
        let error = known().register(new_client(), &transport, None).unwrap_err();
        assert_eq!((error.code(), error.code().family(), error.is_retryable()), (code, family, retryable));
        assert_no_secret(&error, &["canary"]);
    }
}

#[test]
fn the_transport_is_told_how_long_it_may_take_and_how_much_to_read() {
    for (given, told) in [(None, 10), (Some(Duration::from_secs(3)), 3)] {
        let transport = move |outgoing: Outgoing| -> Result<Incoming, SendError> {
            assert_eq!((outgoing.timeout, outgoing.cap), (Duration::from_secs(told), 262_144));
            Err(SendError::NotSent)
        };
        assert_eq!(known().register(new_client(), &transport, given).unwrap_err().code(), ErrorCode::TransportFailed);
    }
}

#[test]
fn what_is_wrong_is_said_before_anything_is_sent() {
    let server = registry();
    let metadata = |text: &str| RegistrationRequest::Register {
        metadata: text.into(),
        initial_access_token: None,
        software_statement: None,
    };
    for (registrar, request, timeout) in [
        (known(), metadata("[]"), None),
        (known(), metadata(r#"{"client_id": "mine"}"#), None),
        (known(), metadata("{}"), Some(Duration::ZERO)),
        (registrar(&json!({})), metadata("{}"), None),
    ] {
        let error = registrar.register(request, &server, timeout).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidOption, "{error}");
    }
    assert_eq!(format!("{server:?}"), "[]");
}
