//! What is more than one question for a token: people on other devices, tokens for tokens, and what a server knows of one.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hosts_rust::assert_no_secret;
use hosts_rust::scripted::{API, AUTH, GRANTS, Scripted, Seen, answer, options, options_for, token};
use remint::client::{Clock, Incoming, Signed, TokenOptions};
use remint::event::{AuthorizationUrl, BackchannelRequest, DeviceRequest};
use remint::{ErrorCode, Family, Secret};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The clocks of a thread go on while it rests.
#[derive(Clone, Debug, Default)]
struct Hurried(Arc<AtomicI64>);

impl Hurried {
    fn pass(&self, limit: Duration) {
        self.0.fetch_add(i64::try_from(limit.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Hurried {
    fn wall(&self) -> i64 {
        1_700_000_000_000 + self.boot()
    }

    fn boot(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn park(&self, limit: Duration) {
        // In steps, since a caller rests while a flight does.
        self.pass(limit.min(Duration::from_millis(250)));
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// The clocks of tokio's tests, which stand still while any task has something to do.
#[derive(Clone, Copy, Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn wall(&self) -> i64 {
        1_700_000_000_000 + self.boot()
    }

    fn boot(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// The answers of the token endpoint, one after the other; the last one is repeated.
fn in_order(answers: Vec<Incoming>) -> impl Fn() -> Incoming + Send + Sync {
    let next = AtomicUsize::new(0);
    move || answers[next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone()
}

fn refusal(code: &str) -> Incoming {
    answer(400, &json!({"error": code}))
}

fn device_code(_: &Seen) -> Incoming {
    answer(
        200,
        &json!({
            "device_code": "the-device-code",
            "user_code": "WDJB-MJHT",
            "verification_uri": format!("{AUTH}/activate"),
            "verification_uri_complete": format!("{AUTH}/activate?user_code=WDJB-MJHT"),
            "expires_in": 600,
            "interval": 5,
        }),
    )
}

/// A provider of device codes whose token endpoint answers so, and when it was asked.
fn devices(clock: impl Clock, answers: Vec<Incoming>) -> (Scripted, Arc<Mutex<Vec<i64>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let (noted, next) = (times.clone(), in_order(answers));
    let provider = Scripted::new(move |seen| match seen.path() {
        "/device" => device_code(seen),
        _ => {
            noted.lock().unwrap().push(clock.boot());
            next()
        }
    });
    (provider, times)
}

#[test]
fn a_person_authorizes_on_another_device() {
    for is_beside in [true, false] {
        let clock = Hurried::default();
        let (provider, times) = devices(
            clock.clone(),
            vec![refusal("authorization_pending"), refusal("slow_down"), refusal("authorization_pending"), token("T1")],
        );
        let client = options().option("grant", "device_code").clock(clock).background_refresh(is_beside);
        let client = client.scope(["a", "b"]).build(provider.clone()).unwrap();
        let parameters = [("acr".into(), "1".into())].into();
        let device = client.device_authorization(DeviceRequest { parameters, ..DeviceRequest::default() }).unwrap();
        assert_eq!((provider.at("/device")[0].field("scope"), provider.at("/device")[0].field("acr")), ("a b", "1"));
        assert_eq!(device.user_code.as_deref(), Some("WDJB-MJHT"));
        assert_eq!(device.qr_text.as_deref(), Some("https://auth.example/activate?user_code=WDJB-MJHT"));
        assert_eq!(device.interval, 5_000);
        assert!((590_000..=600_000).contains(&device.expires_in), "{}", device.expires_in);
        assert_no_secret(&device, &["the-device-code", device.session.expose()]);

        let token = client.poll(device.session, Some("ann"), None).unwrap();
        assert_eq!(token.access_token.expose(), "T1");
        assert!(provider.at("/token").iter().all(|seen| seen.field("device_code") == "the-device-code"));
        let times = times.lock().unwrap();
        let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // After `slow_down` there are five seconds more between two questions (RFC 8628 section 3.5).
        assert!(times[0] >= 5_000 && gaps[0] >= 5_000 && gaps[1] >= 10_000 && gaps[2] >= 10_000, "{times:?}");
        // Where a caller moves the clock, too, a flight may come late.
        assert!(is_beside || times[3] < 40_000, "{times:?}");
        assert_eq!(client.with_subject("ann", None).unwrap().token().unwrap().access_token, token.access_token);
        assert_eq!(times.len(), 4);
    }
}

#[test]
fn what_a_person_says_and_a_code_that_ran_out_are_different_errors() {
    // With one thread, nobody but the flight moves the clock.
    for (said, code) in [
        ("access_denied", ErrorCode::AccessDenied),
        ("expired_token", ErrorCode::AuthorizationExpired),
        ("authorization_pending", ErrorCode::AuthorizationExpired),
    ] {
        let clock = Hurried::default();
        let (provider, times) = devices(clock.clone(), vec![refusal("authorization_pending"), refusal(said)]);
        let client = options().option("grant", "device_code").clock(clock.clone()).background_refresh(false);
        let client = client.build(provider).unwrap();
        let device = client.device_authorization(DeviceRequest::default()).unwrap();
        assert_eq!(client.poll(device.session, None, None).unwrap_err().code(), code, "{said}");
        let last = times.lock().unwrap().last().copied().unwrap();
        assert!(last <= 600_000, "{said}: asked at {last}");
        // Nobody is left waiting for a question that would come after the code's end.
        assert_eq!(clock.boot() > 590_000, said == "authorization_pending", "{said}");
    }
}

#[test]
fn a_poll_that_was_given_up_is_over_and_can_be_begun_again() {
    let clock = Hurried::default();
    let (provider, times) = devices(clock.clone(), vec![refusal("authorization_pending"), token("T1")]);
    let client = options().option("grant", "device_code").clock(clock.clone()).build(provider).unwrap();
    let device = client.device_authorization(DeviceRequest::default()).unwrap();
    let hasty = client.poll(device.session.clone(), Some("ann"), Some(Duration::from_secs(8)));
    assert_eq!(hasty.unwrap_err().code(), ErrorCode::Timeout);
    let asked = times.lock().unwrap().len();
    assert!(asked <= 1, "{asked} questions in eight seconds");
    // A poll that goes on would get the token in these two minutes.
    for _ in 0..20 {
        clock.pass(Duration::from_secs(6));
        clock.park(Duration::ZERO);
    }
    assert_eq!(times.lock().unwrap().len(), asked);
    let again = client.poll(device.session, Some("ann"), None).unwrap();
    assert_eq!(again.access_token.expose(), "T1");
    assert_eq!(client.poll("made up", None, None).unwrap_err().code().family(), Family::Usage);
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_future_is_dropped_asks_no_more() {
    let clock = Paused(Instant::now());
    let (provider, times) = devices(clock, vec![refusal("authorization_pending"), refusal("slow_down"), token("T1")]);
    let client = options().option("grant", "device_code").clock(clock).build_async(provider).unwrap();
    let device = client.device_authorization(DeviceRequest::default()).await.unwrap();
    let dropped = tokio::time::timeout(Duration::from_secs(7), client.poll(device.session.clone(), Some("ann"), None));
    assert!(dropped.await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*times.lock().unwrap(), [5_000]);
    let own = client.poll(device.session.clone(), Some("ann"), Some(Duration::from_secs(7))).await;
    assert_eq!(own.unwrap_err().code(), ErrorCode::Timeout);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(times.lock().unwrap().len(), 2);
    let token = client.poll(device.session, Some("ann"), None).await.unwrap();
    assert_eq!(token.access_token.expose(), "T1");
}

#[tokio::test(start_paused = true)]
async fn a_person_is_asked_on_a_device_of_their_own() {
    let clock = Paused(Instant::now());
    let polls = in_order(vec![refusal("authorization_pending"), token("T1")]);
    let provider = Scripted::new(move |seen| match seen.path() {
        "/backchannel" => answer(200, &json!({"auth_req_id": "the-request", "expires_in": 120, "interval": 3})),
        _ => polls(),
    });
    let client = options().option("grant", "ciba").clock(clock).scope(["openid"]);
    let client = client.build_async(provider.clone()).unwrap();
    let asked = client
        .backchannel_authentication(BackchannelRequest {
            login_hint: Some("ann".into()),
            binding_message: Some("W4SCT".into()),
            requested_expiry: Some(120_000),
            ..BackchannelRequest::default()
        })
        .await
        .unwrap();
    let form = provider.at("/backchannel").remove(0).form;
    let sent: Vec<_> = form.iter().map(|(name, value)| (&**name, &**value)).collect();
    let wanted =
        [("binding_message", "W4SCT"), ("login_hint", "ann"), ("requested_expiry", "120"), ("scope", "openid")];
    assert_eq!(sent, wanted);
    assert_eq!((asked.expires_in, asked.interval), (120_000, 3_000));
    assert_no_secret(&asked, &["the-request", asked.session.expose()]);
    assert_eq!(client.poll(asked.session, Some("ann"), None).await.unwrap().access_token.expose(), "T1");
    assert_eq!(provider.at("/token")[1].field("auth_req_id"), "the-request");
    let error = client.backchannel_authentication(BackchannelRequest::default()).await.unwrap_err();
    assert!(error.to_string().contains("exactly one"), "{error}");
}

/// A token endpoint with a new token each time.
fn numbered() -> impl Fn(&Seen) -> Incoming + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        answer(
            200,
            &json!({
                "access_token": format!("T{number}"),
                "token_type": "Bearer",
                "expires_in": 3600,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }),
        )
    }
}

#[test]
fn a_token_is_exchanged_that_a_function_gives() {
    let provider = Scripted::new(numbered());
    let client = options()
        .option("grant", "token_exchange")
        .option("requested_token_type", "access_token")
        .subject_token_fn(|subject| subject.map(|subject| format!("token-of-{subject}")).ok_or("nobody"))
        .actor_token_fn(|subject| Ok::<_, ()>(format!("actor-for-{}", subject.unwrap_or("nobody"))))
        .policy("attempts", 1)
        .build(provider.clone())
        .unwrap();
    let ann = client.with_subject("ann", None).unwrap();
    assert_eq!(ann.token().unwrap().access_token.expose(), "T1");
    let seen = provider.at("/token").remove(0);
    assert_eq!((seen.field("subject_token"), seen.field("actor_token")), ("token-of-ann", "actor-for-ann"));
    assert_eq!(seen.field("requested_token_type"), "urn:ietf:params:oauth:token-type:access_token");
    // A function that has none: nothing is sent.
    let hasty = TokenOptions { timeout: Some(Duration::from_millis(50)), ..TokenOptions::default() };
    assert_eq!(client.token_with(hasty).unwrap_err().code().family(), Family::Transport);
    assert_eq!(provider.at("/token").len(), 1);
}

#[tokio::test]
async fn a_token_is_exchanged_that_was_given() {
    let provider = Scripted::new(numbered());
    let client = options().option("grant", "token_exchange").option("subject_token_type", "jwt");
    let client = client.build_async(provider.clone()).unwrap();
    let bob = client.with_subject_token("bob", "held-1", Secret::new("held-2".to_owned())).unwrap();
    assert_no_secret(&bob, &["held-1", "held-2"]);
    assert_eq!(bob.token().await.unwrap().access_token.expose(), "T1");
    let other = client.with_subject_token("bob", "held-3", None).unwrap();
    let forced = TokenOptions { force: true, ..TokenOptions::default() };
    assert_eq!(other.token_with(forced).await.unwrap().access_token.expose(), "T2");
    let seen = provider.at("/token");
    let sent: Vec<_> = seen.iter().map(|seen| (seen.field("subject_token"), seen.field("actor_token"))).collect();
    assert_eq!(sent, [("held-1", "held-2"), ("held-3", "")]);
    assert_eq!(seen[0].field("subject_token_type"), "urn:ietf:params:oauth:token-type:jwt");
}

#[test]
fn an_assertion_is_the_grant() {
    let provider = Scripted::new(numbered());
    let client = options().option("grant", "jwt_bearer");
    let client = client.assertion_fn(|subject| Ok::<_, ()>(format!("eyJhIjoxfQ.{}.c2ln", subject.unwrap_or("none"))));
    let client = client.build(provider.clone()).unwrap();
    client.with_subject("ann", None).unwrap().token().unwrap();
    let seen = provider.at("/token").remove(0);
    assert_eq!(seen.field("assertion"), "eyJhIjoxfQ.ann.c2ln");
    assert_eq!(seen.field("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
}

/// A server that knows each of its tokens until it is revoked.
fn knowing() -> Scripted {
    let mint = numbered();
    let revoked = Mutex::new(Vec::new());
    Scripted::new(move |seen| match seen.path() {
        "/introspect" => {
            let is_known =
                seen.field("token").starts_with('T') && !revoked.lock().unwrap().contains(&seen.form["token"]);
            answer(200, &json!({"active": is_known, "sub": "ann"}))
        }
        "/revoke" => {
            revoked.lock().unwrap().push(seen.form["token"].clone());
            answer(200, &Value::Null)
        }
        _ => mint(seen),
    })
}

#[test]
fn a_token_is_looked_up_and_revoked() {
    let provider = knowing();
    let client = options().build(provider.clone()).unwrap();
    let token = client.token().unwrap();
    let known = client.introspect(token.access_token.clone(), None).unwrap();
    assert!(known.active);
    assert_eq!(serde_json::from_str::<Value>(known.claims.expose()).unwrap(), json!({"active": true, "sub": "ann"}));
    assert_no_secret(&known, &["ann"]);
    assert!(!client.introspect("stranger", Some("refresh_token")).unwrap().active);
    assert_eq!(provider.at("/introspect")[1].field("token_type_hint"), "refresh_token");

    client.revoke(None, None).unwrap();
    assert!(client.peek().is_none());
    assert!(!client.introspect(token.access_token.clone(), None).unwrap().active);
    // There is nothing left to revoke; a token of somebody else's is named.
    client.revoke(None, None).unwrap();
    client.revoke(Secret::new("other".to_owned()), Some("refresh_token")).unwrap();
    let revoked = provider.at("/revoke");
    let sent: Vec<_> = revoked.iter().map(|seen| (seen.field("token"), seen.field("token_type_hint"))).collect();
    assert_eq!(sent, [("T1", "access_token"), ("other", "refresh_token")]);
    assert_eq!(client.token().unwrap().access_token.expose(), "T2");
}

#[tokio::test]
async fn tasks_look_tokens_up_and_revoke_them_too() {
    let provider = knowing();
    let client = options().build_async(provider.clone()).unwrap();
    let token = client.token().await.unwrap();
    assert!(client.introspect(token.access_token.clone(), None).await.unwrap().active);
    client.revoke(None, None).await.unwrap();
    assert!(client.peek().is_none());
    assert!(!client.introspect(token.access_token.clone(), None).await.unwrap().active);
}

#[test]
fn each_resource_has_a_token_of_its_own() {
    let provider = Scripted::new(numbered());
    let client = options().option("resource", json!(["https://a.example"])).build(provider.clone()).unwrap();
    let other = client.with_resource(["https://b.example"]).unwrap();
    let same = client.with_resource(["https://a.example"]).unwrap();
    let tokens = [&client, &other, &same, &other].map(|view| view.token().unwrap());
    assert_eq!(tokens.map(|token| token.access_token.expose().to_owned()), ["T1", "T2", "T1", "T2"]);
    let seen = provider.at("/token");
    let sent: Vec<_> = seen.iter().map(|seen| seen.field("resource")).collect();
    assert_eq!(sent, ["https://a.example", "https://b.example"]);
    let error = client.with_resource(["https://b.example#x"]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption);
    assert!(error.to_string().contains("fragment"), "{error}");
}

#[test]
fn nothing_but_the_issuer_is_known() {
    let provider = Scripted::new(|seen| match seen.path() {
        "/.well-known/oauth-authorization-server" => answer(
            200,
            &json!({
                "issuer": AUTH,
                "token_endpoint": format!("{AUTH}/found/token"),
                "authorization_endpoint": format!("{AUTH}/found/authorize"),
                "introspection_endpoint": format!("{AUTH}/found/introspect"),
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "code_challenge_methods_supported": ["S256"],
                "response_types_supported": ["code"],
            }),
        ),
        "/found/token" => token("T1"),
        "/found/introspect" => answer(200, &json!({"active": true})),
        _ => answer(404, &Value::Null),
    });
    let client = options_for(&json!({
        "name": "found",
        "title": "Found",
        "grants": GRANTS,
        "discovery": {"issuer": AUTH, "forms": ["oauth-authorization-server"]},
        "token": {"client_auth": ["client_secret_basic"]},
        "authorization": {},
        "api_origins": [API],
    }));
    let client = client.build(provider.clone()).unwrap();
    assert_eq!(client.token().unwrap().access_token.expose(), "T1");
    assert!(client.introspect("any", None).unwrap().active);
    assert!(client.headers("GET", &format!("{API}/data")).unwrap().iter().any(|(_, value)| value == "Bearer T1"));
    assert_eq!(provider.at("/.well-known/oauth-authorization-server").len(), 1);
}

#[test]
fn an_authorization_request_waits_for_the_metadata_and_is_pushed() {
    let provider = Scripted::new(|seen| match seen.path() {
        "/.well-known/openid-configuration" => answer(
            200,
            &json!({
                "issuer": AUTH,
                "token_endpoint": format!("{AUTH}/token"),
                "authorization_endpoint": format!("{AUTH}/authorize"),
                "pushed_authorization_request_endpoint": format!("{AUTH}/par"),
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "code_challenge_methods_supported": ["S256"],
                "response_types_supported": ["code"],
            }),
        ),
        "/par" => answer(201, &json!({"request_uri": "urn:example:1", "expires_in": 60})),
        _ => token("T1"),
    });
    let client = options_for(&json!({
        "name": "found",
        "title": "Found",
        "grants": GRANTS,
        "discovery": {"issuer": AUTH, "forms": ["openid-configuration"]},
        "token": {"client_auth": ["client_secret_basic"]},
        "authorization": {},
        "api_origins": [API],
    }));
    let client = client.option("grant", "authorization_code").option("pushed_authorization", true);
    let client = client.build(provider.clone()).unwrap();
    let details = r#"[{"type":"payment"}]"#;
    let redirect_uri = "https://app.example/callback".to_owned();
    let asked = AuthorizationUrl {
        redirect_uri,
        authorization_details: Some(details.into()),
        scope: Some(vec!["pay".into()]),
        ..AuthorizationUrl::default()
    };
    let authorization = client.authorization_url(asked).unwrap();
    let wanted = format!("{AUTH}/authorize?client_id=someone&request_uri=urn%3Aexample%3A1");
    assert_eq!(authorization.url, wanted);
    let pushed = provider.at("/par").remove(0);
    assert_eq!((pushed.field("authorization_details"), pushed.field("scope")), (details, "pay"));
    assert_eq!(pushed.field("code_challenge_method"), "S256");
    assert_no_secret(&authorization, &[authorization.session.expose()]);

    let callback = format!("https://app.example/callback?code=c0de&state={}", pushed.field("state"));
    let token = client.exchange(callback, authorization.session, Some("ann")).unwrap();
    assert_eq!(token.access_token.expose(), "T1");
    assert_eq!(provider.at("/token")[0].field("code"), "c0de");
}

#[test]
fn a_signed_answer_is_checked_by_the_users_function() {
    let provider = Scripted::new(|seen| match seen.path() {
        "/jwks" => answer(200, &json!({"keys": [{"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": "k"}]})),
        _ => token("T1"),
    });
    let options = options_for(&json!({
        "name": "signing",
        "title": "Signing",
        "grants": ["authorization_code"],
        "token": {"endpoint": format!("{AUTH}/token"), "client_auth": ["client_secret_basic"]},
        "authorization": {"endpoint": format!("{AUTH}/authorize"), "issuer": AUTH},
        "endpoints": {"jwks": format!("{AUTH}/jwks")},
        "api_origins": [API],
    }));
    let options = options.option("response_mode", "jwt");
    let refused = options.clone().build(provider.clone()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidOption);
    assert!(refused.message().contains("Builder::verifier"), "{refused}");

    // Nobody here looks at curves: this is the server's signature.
    let verify = |signed: &Signed| -> Result<bool, ()> {
        let key: Value = serde_json::from_str(&signed.key).map_err(drop)?;
        assert_eq!((&*signed.alg, &key["x"], &key["kid"]), ("ES256", &X.into(), &Value::Null));
        assert!(!format!("{signed:?}").contains(signed.input.expose()));
        if signed.signature.len() == 64 { Ok(signed.signature == [7; 64]) } else { Err(()) }
    };
    let client = options.verifier(verify).build(provider.clone()).unwrap();
    let redirect_uri = "https://app.example/callback".to_owned();
    let begun = client.authorization_url(AuthorizationUrl { redirect_uri, ..AuthorizationUrl::default() }).unwrap();
    let state = begun.url.split(['?', '&']).find_map(|pair| pair.strip_prefix("state=")).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let [header, claims] = [
        json!({"alg": "ES256", "kid": "k"}),
        json!({"iss": AUTH, "aud": "someone", "exp": now + 600, "code": "c0de", "state": state}),
    ]
    .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let exchange = |signature: String| {
        let callback = format!("https://app.example/callback?response={header}.{claims}.{signature}");
        client.exchange(callback, begun.session.clone(), Some("ann"))
    };
    // Another's; one that the function can't tell of; one that is no text of bytes.
    for wrong in [URL_SAFE_NO_PAD.encode([8; 64]), URL_SAFE_NO_PAD.encode([7; 63]), "A".to_owned()] {
        assert_no_secret(&exchange(wrong).unwrap_err(), &["c0de"]);
    }
    assert!(provider.at("/token").is_empty());
    assert_eq!(exchange(URL_SAFE_NO_PAD.encode([7; 64])).unwrap().access_token.expose(), "T1");
    assert_eq!(provider.at("/token")[0].field("code"), "c0de");
}

/// The key of RFC 9449's samples.
const X: &str = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
const Y: &str = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";
