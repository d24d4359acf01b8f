//! What a client holds: the key that its tokens are bound to, and its certificate.

use std::error::Error;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use examples_rust::ureq::Ureq;
use remint::Builder;
use remint::client::Signed;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// A key of the client's own: one that is made now, or one from a file.
pub fn with_dpop(builder: Builder, told: &Value) -> Result<Builder, Box<dyn Error>> {
    let alg = told["alg"].as_str().unwrap_or("ES256").to_owned();
    let (curve, algorithm): (_, &'static EcdsaSigningAlgorithm) = match &*alg {
        "ES256" => ("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        "ES384" => ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        other => return Err(format!("this driver proves with no {other}").into()),
    };
    let random = SystemRandom::new();
    let pkcs8 = match told["pem"].as_str() {
        Some(pem) => STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>())?,
        None => EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|error| error.to_string())?.as_ref().to_vec(),
    };
    let key = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).map_err(|error| error.to_string())?;
    // A point is written as 4, x and y (SEC 1 section 2.3.3).
    let point = key.public_key().as_ref().get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
    let mut given = json!({ "alg": alg, "jwk": jwk });
    if let (Some(members), Some(required)) = (given.as_object_mut(), told.get("required")) {
        members.insert("required".into(), required.clone());
    }
    Ok(builder.dpop(given, move |_, input| key.sign(&random, input).map(|signature| signature.as_ref().to_vec())))
}

/// What connections are made with: paths of a certificate with its key, and of whom to trust.
#[derive(Default)]
pub struct Connection {
    certificate: Option<(Vec<u8>, Vec<u8>)>,
    authority: Option<Vec<u8>>,
    /// Whether the authority has issued the certificate: then it goes along, and some servers tell the two methods apart by it.
    is_issued: bool,
}

impl Connection {
    pub fn new(pair: Option<&Value>, authority: Option<&Value>, is_issued: bool) -> Result<Self, Box<dyn Error>> {
        let read = |path: &Value| fs::read(path.as_str().unwrap_or_default());
        let pair = pair.map(|pair| Ok::<_, std::io::Error>((read(&pair["certificate"])?, read(&pair["key"])?)));
        Ok(Self { certificate: pair.transpose()?, authority: authority.map(read).transpose()?, is_issued })
    }

    pub fn is_plain(&self) -> bool {
        self.certificate.is_none() && self.authority.is_none()
    }

    /// The thumbprint of its certificate (RFC 8705 section 3.1).
    pub fn tls_id(&self) -> Result<Option<String>, Box<dyn Error>> {
        let Some((pem, _)) = &self.certificate else { return Ok(None) };
        let certificate = Certificate::from_pem(pem)?;
        Ok(Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate.der()))))
    }

    /// One request, one attempt: like [`examples_rust::ureq::agent`], with this certificate.
    pub fn transport(&self) -> Result<Ureq, Box<dyn Error>> {
        if self.is_plain() {
            return Ok(Ureq(examples_rust::ureq::agent()));
        }
        let mut tls = TlsConfig::builder();
        if let Some(authority) = &self.authority {
            tls = tls.root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(authority)?]));
        }
        if let Some((certificate, key)) = &self.certificate {
            let mut chain = vec![Certificate::from_pem(certificate)?];
            if let Some(authority) = self.authority.as_ref().filter(|_| self.is_issued) {
                chain.push(Certificate::from_pem(authority)?);
            }
            let pair = ClientCert::new_with_certs(&chain, PrivateKey::from_pem(key)?);
            tls = tls.client_cert(Some(pair));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0);
        Ok(Ureq(config.build().new_agent()))
    }
}

/// Whether a signature of a server's is good.
pub fn verified(signed: &Signed) -> Result<bool, serde_json::Error> {
    let jwk: Value = serde_json::from_str(&signed.key)?;
    let member = |name: &str| {
        URL_SAFE_NO_PAD.decode(jwk.get(name).and_then(Value::as_str).unwrap_or_default()).unwrap_or_default()
    };
    let (input, signature) = (signed.input.expose().as_bytes(), &*signed.signature);
    let by_point = |algorithm: &'static dyn VerificationAlgorithm, key: Vec<u8>| {
        UnparsedPublicKey::new(algorithm, key).verify(input, signature)
    };
    let by_number = |algorithm: &'static RsaParameters| {
        RsaPublicKeyComponents { n: member("n"), e: member("e") }.verify(algorithm, input, signature)
    };
    let point = || [vec![4], member("x"), member("y")].concat();
    let outcome = match &*signed.alg {
        "ES256" => by_point(&ECDSA_P256_SHA256_FIXED, point()),
        "ES384" => by_point(&ECDSA_P384_SHA384_FIXED, point()),
        "EdDSA" => by_point(&ED25519, member("x")),
        "RS256" => by_number(&RSA_PKCS1_2048_8192_SHA256),
        "PS256" => by_number(&RSA_PSS_2048_8192_SHA256),
        _ => return Ok(false),
    };
    Ok(outcome.is_ok())
}
