//! The five providers end to end: every program of `examples/rust`, HTTPS, and a person's consent.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use examples_rust::ureq::{self, Ureq};
use hosts_rust::{AUTHORITY, CLIENT_ID, Lane, SECRET, assert_no_secret, program, within};
use remint::client::TokenOptions;
use remint::event::AuthorizationUrl;
use remint::{ErrorCode, Secret};
use serde_json::{Value, json};

fn example(name: &str, lane: &Lane) -> Command {
    let base = lane.url(name);
    let token = if name == "personify" { "/connect/token" } else { "/oauth/token" };
    let mut command = Command::new(program(name));
    command
        .envs([("CLIENT_ID", CLIENT_ID), ("CLIENT_SECRET", SECRET), ("TENANT_ID", "demo-tenant"), ("BASE_URL", &base)])
        .env("TOKEN_ENDPOINT", format!("{base}{token}"))
        .env("AUTHORIZATION_ENDPOINT", format!("{base}/oauth/authorize"))
        .env("IFRAME_URL", format!("{base}/embed"))
        .env("ISSUER", &base);
    command
}

#[test]
fn each_example_runs() {
    for name in ["phoenix-security", "phoenix-wallet", "phoenix-market", "personify"] {
        let lane = Lane::new();
        let output = example(name, &lane).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains(SECRET));
        let wanted = if name == "phoenix-market" { r#""expires_in":3"# } else { r#""ok":true"# };
        assert!(text.contains(wanted), "{name}: {text}");
        assert_eq!(lane.token_requests(), 1, "{name}");
    }
}

#[test]
fn the_example_with_a_person_in_it_runs() {
    let lane = Lane::new();
    let mut child = example("rapidomize", &lane)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = String::new();
    while !shown.ends_with("at:\n") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{shown}");
        shown.push(char::from(byte[0]));
    }
    let url = shown.lines().find_map(|line| line.strip_prefix("Open ")).unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", consent(url)).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(text.contains(r#""ok":true"#), "{text}");
    assert!(told.contains("a new refresh token for ann"), "{told}");
    assert_eq!(lane.token_requests(), 1);
}

/// A person's browser: it opens the URL, agrees, and tells where it ends up.
fn consent(url: &str) -> String {
    let response = ureq::agent().get(url).call().expect("an answer");
    response.headers().get("location").expect("a redirect").to_str().expect("text").to_owned()
}

#[test]
fn a_person_signs_in_once_and_the_refresh_token_does_the_rest() {
    let lane = Lane::new();
    let saved: Arc<Mutex<Vec<_>>> = Arc::default();
    let database = saved.clone();
    let save = move |subject: Option<&str>, token: &Secret| {
        database.lock().unwrap().push((subject.map(ToOwned::to_owned), token.clone()));
        Ok::<_, std::io::Error>(())
    };
    let client = lane.options("rapidomize").on_rotated(save).build(Ureq(ureq::agent())).unwrap();
    let authorization = client.authorization_url(AuthorizationUrl::default()).unwrap();
    assert_no_secret(&authorization.session, &[authorization.session.expose()]);
    let callback = consent(&authorization.url);

    let forged = callback.replace("state=", "state=x");
    let error = client.exchange(forged, authorization.session.clone(), Some("ann")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::StateMismatch);
    let mixed_up = callback.replace("iss=http", "iss=https");
    let error = client.exchange(mixed_up, authorization.session.clone(), Some("ann")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::IssuerMismatch);
    assert_eq!(lane.token_requests(), 0);

    let token = client.exchange(&*callback, authorization.session.clone(), Some("ann")).unwrap();
    assert_eq!(saved.lock().unwrap().len(), 1);
    let error = client.exchange(&*callback, authorization.session, Some("ann")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::StateMismatch);

    let ann = client.with_subject("ann", None).unwrap();
    assert_eq!(ann.token().unwrap().generation, token.generation);
    let forced = ann.token_with(TokenOptions { force: true, ..TokenOptions::default() }).unwrap();
    assert_eq!(forced.generation, token.generation + 1);
    let saved = saved.lock().unwrap();
    assert_eq!(saved.len(), 2);
    assert!(saved.iter().all(|(subject, _)| subject.as_deref() == Some("ann")));
    assert_eq!(lane.count("/refresh_tokens_reused"), 0);
    assert_eq!(lane.token_requests(), 2);

    // Another process begins with what the database holds.
    let client = lane.options("rapidomize").build(Ureq(ureq::agent())).unwrap();
    let ann = client.with_subject("ann", saved.last().unwrap().1.clone()).unwrap();
    ann.token().unwrap();
    assert_eq!(lane.count("/refresh_tokens_reused"), 0);
}

#[test]
fn whoever_never_signed_in_has_to() {
    let lane = Lane::new();
    let client = lane.options("rapidomize").build(Ureq(ureq::agent())).unwrap();
    let error = client.with_subject("bob", None).unwrap().token().unwrap_err();
    assert_eq!(error.code(), ErrorCode::ReauthorizationRequired);
}

#[test]
fn a_new_refresh_token_that_could_not_be_saved_is_told_and_not_lost() {
    let lane = Lane::new();
    let notices: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = notices.clone();
    let client = lane
        .options("rapidomize")
        .on_rotated(|_, _| Err(()))
        .on_notice(move |notice| told.lock().unwrap().push(format!("{notice:?}")))
        .build(Ureq(ureq::agent()))
        .unwrap();
    let carol = client.with_subject("carol", Secret::new(lane.mint("carol"))).unwrap();
    carol.token().unwrap();
    // Notices come when callers have what they waited for.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !notices.lock().unwrap().iter().any(|notice| notice.contains("PersistFailed")) {
        assert!(Instant::now() < deadline, "it was not told");
        thread::sleep(Duration::from_millis(5));
    }
    carol.token_with(TokenOptions { force: true, ..TokenOptions::default() }).unwrap();
    assert_eq!(lane.count("/refresh_tokens_reused"), 0);
}

#[test]
fn an_api_token_costs_no_request() {
    let lane = Lane::new();
    let base = lane.url("rapidomize");
    let client = remint::Builder::new("rapidomize")
        .client_id(CLIENT_ID)
        .api_token("t0ken+/%&: odd")
        .option("token_endpoint", format!("{base}/oauth/token"))
        .option("authorization_endpoint", format!("{base}/oauth/authorize"))
        .option("base_url", &*base)
        .allow_loopback_http(true)
        .build(Ureq(ureq::agent()))
        .unwrap();
    let (agent, url) = (ureq::agent(), format!("{base}/v1/devices"));
    let mut answer = client.call("GET", &url, |headers| ureq::get(&agent, &url, headers)).unwrap();
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(answer["credential"], "api_token");
    assert_eq!(lane.token_requests(), 0);
}

#[test]
fn https_with_an_authority_of_ones_own() {
    use ::ureq::tls::{Certificate, RootCerts, TlsConfig};

    let lane = Lane::new();
    let trusting = || {
        let certificate = Certificate::from_pem(&AUTHORITY.ca).unwrap();
        let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(vec![certificate]))).build();
        ::ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).max_redirects(0).build().new_agent()
    };
    let address = lane.url("phoenix-wallet").replace(&AUTHORITY.http, &AUTHORITY.https);
    let options = lane
        .options("phoenix-wallet")
        .allow_loopback_http(false)
        .option("token_endpoint", format!("{address}/oauth/token"))
        .option("base_url", address);
    options.clone().build(Ureq(trusting())).unwrap().token().unwrap();

    let client = options.build(Ureq(ureq::agent())).unwrap();
    let patience = TokenOptions { timeout: Some(Duration::from_secs(2)), ..TokenOptions::default() };
    let error = within(20, move || client.token_with(patience).unwrap_err());
    assert_eq!(error.code(), ErrorCode::TransportFailed);
    assert!(error.message().contains("`ca`"), "{error}");
    assert_eq!(lane.token_requests(), 1);
}

#[test]
fn a_secret_that_is_read_by_a_function_is_read_for_each_request() {
    let lane = Lane::new();
    lane.control("POST", "clients", &json!({"client_id": "ann", "client_secret": "first"}));
    let current: Arc<Mutex<Result<String, ()>>> = Arc::new(Mutex::new(Ok("first".to_owned())));
    let source = current.clone();
    let client = remint::Builder::new("phoenix-market")
        .client_id("ann")
        .client_secret_async(move || {
            let secret = source.lock().unwrap().clone();
            async { secret }
        })
        .option("token_endpoint", format!("{}/oauth/token", lane.url("phoenix-market")))
        .allow_loopback_http(true)
        .build(Ureq(ureq::agent()))
        .unwrap();
    client.token().unwrap();
    lane.control("POST", "clients", &json!({"client_id": "ann", "client_secret": "second"}));
    *current.lock().unwrap() = Ok("second".to_owned());
    client.invalidate();
    client.token().unwrap();

    *current.lock().unwrap() = Err(());
    client.invalidate();
    let patience = TokenOptions { timeout: Some(Duration::from_secs(2)), ..TokenOptions::default() };
    let error = within(20, move || client.token_with(patience).unwrap_err());
    assert_eq!(error.code(), ErrorCode::HostError);
    assert_eq!(lane.token_requests(), 2);
}
