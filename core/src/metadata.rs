//! What an authorization server tells about itself (RFC 8414, OpenID Connect Discovery 1.0).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::str;

use crate::config::{Algorithm, ClientAuth, Config, Credential, Grant, ResponseAlgorithm};
use crate::error::{Error, ErrorCode};
use crate::json::{Object, Value};
use crate::profile::MetadataForm;
use crate::response::HttpResponse;
use crate::url::EndpointUrl;

/// A server's metadata, as far as a client needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    token: Option<EndpointUrl>,
    authorization: Option<EndpointUrl>,
    device_authorization: Option<EndpointUrl>,
    backchannel_authentication: Option<EndpointUrl>,
    pushed_authorization_request: Option<EndpointUrl>,
    introspection: Option<EndpointUrl>,
    revocation: Option<EndpointUrl>,
    registration: Option<EndpointUrl>,
    jwks: Option<EndpointUrl>,
    response_modes: Option<Vec<String>>,
    response_algorithms: Option<Vec<String>>,
    /// The names of the ways to authenticate.
    client_auth: Vec<String>,
    signing_algorithms: Option<Vec<String>>,
    dpop_algorithms: Option<Vec<String>>,
    challenge_methods: Option<Vec<String>>,
    iss_supported: bool,
    require_pushed: bool,
}

/// Where a server's metadata is (RFC 8414 section 3.1, STD-62; OpenID Connect Discovery 1.0 section 4).
pub(crate) fn well_known(issuer: &str, form: MetadataForm) -> String {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    match form {
        MetadataForm::OpenId => format!("{issuer}/.well-known/openid-configuration"),
        MetadataForm::OAuth => {
            let path =
                issuer.find("://").and_then(|at| issuer.get(at.saturating_add(3)..)).and_then(|rest| rest.find('/'));
            let host = path.map_or(issuer.len(), |path| {
                issuer.find("://").unwrap_or_default().saturating_add(3).saturating_add(path)
            });
            let (host, path) = issuer.split_at_checked(host).unwrap_or((issuer, ""));
            format!("{host}/.well-known/oauth-authorization-server{path}")
        }
    }
}

impl Metadata {
    /// Reads a metadata document. What it says is checked like what a user says (STD-63, STD-69).
    ///
    /// With a client certificate, the endpoints of `mtls_endpoint_aliases` go before the others, one by one (STD-68).
    pub(crate) fn read(response: &HttpResponse<'_>, config: &Config) -> Result<Self, Error> {
        let issuer = config.discovery.as_ref().map_or("", |discovery| &discovery.issuer);
        let object = open(response, issuer, config.policy.answer_cap)?;
        let flag = |name: &str| matches!(object.find(&[name]), Ok(Some(Value::Bool(true))));
        let list = |name: &str| match object.find(&[name]) {
            Ok(Some(Value::Texts(Some(texts)))) => Some(texts.into_iter().map(String::from).collect::<Vec<_>>()),
            _ => None,
        };
        let url = |name: &str| {
            let alias = match config.tls_id {
                Some(_) => object.find(&["mtls_endpoint_aliases", name]).unwrap_or(None),
                None => None,
            };
            let found = match alias {
                Some(found) => Some(found),
                None => object.find(&[name]).map_err(|_| unusable("names an endpoint twice"))?,
            };
            match found {
                None => Ok(None),
                Some(Value::Text(text)) => EndpointUrl::parse(&text, config.allow_loopback_http)
                    .map(Some)
                    .map_err(|why| unusable(&format!("has a `{name}` that is not accepted: {why}"))),
                Some(_) => Err(unusable(&format!("has a `{name}` that is no URL"))),
            }
        };
        Ok(Self {
            token: url("token_endpoint")?,
            authorization: url("authorization_endpoint")?,
            device_authorization: url("device_authorization_endpoint")?,
            backchannel_authentication: url("backchannel_authentication_endpoint")?,
            pushed_authorization_request: url("pushed_authorization_request_endpoint")?,
            introspection: url("introspection_endpoint")?,
            revocation: url("revocation_endpoint")?,
            registration: url("registration_endpoint")?,
            // Who has no use for the keys is not stopped by a slip in their address.
            jwks: if config.wants_signed_answers() { url("jwks_uri")? } else { None },
            response_modes: list("response_modes_supported"),
            response_algorithms: list("authorization_signing_alg_values_supported"),
            // RFC 8414 section 2 (STD-66).
            client_auth: list("token_endpoint_auth_methods_supported")
                .unwrap_or_else(|| [ClientAuth::BasicForm.as_str().to_owned()].into()),
            signing_algorithms: list("token_endpoint_auth_signing_alg_values_supported"),
            dpop_algorithms: list("dpop_signing_alg_values_supported"),
            challenge_methods: list("code_challenge_methods_supported"),
            iss_supported: flag("authorization_response_iss_parameter_supported"),
            require_pushed: flag("require_pushed_authorization_requests"),
        })
    }

    /// The configuration with what it leaves open filled in. What both say must agree.
    pub(crate) fn applied(&self, config: &Config) -> Result<Config, Error> {
        let mut config = config.clone();
        config.token_endpoint = agreed("token_endpoint", config.token_endpoint, &self.token)?;
        if config.token_endpoint.is_none() {
            return Err(unusable("names no `token_endpoint`: check `issuer`"));
        }
        if let Some(authorization) = &mut config.authorization {
            authorization.endpoint =
                agreed("authorization_endpoint", authorization.endpoint.take(), &self.authorization)?;
            if authorization.endpoint.is_none() {
                return Err(unusable("names no `authorization_endpoint`, and the grant needs one"));
            }
            // RFC 9207 section 2.4 (STD-71).
            authorization.iss_required |= self.iss_supported;
        }
        let endpoints = &mut config.endpoints;
        for (name, ours, theirs) in [
            ("device_authorization", &mut endpoints.device_authorization, &self.device_authorization),
            ("backchannel_authentication", &mut endpoints.backchannel_authentication, &self.backchannel_authentication),
            (
                "pushed_authorization_request",
                &mut endpoints.pushed_authorization_request,
                &self.pushed_authorization_request,
            ),
            ("introspection", &mut endpoints.introspection, &self.introspection),
            ("revocation", &mut endpoints.revocation, &self.revocation),
            ("registration", &mut endpoints.registration, &self.registration),
            ("jwks", &mut endpoints.jwks, &self.jwks),
        ] {
            *ours = agreed(name, ours.take(), theirs)?;
        }
        self.check_signed_answers(&config)?;
        if self.require_pushed {
            if config.pushed_authorization == Some(false) {
                return Err(unusable(
                    "requires pushed authorization requests, and `pushed_authorization` is `false` (RFC 9126 section 5)",
                ));
            }
            config.pushed_authorization = Some(true);
        }
        let plain =
            self.challenge_methods.as_ref().is_some_and(|methods| !methods.iter().any(|method| method == "S256"));
        if plain && config.grant == Grant::AuthorizationCode {
            return Err(unusable("offers PKCE without `S256`, and nothing else is safe (RFC 9700 section 2.1.1)"));
        }
        self.choose_client_auth(&mut config)?;
        self.choose_algorithm(&mut config)?;
        Ok(config)
    }

    /// What the configuration asks for, the server offers (JARM section 4).
    fn check_signed_answers(&self, config: &Config) -> Result<(), Error> {
        let Some(mode) = config.authorization.as_ref().and_then(|authorization| authorization.response_mode) else {
            return Ok(());
        };
        let lacks = |known: &Option<Vec<String>>, name: &str| {
            known.as_ref().is_some_and(|known| !known.iter().any(|known| known == name))
        };
        if lacks(&self.response_modes, mode.as_str()) {
            return Err(unusable(&format!(
                "does not offer the response mode `{}`: set another `response_mode`",
                mode.as_str()
            )));
        }
        if !mode.is_signed() {
            return Ok(());
        }
        let algorithm = config.authorization_signed_response_alg;
        if let Some(algorithm) = algorithm.filter(|algorithm| lacks(&self.response_algorithms, algorithm.as_str())) {
            return Err(unusable(&format!(
                "offers no answers that are signed with `{}`: set another `authorization_signed_response_alg`",
                algorithm.as_str()
            )));
        }
        if algorithm != Some(ResponseAlgorithm::Hs256) && config.endpoints.jwks.is_none() {
            return Err(unusable("names no `jwks_uri`, and signed answers can't be checked without it"));
        }
        Ok(())
    }

    /// The way to authenticate: the user's own if the server takes it, or the first that both know (STD-136).
    fn choose_client_auth(&self, config: &mut Config) -> Result<(), Error> {
        let takes = |method: &ClientAuth| {
            *method == ClientAuth::None || self.client_auth.iter().any(|known| known == method.registered())
        };
        let chosen = match &*config.client_auth_choices {
            [] => Some(config.client_auth).filter(takes),
            choices => choices.iter().copied().find(takes),
        };
        match chosen {
            Some(chosen) => {
                config.client_auth = chosen;
                Ok(())
            }
            None => Err(unusable(&format!(
                "does not offer the client authentication `{}`: choose another `client_auth`, or register the client for it",
                config.client_auth.as_str()
            ))),
        }
    }

    fn choose_algorithm(&self, config: &mut Config) -> Result<(), Error> {
        let is_used = config.credential == Credential::Key;
        if let (Some(key), Some(known), true) = (&mut config.signing_key, &self.signing_algorithms, is_used) {
            let offered = |algorithm: &Algorithm| known.iter().any(|name| name == algorithm.as_str());
            key.algorithms.retain(offered);
            if key.algorithms.is_empty() {
                return Err(unusable(
                    "offers none of the algorithms that `signing_key` is for: use a key of another kind (STD-92)",
                ));
            }
        }
        if let (Some(dpop), Some(known)) = (&config.dpop, &self.dpop_algorithms) {
            if !known.iter().any(|name| name == dpop.algorithm.as_str()) {
                return Err(unusable(
                    "offers no proofs of possession with the algorithm of `dpop`: use a key of another kind",
                ));
            }
        }
        Ok(())
    }
}

/// Opens a metadata document of this issuer (RFC 8414 sections 3.2 and 3.3, STD-63).
pub(crate) fn open<'a>(response: &HttpResponse<'a>, issuer: &str, cap: usize) -> Result<Object<'a>, Error> {
    if matches!(response.status, 408 | 429 | 500..=599) {
        return Err(Error::new(
            ErrorCode::ServerUnavailable,
            "the server that tells its metadata has no time for it: try again later",
        )
        .with_status(response.status));
    }
    if response.status != 200 {
        return Err(
            unusable("is not there: check `issuer`, or name the endpoints in the profile").with_status(response.status)
        );
    }
    if response.body.len() > cap {
        return Err(Error::new(
            ErrorCode::AnswerTooLarge,
            "the server's metadata is longer than `answer_cap`: check `issuer`",
        ));
    }
    let text = str::from_utf8(response.body).map_err(|_| unusable("is not UTF-8: check `issuer`"))?;
    let object = Object::parse(text.strip_prefix('\u{feff}').unwrap_or(text))
        .map_err(|_| unusable("is not one JSON object: check `issuer`"))?;
    match object.find(&["issuer"]) {
        Ok(Some(Value::Text(theirs))) if &*theirs == issuer => {}
        _ => {
            return Err(Error::new(
                ErrorCode::IssuerMismatch,
                "the server's metadata names another issuer than `issuer`, which must be the same to the letter \
                 (RFC 8414 section 3.3): see whether a `/` at its end is missing or too much",
            ));
        }
    }
    Ok(object)
}

/// An endpoint that configuration and metadata name: the same, or only one of them does.
fn agreed(name: &str, ours: Option<EndpointUrl>, theirs: &Option<EndpointUrl>) -> Result<Option<EndpointUrl>, Error> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != *theirs => Err(unusable(&format!(
            "names another `{name}` than the configuration: leave it out of the configuration, or don't use `issuer`"
        ))),
        (Some(ours), _) => Ok(Some(ours)),
        (None, theirs) => Ok(theirs.clone()),
    }
}

pub(crate) fn unusable(why: &str) -> Error {
    Error::new(ErrorCode::MetadataUnusable, format!("the server's metadata {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_rfc_8414_section_3_1_std_62() {
        let oauth = |issuer| well_known(issuer, MetadataForm::OAuth);
        assert_eq!(oauth("https://example.com"), "https://example.com/.well-known/oauth-authorization-server");
        assert_eq!(oauth("https://example.com/"), "https://example.com/.well-known/oauth-authorization-server");
        assert_eq!(
            oauth("https://example.com/issuer1"),
            "https://example.com/.well-known/oauth-authorization-server/issuer1"
        );
        assert_eq!(oauth("https://example.com/a/b/"), "https://example.com/.well-known/oauth-authorization-server/a/b");
        assert_eq!(
            well_known("https://example.com/issuer1", MetadataForm::OpenId),
            "https://example.com/issuer1/.well-known/openid-configuration"
        );
    }
}
