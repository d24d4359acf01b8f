//! Proofs of possession, at the token endpoint and at APIs, and what else an API may ask for.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hosts_rust::assert_no_secret;
use hosts_rust::scripted::{API, AUTH, Scripted, Seen, answer, options};
use remint::client::{Headers, Incoming, Reply};
use remint::event::Renewed;
use remint::step::Verdict;
use remint::{Builder, Error, ErrorCode};
use serde_json::{Value, json};

/// The key of RFC 9449's samples.
const X: &str = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
const Y: &str = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";

fn key() -> Value {
    json!({"alg": "ES256", "jwk": {"kty": "EC", "crv": "P-256", "x": X, "y": Y}})
}

/// Nobody here looks at signatures.
fn sign(alg: &str, input: &[u8]) -> Result<Vec<u8>, ()> {
    if alg == "ES256" && !input.is_empty() { Ok(vec![7; 64]) } else { Err(()) }
}

fn bound() -> Builder {
    options().dpop(key(), sign)
}

/// The claims of a proof whose header is as it has to be.
fn claims(proof: &str) -> Value {
    let mut parts = proof.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let header: Value = serde_json::from_slice(&parts.next().unwrap()).unwrap();
    assert_eq!((&header["typ"], &header["alg"], &header["jwk"]["x"]), (&json!("dpop+jwt"), &json!("ES256"), &json!(X)));
    let claims = serde_json::from_slice(&parts.next().unwrap()).unwrap();
    assert_eq!(parts.next().unwrap(), [7; 64]);
    claims
}

/// A token endpoint that wants a nonce (RFC 9449 section 8).
fn with_nonce(nonce: &'static str) -> Scripted {
    let count = AtomicUsize::new(0);
    Scripted::new(move |seen| {
        if seen.path() != "/token" {
            return answer(404, &Value::Null);
        }
        if claims(&seen.headers["dpop"])["nonce"] != nonce {
            let refused = answer(400, &json!({"error": "use_dpop_nonce"}));
            return Incoming { headers: vec![("DPoP-Nonce".into(), nonce.into())], ..refused };
        }
        bound_token(count.fetch_add(1, Ordering::SeqCst) + 1)
    })
}

fn bound_token(number: usize) -> Incoming {
    answer(200, &json!({"access_token": format!("T{number}"), "token_type": "DPoP", "expires_in": 3600}))
}

/// A token endpoint that wants none.
fn without_nonce() -> Scripted {
    let count = AtomicUsize::new(0);
    Scripted::new(move |_: &Seen| bound_token(count.fetch_add(1, Ordering::SeqCst) + 1))
}

/// An API: it accepts the tokens that are bound, with a proof for the one request, and perhaps a nonce.
struct Api {
    nonce: Mutex<Option<&'static str>>,
    ids: Mutex<BTreeSet<String>>,
    requests: AtomicUsize,
}

impl Api {
    fn new(nonce: Option<&'static str>) -> Self {
        Self { nonce: Mutex::new(nonce), ids: Mutex::default(), requests: AtomicUsize::new(0) }
    }

    fn answer(&self, method: &str, url: &str, headers: &Headers) -> Reply<u16> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let header = |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).unwrap().1;
        assert!(header("authorization").starts_with("DPoP T"), "{headers:?}");
        let claims = claims(header("dpop"));
        assert_eq!((&claims["htm"], &claims["htu"]), (&json!(method), &json!(url)));
        assert!(claims["ath"].is_string(), "{claims}");
        assert!(self.ids.lock().unwrap().insert(claims["jti"].to_string()), "a proof came twice");
        match *self.nonce.lock().unwrap() {
            Some(nonce) if claims["nonce"] != nonce => {
                let challenge = ("WWW-Authenticate".into(), r#"DPoP error="use_dpop_nonce""#.into());
                Reply::new(401, vec![challenge, ("DPoP-Nonce".into(), nonce.into())], 401)
            }
            _ => Reply::new(200, Vec::new(), 200),
        }
    }
}

#[test]
fn the_token_endpoint_gets_its_nonce_and_is_not_asked_for_it_twice() {
    let provider = with_nonce("n-1");
    let client = bound().build(provider.clone()).unwrap();
    let token = client.token().unwrap();
    assert_eq!(token.authorization().expose(), "DPoP T1");
    client.invalidate();
    assert_eq!(client.token().unwrap().access_token.expose(), "T2");
    let seen: Vec<Value> = provider.at("/token").iter().map(|seen| claims(&seen.headers["dpop"])).collect();
    let nonces: Vec<_> = seen.iter().map(|claims| claims["nonce"].as_str()).collect();
    assert_eq!(nonces, [None, Some("n-1"), Some("n-1")]);
    assert!(seen.iter().all(|claims| claims["htm"] == "POST" && claims["htu"] == format!("{AUTH}/token")));
    assert_eq!(seen.iter().map(|claims| claims["jti"].to_string()).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn an_api_gets_a_proof_for_each_request_and_its_nonce_after_one_answer() {
    for is_beside in [true, false] {
        let provider = without_nonce();
        let client = bound().background_refresh(is_beside).build(provider.clone()).unwrap();
        let (api, url) = (Api::new(Some("n-1")), format!("{API}/data"));
        let call = |method: &str| {
            let sent = client.call(method, &format!("{url}?page=1"), |headers| {
                assert_no_secret(headers, &["T1"]);
                Ok::<_, Error>(api.answer(method, &url, headers))
            });
            (sent.unwrap(), api.requests.swap(0, Ordering::SeqCst))
        };
        assert_eq!(call("GET"), (200, 2));
        assert_eq!(call("POST"), (200, 1));
        // The token is good all along.
        *api.nonce.lock().unwrap() = Some("n-2");
        assert_eq!(call("PUT"), (200, 2));
        assert_eq!(provider.at("/token").len(), 1);
    }
}

#[tokio::test]
async fn tasks_prove_with_a_signer_that_waits() {
    let provider = without_nonce();
    let client = options().dpop_async(key(), |alg, input| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        sign(&alg, &input)
    });
    let client = client.build_async(provider.clone()).unwrap();
    let (api, url) = (Api::new(Some("n-1")), format!("{API}/data"));
    let callers = (0..8).map(|_| {
        client.call("GET", &url, |headers| {
            let reply = api.answer("GET", &url, &headers);
            async { Ok::<_, Error>(reply) }
        })
    });
    let mut statuses = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        statuses.push(caller.await.unwrap());
    }
    assert_eq!(statuses, [200; 8]);
    assert_eq!((api.requests.load(Ordering::SeqCst), provider.at("/token").len()), (9, 1));
}

#[test]
fn an_api_that_wants_a_new_nonce_each_time_costs_one_repetition_and_not_more() {
    let client = bound().build(without_nonce()).unwrap();
    let requests = AtomicUsize::new(0);
    let status = client.call("GET", &format!("{API}/data"), |_| {
        let nonce = format!("n-{}", requests.fetch_add(1, Ordering::SeqCst));
        let challenge = ("WWW-Authenticate".into(), r#"DPoP error="use_dpop_nonce""#.into());
        Ok::<_, Error>(Reply::new(401, vec![challenge, ("DPoP-Nonce".into(), nonce)], 401))
    });
    assert_eq!(status.unwrap(), 401);
    let requests = requests.load(Ordering::SeqCst);
    assert!(requests <= 3, "{requests} requests");
}

#[test]
fn those_who_send_requests_themselves_get_a_proof_each() {
    let client = bound().build(without_nonce()).unwrap();
    let (api, url) = (Api::new(Some("n-1")), format!("{API}/data"));
    let first = client.headers("GET", &url).unwrap();
    let reply = api.answer("GET", &url, &first);
    assert_eq!(client.reject(first.token(), "GET", &url, reply.status, &reply.headers).unwrap(), Verdict::Retry);
    let second = client.headers("GET", &url).unwrap();
    assert_eq!(api.answer("GET", &url, &second).status, 200);
    assert_eq!(first.token().access_token, second.token().access_token);
}

#[test]
fn a_step_up_is_a_typed_error_and_no_request_for_a_token() {
    for (client, scheme) in [(options(), "Bearer"), (bound(), "DPoP")] {
        let provider = Scripted::new(move |_| {
            answer(200, &json!({"access_token": "T1", "token_type": scheme, "expires_in": 3600}))
        });
        let client = client.build(provider.clone()).unwrap();
        let challenge =
            format!(r#"{scheme} error="insufficient_user_authentication", acr_values="urn:mfa", max_age="300""#);
        let url = format!("{API}/data");
        let error = client
            .call("GET", &url, |_| {
                Ok::<_, Error>(Reply::new(401, vec![("www-authenticate".into(), challenge.clone())], ()))
            })
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::InsufficientUserAuthentication, "{scheme}");
        assert_eq!((error.acr_values(), error.max_age()), (Some("urn:mfa"), Some(Duration::from_secs(300))));
        let token = client.token().unwrap();
        let told = client.reject(&token, "GET", &url, 401, &[("WWW-Authenticate".into(), challenge)]);
        assert_eq!(told.unwrap_err().acr_values(), Some("urn:mfa"));
        assert_eq!(provider.at("/token").len(), 1);
    }
}

#[test]
fn a_token_that_is_not_bound_is_refused_unless_that_is_told() {
    let unbound = || Scripted::new(|_| hosts_rust::scripted::token("T1"));
    let error = bound().policy("attempts", 1).build(unbound()).unwrap().token().unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnsupportedTokenType);
    assert_no_secret(&error, &["T1"]);
    let mut lax = key();
    lax["required"] = false.into();
    let client = options().dpop(lax, sign).build(unbound()).unwrap();
    assert_eq!(client.token().unwrap().authorization().expose(), "Bearer T1");
}

#[test]
fn a_signer_that_fails_sends_nothing_and_a_key_that_is_private_is_refused() {
    let provider = without_nonce();
    let client = options().dpop(key(), |_, _| Err("the HSM is away")).policy("attempts", 1);
    let error = client.build(provider.clone()).unwrap().token().unwrap_err();
    assert_eq!(error.code(), ErrorCode::HostError);
    assert!(provider.at("/token").is_empty());
    let mut private = key();
    private["jwk"]["d"] = "c2VjcmV0".into();
    let error = options().dpop(private, sign).build(without_nonce()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption);
    assert_no_secret(&error, &["c2VjcmV0"]);
}

#[test]
fn what_is_bound_to_a_certificate_is_fetched_anew_with_the_next_one() {
    let provider = Scripted::new(|_| hosts_rust::scripted::token("T1"));
    let thumbprint = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 32]);
    let client = options().option("tls_id", thumbprint(1)).option("certificate_bound", true);
    let client = client.build(provider.clone()).unwrap();
    client.token().unwrap();
    let renewed = Renewed { tls_id: Some(thumbprint(2)), ..Renewed::default() };
    client.renewed(renewed).unwrap();
    assert!(client.peek().is_none());
    client.token().unwrap();
    let ids: Vec<_> = provider.at("/token").into_iter().map(|seen| seen.tls_id.unwrap()).collect();
    assert_eq!(ids, [thumbprint(1), thumbprint(2)]);
    let wrong = Renewed { dpop: Some("{}".into()), ..Renewed::default() };
    assert_eq!(client.renewed(wrong).unwrap_err().code(), ErrorCode::InvalidOption);
    assert!(client.peek().is_some());
}
