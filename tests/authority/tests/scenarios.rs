//! Starts the program and speaks to it over loopback sockets, as its users do.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

const SECRET: &str = "s3cret+/%&: odd";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

struct Started {
    child: Child,
    stdin: Option<ChildStdin>,
    ready: Value,
}

fn start(stderr: Stdio) -> Started {
    let mut child = Command::new(env!("CARGO_BIN_EXE_authority"))
        .args(["--exit-with-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Started { stdin: child.stdin.take(), child, ready: serde_json::from_str(&line).unwrap() }
}

/// One authority for all tests, each in its own lane. It ends when the test's end closes its stdin.
static SHARED: LazyLock<Started> = LazyLock::new(|| start(Stdio::null()));

/// An answer as it came over the socket.
struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether the whole body came that the headers promise.
    fn whole(&self) -> bool {
        self.header("content-length").unwrap().parse::<usize>().unwrap() == self.body.len()
    }
}

/// `None` if the connection ended before the headers did.
fn parse(answer: &[u8]) -> Option<Got> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(Got { status, headers: headers.collect(), body: answer[end + 4..].to_vec() })
}

fn request_bytes(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: authority.test\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    [request.as_bytes(), body].concat()
}

/// A lane of the shared authority.
#[derive(Clone, Copy)]
struct Lane(&'static str);

impl Lane {
    fn connect(self) -> TcpStream {
        let http = SHARED.ready["http"].as_str().unwrap();
        let stream = TcpStream::connect(http.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn try_send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Got> {
        let mut stream = self.connect();
        let request = request_bytes(method, &format!("/{}{path}", self.0), headers, body);
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        // A cut connection may end in a reset.
        let _ = stream.read_to_end(&mut answer);
        parse(&answer)
    }

    fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
        self.try_send(method, path, headers, body).unwrap()
    }

    fn control(self, method: &str, what: &str, body: Value) -> Value {
        let got = self.send(method, &format!("/control/{what}"), &[], body.to_string().as_bytes());
        assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
        got.json()
    }

    fn form(self, path: &str, parameters: &[(&str, &str)]) -> Got {
        self.send("POST", path, &[FORM], form(parameters).as_bytes())
    }

    fn wallet(self, parameters: &[(&str, &str)]) -> Got {
        self.form("/phoenix-wallet/oauth/token", &with_credentials(parameters))
    }

    fn wallet_token(self, scope: &str) -> String {
        let got = self.wallet(&[("grant_type", "client_credentials"), ("scope", scope)]);
        got.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn api(self, path: &str, token: &str) -> Got {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], b"")
    }

    fn refresh(self, token: &str) -> Got {
        let parameters = with_credentials(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
        self.form("/rapidomize/oauth/token", &parameters)
    }

    fn minted(self) -> (String, String) {
        let pair = self.control("POST", "mint", json!({"provider": "rapidomize", "subject": "alice"}));
        tokens(&pair)
    }
}

fn tokens(pair: &Value) -> (String, String) {
    let member = |name: &str| pair[name].as_str().unwrap().to_owned();
    (member("access_token"), member("refresh_token"))
}

fn with_credentials<'a>(parameters: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("client_id", "demo-client"), ("client_secret", SECRET)], parameters].concat()
}

fn escaped(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&")
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

#[test]
fn every_client_credentials_provider_gives_a_token_that_its_api_takes() {
    let lane = Lane("tokens");
    let grant = with_credentials(&[("grant_type", "client_credentials")]);
    for (provider, path) in
        [("phoenix-wallet", "/oauth/token"), ("phoenix-market", "/oauth/token"), ("personify", "/connect/token")]
    {
        let got = lane.form(&format!("/{provider}{path}"), &grant);
        assert_eq!((got.status, got.header("cache-control")), (200, Some("no-store")), "{provider}");
        let answer = got.json();
        assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3600)));
        let token = answer["access_token"].as_str().unwrap();
        let headers = [("authorization", &*format!("Bearer {token}")), ("x-tenant-id", "demo-tenant")];
        let called = lane.send("POST", &format!("/{provider}/v1/things"), &headers, b"payload");
        assert_eq!((called.status, &called.json()["body_bytes"]), (200, &json!(7)), "{provider}");
        assert_eq!(lane.api(&format!("/{provider}/v1/things"), "wrong").status, 401, "{provider}");
    }
}

#[test]
fn a_token_request_is_read_strictly() {
    let lane = Lane("strict");
    let path = "/phoenix-wallet/oauth/token";
    let good = form(&with_credentials(&[("grant_type", "client_credentials")]));
    let authorization = basic("demo-client", SECRET);
    let send = |method, path, headers: &[_], body: &str| lane.send(method, path, headers, body.as_bytes()).error();
    let invalid = (400, "invalid_request".to_owned());
    assert_eq!(send("GET", path, &[FORM], &good).0, 405);
    assert_eq!(send("POST", path, &[("content-type", "application/json")], &good), invalid);
    assert_eq!(send("POST", path, &[], &good), invalid);
    assert_eq!(send("POST", path, &[FORM], &format!("{good}&grant_type=client_credentials")), invalid);
    assert_eq!(send("POST", path, &[FORM], &format!("{good}&scope=%zz")), invalid);
    assert_eq!(send("POST", path, &[FORM, ("authorization", &authorization)], &good), invalid);
    assert_eq!(send("POST", path, &[FORM, ("authorization", "Basic ###")], "grant_type=client_credentials"), invalid);
    assert_eq!(send("POST", &format!("{path}?client_secret=x"), &[FORM], &good), invalid);
    // Basic alone is well-formed, but this provider takes credentials in the body only.
    let got = lane.send("POST", path, &[FORM, ("authorization", &authorization)], b"grant_type=client_credentials");
    assert_eq!((got.error().1.as_str(), got.header("www-authenticate").is_some()), ("invalid_client", true));
    let log = lane.control("GET", "log", json!(null));
    assert!(log.as_array().unwrap().iter().all(|entry| !entry["problems"].as_array().unwrap().is_empty()));
}

#[test]
fn the_wallet_answers_with_its_own_table_of_errors() {
    let lane = Lane("wallet-errors");
    let grant = ("grant_type", "client_credentials");
    assert_eq!(lane.wallet(&[("grant_type", "password")]).error(), (400, "invalid_grant".to_owned()));
    assert_eq!(lane.wallet(&[grant, ("scope", "wallets:read admin")]).error(), (400, "invalid_scope".to_owned()));
    let wrong = [("client_id", "demo-client"), ("client_secret", "wrong"), grant];
    assert_eq!(lane.form("/phoenix-wallet/oauth/token", &wrong).error(), (401, "invalid_client".to_owned()));
    assert_eq!(lane.api("/phoenix-wallet/v1/wallets", "wrong").error(), (401, "unauthorized".to_owned()));
    let token = lane.wallet_token("wallets:read");
    assert_eq!(lane.api("/phoenix-wallet/v1/wallets", &token).status, 200);
    let refused = lane.api("/phoenix-wallet/v1/ledger", &token);
    assert_eq!(refused.status, 403);
    assert!(refused.header("www-authenticate").unwrap().contains("scope=\"ledger:read\""));
}

#[test]
fn phoenix_security_has_a_clock_of_its_own() {
    let lane = Lane("security");
    let path = "/phoenix-security/v1/auth/access_token";
    let good = [("authorization", &*basic("demo-client", SECRET))];
    let got = lane.send("GET", path, &good, b"");
    let date = httpdate::parse_http_date(got.header("date").unwrap()).unwrap();
    let ahead = date.duration_since(SystemTime::now()).unwrap().as_secs();
    assert!((85..=90).contains(&ahead), "{ahead}");
    let expiry = got.json()["expiry"].as_u64().unwrap();
    let life = expiry - date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!((3599..=3601).contains(&life), "{life}");
    assert_eq!(lane.api("/phoenix-security/v1/assets", got.json()["token"].as_str().unwrap()).status, 200);
    let form_encoded = basic("demo-client", &escaped(SECRET));
    let refused = lane.send("GET", path, &[("authorization", &form_encoded)], b"");
    assert_eq!((refused.status, refused.body.len()), (401, 0));
    let refused = lane.api("/phoenix-security/v1/assets", "wrong");
    assert_eq!((refused.status, refused.body.len(), refused.header("www-authenticate")), (401, 0, None));
    lane.control(
        "PUT",
        "settings",
        json!({"body_on_401": true, "short_token_path": true, "challenges": ["Bearer", "Basic realm=\"x\""]}),
    );
    let refused = lane.api("/phoenix-security/v1/assets", "wrong");
    let challenges = refused.headers.iter().filter(|(name, _)| name == "www-authenticate").count();
    assert!(challenges == 2 && !refused.body.is_empty());
    assert_eq!(lane.send("GET", "/phoenix-security/v1/access_token", &good, b"").status, 200);
}

#[test]
fn personify_wants_a_tenant_and_no_token_of_a_users_login() {
    let lane = Lane("tenants");
    let got = lane.form("/personify/connect/token", &with_credentials(&[("grant_type", "client_credentials")]));
    assert_eq!(got.json()["scope"], "idp_api");
    let token = format!("Bearer {}", got.json()["access_token"].as_str().unwrap());
    let call = |authorization: &str, tenant| {
        let headers = [("authorization", authorization), ("x-tenant-id", tenant)];
        lane.send("GET", "/personify/v1/people", &headers, b"").status
    };
    assert_eq!(call(&token, "demo-tenant"), 200);
    assert_eq!(call(&token, "another"), 403);
    assert_eq!(lane.send("GET", "/personify/v1/people", &[("authorization", &token)], b"").status, 400);
    let login = lane.control("POST", "mint", json!({"provider": "personify", "kind": "user_login"}));
    assert_eq!(call(&format!("Bearer {}", login["access_token"].as_str().unwrap()), "demo-tenant"), 401);
    let wrong = lane.form("/personify/connect/token", &with_credentials(&[("grant_type", "password")]));
    assert_eq!(wrong.error(), (400, "invalid_client".to_owned()));
}

#[test]
fn the_market_page_takes_the_token_in_its_url() {
    let lane = Lane("market");
    let got = lane.form("/phoenix-market/oauth/token", &with_credentials(&[("grant_type", "client_credentials")]));
    let token = got.json()["access_token"].as_str().unwrap().to_owned();
    let page = lane.send("GET", &format!("/phoenix-market/embed?access_token={token}"), &[], b"");
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")));
    assert_eq!(lane.send("GET", "/phoenix-market/embed?access_token=wrong", &[], b"").status, 401);
    assert!(!lane.control("GET", "log", json!(null)).to_string().contains(&token));
}

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn authorize(lane: Lane, more: &str) -> Vec<(String, String)> {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let path = format!(
        "/rapidomize/oauth/authorize?response_type=code&client_id=demo-client&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&state=xyz&code_challenge={challenge}&code_challenge_method=S256{more}"
    );
    let got = lane.send("GET", &path, &[], b"");
    assert_eq!(got.status, 302, "{:?}", String::from_utf8_lossy(&got.body));
    let query = got.header("location").unwrap().strip_prefix("http://127.0.0.1/cb?").unwrap().to_owned();
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn exchange(lane: Lane, code: &str, verifier: &str) -> Got {
    let body = form(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", "http://127.0.0.1/cb"),
        ("code_verifier", verifier),
    ]);
    let authorization = basic("demo-client", &escaped(SECRET));
    lane.send("POST", "/rapidomize/oauth/token", &[FORM, ("authorization", &authorization)], body.as_bytes())
}

#[test]
fn the_code_flow_wants_pkce_and_a_code_works_once() {
    let lane = Lane("code");
    let callback = authorize(lane, "");
    let names: Vec<_> = callback.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["code", "state", "iss"]);
    assert_eq!(callback[2].1, "http%3A%2F%2Fauthority.test%2Fcode%2Frapidomize");
    let got = exchange(lane, &callback[0].1, VERIFIER);
    assert_eq!(got.json()["expires_in"], 7200);
    let (access, refresh) = tokens(&got.json());
    assert_eq!(lane.api("/rapidomize/v1/me", &access).json()["subject"], "demo-user");
    // The second use of the code revokes what the first one gave.
    assert_eq!(exchange(lane, &callback[0].1, VERIFIER).error(), (400, "invalid_grant".to_owned()));
    assert_eq!(lane.api("/rapidomize/v1/me", &access).status, 401);
    assert_eq!(lane.refresh(&refresh).error().1, "invalid_grant");
    let other = authorize(lane, "&login_hint=bob");
    let wrong = VERIFIER.replace('d', "e");
    assert_eq!(exchange(lane, &other[0].1, &wrong).error().1, "invalid_grant");
    lane.control("PUT", "settings", json!({"approve": false, "iss": null}));
    assert_eq!(
        authorize(lane, ""),
        [("error".to_owned(), "access_denied".to_owned()), ("state".to_owned(), "xyz".to_owned())]
    );
}

#[test]
fn a_rotated_refresh_token_that_comes_back_revokes_its_family() {
    let lane = Lane("rotation");
    let (_, first) = lane.minted();
    let (access, second) = tokens(&lane.refresh(&first).json());
    assert_ne!(first, second);
    assert_eq!(lane.api("/rapidomize/v1/me", &access).status, 200);
    assert_eq!(lane.refresh(&first).error().1, "invalid_grant");
    assert_eq!(lane.refresh(&second).error().1, "invalid_grant");
    assert_eq!(lane.api("/rapidomize/v1/me", &access).status, 401);
    assert_eq!(lane.control("GET", "counters", json!(null))["refresh_tokens_reused"], 1);
}

#[test]
fn settings_decide_what_a_refresh_gives() {
    let lane = Lane("refresh-settings");
    lane.control("PUT", "settings", json!({"reuse_grace_s": 60}));
    let (_, first) = lane.minted();
    assert_eq!(lane.refresh(&first).status, 200);
    assert_eq!(lane.refresh(&first).status, 200);
    lane.control("PUT", "settings", json!({"rotation": false}));
    let (_, kept) = lane.minted();
    assert_eq!(lane.refresh(&kept).json().get("refresh_token"), None);
    assert_eq!(lane.refresh(&kept).status, 200);
    lane.control("PUT", "settings", json!({"same_token_on_refresh": true}));
    let (access, same) = lane.minted();
    assert_eq!(lane.refresh(&same).json()["access_token"], access);
}

#[test]
fn rapidomize_takes_credentials_in_three_places() {
    let lane = Lane("rapidomize-api");
    let (access, _) = lane.minted();
    let path = "/rapidomize/v1/me";
    let call = |headers: &[_]| lane.send("GET", path, headers, b"").status;
    let (bearer, api_token) = (format!("Bearer {access}"), basic("demo-client", "t0ken+/%&: odd"));
    assert_eq!(call(&[("authorization", &bearer)]), 200);
    assert_eq!(call(&[("x-rpz-auth", &bearer), ("authorization", "Custom downstream")]), 200);
    assert_eq!(call(&[("authorization", &api_token)]), 200);
    assert_eq!(call(&[("x-rpz-auth", &api_token)]), 200);
    assert_eq!(call(&[("authorization", &basic("demo-client", "wrong"))]), 401);
    let in_url = format!("{path}?token={}", escaped("t0ken+/%&: odd"));
    assert_eq!(lane.send("GET", &in_url, &[], b"").status, 200);
    assert_eq!(lane.send("GET", &in_url, &[("authorization", &bearer)], b"").status, 400);
    assert_eq!(lane.send("GET", &format!("{path}?token={access}"), &[], b"").status, 401);
}

#[test]
fn lanes_and_clients_have_nothing_in_common() {
    let (lane, other) = (Lane("left"), Lane("right"));
    let token = lane.wallet_token("wallets:read");
    other.control("POST", "faults", json!({"endpoint": "token", "count": null, "status": 500}));
    assert_eq!(other.api("/phoenix-wallet/v1/wallets", &token).status, 401);
    lane.wallet_token("wallets:read");
    assert_eq!(lane.control("GET", "counters", json!(null))["token"]["total"], 2);
    assert_eq!(other.control("GET", "counters", json!(null))["token"]["total"], 0);
    // Within a lane, a client of one's own is as good.
    let ann = lane.control("POST", "clients", json!({"client_id": "ann", "scopes": ["ledger:read"]}));
    lane.control("POST", "faults", json!({"endpoint": "token", "client_id": "ann", "status": 503}));
    let secret = ann["client_secret"].as_str().unwrap();
    let parameters = [("client_id", "ann"), ("client_secret", secret), ("grant_type", "client_credentials")];
    lane.wallet_token("wallets:read");
    assert_eq!(lane.form("/phoenix-wallet/oauth/token", &parameters).status, 503);
    assert_eq!(lane.form("/phoenix-wallet/oauth/token", &parameters).json()["scope"], "ledger:read");
    let counters = lane.control("GET", "counters?client_id=ann", json!(null));
    assert_eq!(counters["token"]["by_status"], json!({"200": 1, "503": 1}));
    lane.control("POST", "reset", json!({}));
    assert_eq!(lane.control("GET", "counters", json!(null))["token"]["total"], 0);
}

#[test]
fn a_fault_replaces_the_answer_and_makes_no_token() {
    let lane = Lane("replaced");
    let grant = [("grant_type", "client_credentials")];
    let faults = json!([
        {"endpoint": "token", "count": 2, "status": 503, "retry_after": "2"},
        {"endpoint": "token", "status": 429, "retry_after": "date+5", "date_skew_s": -600},
        {"endpoint": "token", "error": "invalid_client", "status": 401, "headers": {"www-authenticate": ["Basic", "Bearer"]}},
        {"endpoint": "token", "body": "<p>down</p>", "content_type": "text/html", "no_date": true},
        {"endpoint": "token", "garbage": true},
        {"endpoint": "token", "redirect": "https://other.test/x"},
        {"endpoint": "token", "body_bytes": 300_000},
    ]);
    lane.control("POST", "faults", faults);
    let got = [lane.wallet(&grant), lane.wallet(&grant)];
    assert!(got.iter().all(|got| (got.status, got.header("retry-after")) == (503, Some("2"))));
    let got = lane.wallet(&grant);
    let time = |name| httpdate::parse_http_date(got.header(name).unwrap()).unwrap();
    assert_eq!(time("retry-after").duration_since(time("date")).unwrap(), Duration::from_secs(5));
    assert!(time("date") < SystemTime::now() - Duration::from_secs(590));
    let got = lane.wallet(&grant);
    assert_eq!(got.error(), (401, "invalid_client".to_owned()));
    assert_eq!(got.headers.iter().filter(|(name, _)| name == "www-authenticate").count(), 2);
    let got = lane.wallet(&grant);
    assert_eq!((got.status, got.header("content-type"), got.header("date")), (200, Some("text/html"), None));
    assert!(std::str::from_utf8(&lane.wallet(&grant).body).is_err());
    let got = lane.wallet(&grant);
    assert_eq!((got.status, got.header("location")), (307, Some("https://other.test/x")));
    assert_eq!(lane.wallet(&grant).body.len(), 300_000);
    let counters = lane.control("GET", "counters", json!(null));
    assert_eq!((&counters["token"]["total"], &counters["access_tokens_issued"]), (&json!(8), &json!(0)));
    assert_eq!(lane.control("GET", "faults", json!(null)), json!([]));
}

#[test]
fn a_connection_can_be_cut_at_four_places() {
    let lane = Lane("cut");
    let body = form(&with_credentials(&[("grant_type", "client_credentials")]));
    let send = |cut| {
        lane.control("POST", "faults", json!({"endpoint": "token", "cut": cut}));
        lane.try_send("POST", "/phoenix-wallet/oauth/token", &[FORM], body.as_bytes())
    };
    let issued = || lane.control("GET", "counters", json!(null))["access_tokens_issued"].as_u64().unwrap();
    assert!(send("before").is_none());
    assert_eq!(issued(), 0);
    assert!(send("after_processing").is_none());
    assert_eq!(issued(), 1);
    let got = send("after_headers").unwrap();
    assert!(got.status == 200 && got.body.is_empty() && !got.whole());
    lane.control("POST", "faults", json!({"endpoint": "api", "cut": "after_headers"}));
    let got = lane.api("/phoenix-security/v1/assets", "wrong");
    assert!(got.status == 401 && got.body.is_empty() && !got.whole());
    let got = send("mid_body").unwrap();
    assert!(got.status == 200 && !got.body.is_empty() && !got.whole());
    let counters = lane.control("GET", "counters", json!(null));
    assert_eq!((&counters["token"]["by_status"], &counters["token"]["running"]), (&json!({"cut": 4}), &json!(0)));
}

#[test]
fn an_answer_lost_after_a_rotation_leaves_the_old_token_spent() {
    let lane = Lane("lost");
    let (_, first) = lane.minted();
    lane.control("POST", "faults", json!({"endpoint": "token", "grant": "refresh_token", "cut": "after_processing"}));
    let body = form(&with_credentials(&[("grant_type", "refresh_token"), ("refresh_token", &first)]));
    assert!(lane.try_send("POST", "/rapidomize/oauth/token", &[FORM], body.as_bytes()).is_none());
    assert_eq!(lane.refresh(&first).error().1, "invalid_grant");
}

#[test]
fn answers_can_be_late_and_slow() {
    let lane = Lane("slow");
    let started = Instant::now();
    lane.control(
        "POST",
        "faults",
        json!({"endpoint": "token", "delay_ms": 40, "delay_after_ms": 40, "slow_body_ms_per_byte": 0.2}),
    );
    let got = lane.wallet(&[("grant_type", "client_credentials")]);
    assert!(got.whole() && got.status == 200);
    let least = Duration::from_millis(80 + u64::try_from(got.body.len()).unwrap() / 5);
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    lane.control("PUT", "settings", json!({"token_latency_ms": 50}));
    let started = Instant::now();
    lane.wallet_token("wallets:read");
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[test]
fn held_requests_run_together_until_they_are_released() {
    let lane = Lane("held");
    lane.control("POST", "faults", json!({"endpoint": "token", "count": null, "hold": true}));
    let askers: Vec<_> = (0..5).map(|_| thread::spawn(move || lane.wallet_token("wallets:read"))).collect();
    let deadline = Instant::now() + Duration::from_secs(5);
    while lane.control("GET", "counters", json!(null))["token"]["running"] != 5 {
        assert!(Instant::now() < deadline, "the requests did not arrive");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(lane.control("POST", "release", json!({}))["released"], 5);
    for asker in askers {
        asker.join().unwrap();
    }
    let counters = lane.control("DELETE", "counters", json!(null));
    assert_eq!((&counters["token"]["running_max"], &counters["token"]["running"]), (&json!(5), &json!(0)));
    assert_eq!(lane.control("GET", "counters", json!(null))["token"]["total"], 0);
}

#[test]
fn a_caller_that_goes_away_is_counted_as_gone() {
    let lane = Lane("gone");
    lane.control("POST", "faults", json!({"endpoint": "token", "hold": true}));
    let mut stream = lane.connect();
    let body = form(&with_credentials(&[("grant_type", "client_credentials")]));
    stream.write_all(&request_bytes("POST", "/gone/phoenix-wallet/oauth/token", &[FORM], body.as_bytes())).unwrap();
    let counters = || lane.control("GET", "counters", json!(null))["token"].clone();
    let deadline = Instant::now() + Duration::from_secs(5);
    while counters()["running"] != 1 {
        assert!(Instant::now() < deadline, "the request did not arrive");
    }
    drop(stream);
    while counters()["by_status"] != json!({"gone": 1}) {
        assert!(Instant::now() < deadline, "nobody noticed that the caller went away");
    }
}

#[test]
fn lifetimes_are_told_as_they_were_written() {
    let lane = Lane("lifetimes");
    let body = |settings: &str| {
        let got = lane.send("PUT", "/control/settings", &[], settings.as_bytes());
        assert_eq!(got.status, 200);
        String::from_utf8(lane.wallet(&[("grant_type", "client_credentials")]).body).unwrap()
    };
    for odd in ["1e3", "\"3600\"", "null", "-1", "[3600]", "3600.0", "99999999999999999999"] {
        assert!(body(&format!("{{\"expires_in\":{odd}}}")).contains(&format!("\"expires_in\":{odd},")), "{odd}");
    }
    assert!(!body(r#"{"omit_expires_in":true,"token_type":null,"omit_scope":true}"#).contains("expires_in"));
    lane.control("DELETE", "settings", json!(null));
    lane.control("PUT", "settings", json!({"lifetime_s": 0.05, "token_bytes": 65536}));
    let token = lane.wallet_token("wallets:read");
    assert_eq!(token.len(), 65536);
    thread::sleep(Duration::from_millis(60));
    assert_eq!(lane.api("/phoenix-wallet/v1/wallets", &token).status, 401);
}

#[test]
fn revocation_can_be_as_narrow_as_one_token() {
    let lane = Lane("revoked");
    let (first, second) = (lane.wallet_token("wallets:read"), lane.wallet_token("wallets:read"));
    let status = |token: &str| lane.api("/phoenix-wallet/v1/wallets", token).status;
    let hash: String = Sha256::digest(&first).iter().map(|byte| format!("{byte:02x}")).collect();
    let revoked = lane.control("POST", "revoke", json!({"token_sha256": hash}));
    assert_eq!(revoked, json!({"access_tokens": 1, "refresh_tokens": 0}));
    assert_eq!((status(&first), status(&second)), (401, 200));
    lane.control("POST", "revoke", json!({}));
    assert_eq!(status(&second), 401);
}

#[test]
fn another_origin_tells_which_headers_reached_it() {
    let lane = Lane("redirected");
    let token = lane.wallet_token("wallets:read");
    let other = SHARED.ready["other"].as_str().unwrap();
    let path = format!("/phoenix-wallet/v1/redirect?to={}&status=308", escaped(&format!("{other}/redirected/echo")));
    let got = lane.api(&path, &token);
    assert_eq!((got.status, got.header("location")), (308, Some(&*format!("{other}/redirected/echo"))));
    let mut stream = TcpStream::connect(other.trim_start_matches("http://")).unwrap();
    stream.write_all(&request_bytes("GET", "/redirected/echo", &[("x-tenant-id", "t")], b"")).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(parse(&answer).unwrap().json()["header_names"].as_array().unwrap().contains(&json!("x-tenant-id")));
    let log = lane.control("GET", "log?kind=echo", json!(null));
    assert_eq!(log[0]["origin"], "other");
}

#[test]
fn control_names_what_it_does_not_understand() {
    let lane = Lane("mistakes");
    for (path, body, named) in [
        ("faults", json!({"endpoint": "token", "staus": 503}), "staus"),
        ("faults", json!({"status": 503}), "endpoint"),
        ("faults", json!({"endpoint": "token", "provider": "wallet"}), "phoenix-wallet"),
        ("mint", json!({"provider": "rapidomize", "client_id": "nobody"}), "clients"),
    ] {
        let got = lane.send("POST", &format!("/control/{path}"), &[], body.to_string().as_bytes());
        assert_eq!(got.status, 400);
        assert!(got.json()["hint"].as_str().unwrap().contains(named), "{}", got.json());
    }
    assert_eq!(lane.send("POST", "/control/nonsense", &[], b"{}").status, 404);
    assert_eq!(lane.send("GET", "/nobody/v1/x", &[], b"").status, 404);
}

#[test]
fn https_is_served_under_an_authority_of_its_own() {
    let mut roots = RootCertStore::empty();
    let ca = std::fs::read(SHARED.ready["ca"].as_str().unwrap()).unwrap();
    roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let address = SHARED.ready["https"].as_str().unwrap().trim_start_matches("https://");
    for name in ["localhost", "127.0.0.1"] {
        let mut tls = ClientConnection::new(Arc::clone(&config), ServerName::try_from(name).unwrap()).unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        let mut stream = Stream::new(&mut tls, &mut socket);
        stream.write_all(&request_bytes("GET", "/echo", &[], b"")).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(parse(&answer).unwrap().status, 200);
    }
}

#[test]
fn it_ends_with_its_stdin_and_logs_no_secret() {
    let mut started = start(Stdio::piped());
    let http = started.ready["http"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let send = |request: Vec<u8>| {
        let mut stream = TcpStream::connect(&http).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        parse(&answer).unwrap()
    };
    let body = form(&with_credentials(&[("grant_type", "client_credentials")]));
    let got = send(request_bytes("POST", "/phoenix-market/oauth/token", &[FORM], body.as_bytes()));
    let token = got.json()["access_token"].as_str().unwrap().to_owned();
    send(request_bytes("GET", &format!("/phoenix-market/embed?access_token={token}"), &[], b""));
    let record = String::from_utf8(send(request_bytes("GET", "/control/log", &[], b"")).body).unwrap();
    drop(started.stdin.take());
    assert!(started.child.wait().unwrap().success());
    let mut log = String::new();
    started.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("POST /phoenix-market/oauth/token 200"), "{log}");
    for secret in [&token, SECRET, &escaped(SECRET)] {
        assert!(!log.contains(secret) && !record.contains(secret));
    }
}

#[test]
fn it_ends_on_sigterm_and_removes_its_temporary_file() {
    let mut started = start(Stdio::null());
    let ca = started.ready["ca"].as_str().unwrap().to_owned();
    assert!(std::fs::exists(&ca).unwrap());
    Command::new("kill").arg(started.child.id().to_string()).status().unwrap();
    assert!(started.child.wait().unwrap().success());
    assert!(!std::fs::exists(&ca).unwrap());
}

#[test]
fn help_and_mistakes_on_the_command_line() {
    let run = |argument: &[&str]| Command::new(env!("CARGO_BIN_EXE_authority")).args(argument).output().unwrap();
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--exit-with-stdin"));
    let wrong = run(&["--prot", "1"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("`--prot`"));
}
