//! What a client signs: a proof of possession for each API request, and an assertion for each token request. The same library
//! signs for both sides, so what differs is all that is around it.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode};
use remint::Client;
use remint::client::{Incoming, Outgoing, SendError, TokenOptions};
use serde_json::{Value, json};

use crate::exchange::token;
use crate::measure::{Work, compare};

pub fn run() -> Result<(), Box<dyn Error>> {
    let key = EncodingKey::from_ec_pem(KEY.as_bytes())?;
    let signer = |key: EncodingKey| {
        move |_: &str, input: &[u8]| -> Result<Vec<u8>, Box<dyn Error>> {
            Ok(URL_SAFE_NO_PAD.decode(crypto::sign(input, &key, Algorithm::ES256)?)?)
        }
    };
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y});
    let client = |token_type: &'static str| {
        let send = move |_: Outgoing| -> Result<Incoming, SendError> {
            // Another one each time: who renews nothing has to wait.
            let text = format!("{}{}", token(), COUNT.fetch_add(1, Ordering::Relaxed));
            let answer = json!({"access_token": text, "token_type": token_type, "expires_in": 3600});
            Ok(Incoming { status: 200, headers: Vec::new(), body: answer.to_string().into_bytes() })
        };
        // On the caller's own thread: what a thread costs is not what is asked here.
        (Client::builder(profile()).client_id(ID).background_refresh(false), send)
    };

    let (options, send) = client("DPoP");
    let bound = options.client_secret("s3cr3t").option("client_auth", "client_secret_basic");
    let bound = bound.dpop(json!({"alg": "ES256", "jwk": jwk}), signer(key.clone())).build(send)?;
    bound.headers("GET", API)?;
    let ours = Work::new("`client.headers(…)` with a proof", || bound.headers("GET", API).ok());
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some("dpop+jwt".into());
    header.jwk = Some(serde_json::from_value::<Jwk>(jwk)?);
    let mut count = 0_u64;
    let peer = Work::new("jsonwebtoken: the same claims", || {
        count += 1;
        let claims = json!({"jti": format!("{count:022}"), "htm": "GET", "htu": API, "iat": NOW, "ath": X});
        encode(&header, &claims, &key).ok()
    });
    compare("A proof of possession, ES256", 50, ours, vec![peer]);

    let (options, send) = client("Bearer");
    let told = json!({"name": "2026-11", "alg": "ES256", "kid": "2026-11"});
    let asserting = options
        .option("client_auth", "private_key_jwt")
        .option("assertion_audience", ISSUER)
        .signing_key(told, signer(key.clone()))
        .build(send)?;
    let forced = TokenOptions { force: true, ..TokenOptions::default() };
    asserting.token_with(forced)?;
    let ours = Work::new("a forced token request with an assertion", || asserting.token_with(forced).ok());
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("2026-11".into());
    let mut count = 0_u64;
    let peer = Work::new("jsonwebtoken: the same claims", || {
        count += 1;
        let claims = json!({
            "iss": ID, "sub": ID, "aud": ISSUER, "jti": format!("{count:022}"), "iat": NOW, "exp": NOW + 60,
        });
        encode(&header, &claims, &key).ok()
    });
    compare("`private_key_jwt`, ES256", 50, ours, vec![peer]);
    Ok(())
}

fn profile() -> Value {
    json!({
        "name": "signing",
        "title": "Signing",
        "grants": ["client_credentials"],
        "token": {"endpoint": format!("{ISSUER}/token"), "client_auth": ["client_secret_basic", "private_key_jwt"]},
        "attach": {"header": "Authorization", "scheme": "Bearer"},
        "api_origins": ["https://api.example"],
    })
}

static COUNT: AtomicU64 = AtomicU64::new(0);
const ISSUER: &str = "https://login.example";
const API: &str = "https://api.example/v1/wallets";
const ID: &str = "wallet-client";
const NOW: u64 = 1_700_000_000;
/// A key for this alone.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGq0M9wFSp4QITrO1\n\
gSPPjoXYGqzTeQL7pxe4eCB4f9KhRANCAAQ2Kj2zgm21JfC31aYBPVQJQ+/w10gi\n\
ib+c/UlKMWTKJYwVXLJWBjh0bjRoGgH4pmB/UNvIz6EunMF6vHLxd8Dr\n\
-----END PRIVATE KEY-----\n";
const X: &str = "Nio9s4JttSXwt9WmAT1UCUPv8NdIIom_nP1JSjFkyiU";
const Y: &str = "jBVcslYGOHRuNGgaAfimYH9Q28jPoS6cwXq8cvF3wOs";
