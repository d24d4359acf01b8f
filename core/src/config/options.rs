//! The options beside a profile's variables.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{
    Algorithm, AssertionRules, ClientAuth, Config, Credential, Dpop, Exchanged, Grant, GrantAssertion, OPTIONS,
    ResponseAlgorithm, ResponseMode, SigningKey, StoreConfig, StoreKey, check_absolute_uri, check_credential, missing,
};
use crate::assertion::SECRET_LEAST;
use crate::document::{self, Field, Kind, Object, Place, Value};
use crate::error::{Error, ErrorCode};
use crate::grammar;
use crate::policy::Policy;
use crate::profile::{CLIENT_AUTH, GRANTS, Profile};
use crate::proof;

/// Says why a text is not accepted.
type Check = fn(&str) -> Result<(), String>;

/// The options beside the profile's variables, each taken out once.
pub(super) struct Given<'a>(BTreeMap<&'static str, Field<'a>>);

impl<'a> Given<'a> {
    pub(super) fn take(object: &mut Object<'a>) -> Self {
        Self(OPTIONS.iter().filter_map(|name| Some((*name, object.take(name)?))).collect())
    }

    pub(super) fn take_one(&mut self, name: &str) -> Option<Field<'a>> {
        self.0.remove(name)
    }

    /// The client's identifier, where a header of API requests shows it.
    pub(super) fn client_id(&self) -> Option<String> {
        self.0.get("client_id").cloned().and_then(|field| field.text().ok())
    }

    /// Refuses what is still there.
    pub(super) fn refuse_rest(&self, why: &str) -> Result<(), Error> {
        self.0.values().next().map_or(Ok(()), |field| Err(field.place.error(why)))
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.take_one(name).map(Field::boolean).transpose()
    }

    pub(super) fn duration(&mut self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Error> {
        self.take_one(name).map(|field| field.duration(least, most)).transpose()
    }

    pub(super) fn checked(&mut self, name: &str, check: Check) -> Result<Option<String>, Error> {
        self.take_one(name).map(|field| checked(field, check)).transpose()
    }

    /// One text, or a list of them.
    pub(super) fn texts(&mut self, name: &str, check: Check) -> Result<Vec<String>, Error> {
        match self.take_one(name) {
            None => Ok(Vec::new()),
            Some(field) if matches!(field.value, Value::List(_)) => {
                field.list()?.into_iter().map(|field| checked(field, check)).collect()
            }
            Some(field) => Ok([checked(field, check)?].into()),
        }
    }

    /// The grant that was asked for, or the profile's first.
    pub(super) fn grant(&mut self, profile: &Profile) -> Result<Grant, Error> {
        match self.take_one("grant") {
            Some(field) => field.one_of(&narrowed(GRANTS, &profile.grants)),
            None => Ok(profile.grants.first().copied().unwrap_or(Grant::ClientCredentials)),
        }
    }

    /// Refuses an option that would have no effect: whoever wrote it believes that it has one.
    pub(super) fn refuse_unused(&self, grant: Grant, profile: &Profile) -> Result<(), Error> {
        let is_token_requested = grant != Grant::ApiToken;
        let is_oauth = is_token_requested && grant != Grant::BasicGet;
        let has_scope =
            is_oauth || is_token_requested && profile.token.as_ref().is_some_and(|token| token.scope.is_some());
        let is_exchange = grant == Grant::TokenExchange;
        let is_assertion = grant == Grant::JwtBearer;
        let is_authorized = grant == Grant::AuthorizationCode;
        for (name, is_used, instead) in [
            ("api_token", !is_token_requested, "leave it out, or set `grant` to `api_token`"),
            ("client_secret", is_token_requested, "the API token is the option `api_token`"),
            ("client_secret_provided", is_token_requested, "the API token is the option `api_token`"),
            ("credential_name", is_token_requested, "leave it out"),
            ("client_auth", is_token_requested, "leave it out"),
            ("client_assertion_provided", is_token_requested, "leave it out"),
            ("signing_key", is_token_requested, "leave it out"),
            ("parameters", is_token_requested, "leave it out"),
            ("scope", has_scope, "leave it out"),
            ("resource", is_oauth, "leave it out"),
            ("audience", is_oauth, "leave it out"),
            ("dpop", is_oauth, "leave it out"),
            ("certificate_bound", is_oauth, "leave it out"),
            ("authorization_details", is_oauth, "leave it out"),
            ("redirect_uri", is_authorized, "leave it out"),
            ("pushed_authorization", is_authorized, "leave it out"),
            ("request_object", is_authorized, "leave it out"),
            ("response_mode", is_authorized, "leave it out"),
            ("authorization_signed_response_alg", is_authorized, "leave it out"),
            ("subject_token_provided", is_exchange, "set `grant` to `token_exchange`"),
            ("subject_token_type", is_exchange, "set `grant` to `token_exchange`"),
            ("actor_token_provided", is_exchange, "set `grant` to `token_exchange`"),
            ("actor_token_type", is_exchange, "set `grant` to `token_exchange`"),
            ("requested_token_type", is_exchange, "set `grant` to `token_exchange`"),
            ("assertion_provided", is_assertion, "set `grant` to `jwt_bearer`"),
            ("assertion_issuer", is_assertion, "set `grant` to `jwt_bearer`"),
            ("assertion_subject", is_assertion, "set `grant` to `jwt_bearer`"),
            ("assertion_claims", is_assertion, "set `grant` to `jwt_bearer`"),
        ] {
            if let Some(field) = self.0.get(name).filter(|_| !is_used) {
                return Err(field.place.error(format!("has no use with the grant `{}`: {instead}", grant.as_str())));
            }
        }
        Ok(())
    }

    /// The way to authenticate that was asked for; or the profile's first that the credential is good for, and all of those,
    /// among which a server's metadata may choose.
    pub(super) fn client_auth(
        &mut self,
        grant: Grant,
        allowed: &[ClientAuth],
    ) -> Result<(ClientAuth, Vec<ClientAuth>), Error> {
        if let Some(field) = self.take_one("client_auth") {
            return Ok((field.one_of(&narrowed(CLIENT_AUTH, allowed))?, Vec::new()));
        }
        let has = |name: &str| self.0.contains_key(name);
        // What was given says how, where the profile permits it.
        let signs = has("client_assertion_provided") || has("signing_key") && grant != Grant::JwtBearer;
        let has_secret = has("client_secret") || has("client_secret_provided");
        let long_enough = match self.0.get("client_secret").map(|field| &field.value) {
            Some(Value::Text(secret)) => secret.expose().len() >= SECRET_LEAST,
            _ => true,
        };
        let fits = |method: &ClientAuth| match method {
            ClientAuth::KeyJwt => signs,
            ClientAuth::Tls | ClientAuth::SelfSignedTls => has("tls_id") && !has_secret && !signs,
            ClientAuth::None => !has_secret && !signs,
            ClientAuth::SecretJwt => has_secret && !signs && long_enough,
            ClientAuth::BasicForm | ClientAuth::BasicRaw | ClientAuth::Body => has_secret && !signs,
        };
        let mut choices: Vec<ClientAuth> = allowed.iter().copied().filter(fits).collect();
        // A certificate says more than nothing does.
        choices.sort_by_key(|method| *method == ClientAuth::None);
        let first = choices.first().or(allowed.first()).copied().unwrap_or(ClientAuth::BasicForm);
        Ok((first, choices))
    }

    /// The key that signs assertions.
    pub(super) fn signing_key(&self) -> Result<Option<SigningKey>, Error> {
        self.0.get("signing_key").cloned().map(signing_key).transpose()
    }

    /// The key that tokens are bound to.
    pub(super) fn dpop(&mut self) -> Result<Option<Dpop>, Error> {
        self.take_one("dpop").map(dpop).transpose()
    }

    /// What is asked for in detail (RFC 9396 section 2).
    pub(super) fn authorization_details(&mut self) -> Result<Option<String>, Error> {
        self.take_one("authorization_details").map(authorization_details).transpose()
    }

    /// How the answer to an authorization request comes back.
    pub(super) fn response_mode(&mut self) -> Result<Option<ResponseMode>, Error> {
        self.take_one("response_mode").map(|field| field.one_of(ResponseMode::ALL)).transpose()
    }

    /// What it is signed with.
    pub(super) fn response_algorithm(&mut self) -> Result<Option<ResponseAlgorithm>, Error> {
        let keys = Algorithm::ALL.iter().map(|(name, algorithm)| (*name, ResponseAlgorithm::Key(*algorithm)));
        let choices: Vec<_> = keys.chain([("HS256", ResponseAlgorithm::Hs256)]).collect();
        self.take_one("authorization_signed_response_alg").map(|field| field.one_of(&choices)).transpose()
    }

    /// What is exchanged for what.
    pub(super) fn exchanged(&mut self) -> Result<Exchanged, Error> {
        let mut kind = |name: &str| self.take_one(name).map(token_kind).transpose();
        let subject_type = kind("subject_token_type")?;
        let actor_type = kind("actor_token_type")?;
        let requested_type = kind("requested_token_type")?;
        let access_token = || format!("{TOKEN_KIND}access_token");
        Ok(Exchanged {
            subject_type: subject_type.unwrap_or_else(access_token),
            actor_type: actor_type.unwrap_or_else(access_token),
            requested_type,
            subject_provided: self.boolean("subject_token_provided")?.unwrap_or(false),
            actor_provided: self.boolean("actor_token_provided")?.unwrap_or(false),
        })
    }

    /// What the assertion says that is the grant: the profile's rules with the user's put over them.
    pub(super) fn grant_assertion(
        &mut self,
        grant: Grant,
        rules: Option<GrantAssertion>,
    ) -> Result<Option<GrantAssertion>, Error> {
        if grant != Grant::JwtBearer {
            return Ok(None);
        }
        let mut rules = rules.unwrap_or_default();
        rules.provided = self.boolean("assertion_provided")?.unwrap_or(false);
        let key = self.0.get("signing_key");
        match (rules.provided, key) {
            (false, None) => {
                return Err(missing(
                    "signing_key",
                    "the key that signs the assertion; or set `assertion_provided`, and give a function for it",
                ));
            }
            (true, Some(field)) if !self.0.contains_key("client_auth") => {
                return Err(field.place.error("stands beside `assertion_provided`: keep one of the two"));
            }
            _ => {}
        }
        for (name, claim) in [("assertion_issuer", &mut rules.issuer), ("assertion_subject", &mut rules.subject)] {
            if let Some(field) = self.take_one(name) {
                *claim = Some(checked(field, |text| grammar::check(text, grammar::NO_CONTROLS))?);
            }
        }
        if let Some(field) = self.take_one("assertion_claims") {
            for (name, field) in field.entries()? {
                if REGISTERED_CLAIMS.contains(&&*name) {
                    return Err(field
                        .place
                        .error("is a claim that has an option of its own, or that is made anew each time"));
                }
                let value = field.text()?;
                rules.claims.retain(|(known, _)| *known != name);
                rules.claims.push((name, value));
            }
        }
        Ok(Some(rules))
    }

    pub(super) fn credentials(&mut self, config: &mut Config, issuer: Option<String>) -> Result<(), Error> {
        let client_id = self.take_one("client_id");
        let secret = self.take_one("client_secret");
        let provided = self.take_one("client_secret_provided");
        let name = self.take_one("credential_name");
        let is_provided = provided.clone().map(Field::boolean).transpose()?.unwrap_or(false);
        let asserted = self.take_one("client_assertion_provided");
        let is_asserted = asserted.clone().map(Field::boolean).transpose()?.unwrap_or(false);
        if let Some(field) = name.as_ref().filter(|_| !is_provided && !is_asserted) {
            return Err(field
                .place
                .error("has no use without `client_secret_provided` or `client_assertion_provided`: leave it out"));
        }
        let key = self.take_one("signing_key");
        let is_used = config.grant_assertion.as_ref().is_some_and(|rules| !rules.provided) || config.request_object;
        if let Some(field) =
            key.as_ref().filter(|_| !is_used).or(asserted.as_ref()).filter(|_| config.client_auth != ClientAuth::KeyJwt)
        {
            let method = config.client_auth.as_str();
            return Err(field.place.error(format!(
                "has no use with the client authentication `{method}`: set `client_auth` to `private_key_jwt`"
            )));
        }
        let signs = match config.client_auth {
            ClientAuth::SecretJwt => true,
            ClientAuth::KeyJwt => !is_asserted,
            _ => is_used,
        };
        self.assertion(config, signs, issuer)?;

        config.credential = match (config.grant, config.client_auth) {
            (Grant::ApiToken, _) => {
                let field = self
                    .take_one("api_token")
                    .ok_or_else(|| missing("api_token", "the token that the provider's website shows"))?;
                let place = field.place.clone();
                let token = field.secret()?;
                check_api_token(token.expose(), config.attach.scheme.as_deref()).map_err(|why| place.error(why))?;
                Credential::Secret(token)
            }
            (_, ClientAuth::None) => match secret.or(provided.filter(|_| is_provided)) {
                Some(field) => {
                    return Err(field
                        .place
                        .error("has no use with the client authentication `none`: leave one of the two out"));
                }
                None => Credential::None,
            },
            (_, ClientAuth::Tls | ClientAuth::SelfSignedTls) => match secret.or(provided.filter(|_| is_provided)) {
                Some(field) => {
                    return Err(field.place.error(format!(
                        "has no use with the client authentication `{}`: leave one of the two out",
                        config.client_auth.as_str()
                    )));
                }
                None => Credential::Certificate,
            },
            (_, ClientAuth::KeyJwt) => match (secret.or(provided), key, is_asserted) {
                (Some(field), ..) => {
                    return Err(field.place.error(
                        "has no use with the client authentication `private_key_jwt`: leave one of the two out",
                    ));
                }
                (None, Some(field), true) => {
                    return Err(field.place.error("stands beside `client_assertion_provided`: keep one of the two"));
                }
                (None, Some(_), false) => Credential::Key,
                (None, None, true) => Credential::Provided {
                    name: name.map(Field::filled).transpose()?.unwrap_or_else(|| "client_assertion".to_owned()),
                },
                (None, None, false) => {
                    return Err(missing("signing_key", "the key that the client signs its assertions with"));
                }
            },
            (_, client_auth) => match (secret, is_provided) {
                (Some(field), true) => {
                    return Err(field.place.error("stands beside `client_secret_provided`: keep one of the two"));
                }
                (Some(field), false) => {
                    let place = field.place.clone();
                    let secret = field.secret()?;
                    check_credential(secret.expose(), client_auth).map_err(|why| place.error(why))?;
                    Credential::Secret(secret)
                }
                (None, true) => Credential::Provided {
                    name: name.map(Field::filled).transpose()?.unwrap_or_else(|| "client_secret".to_owned()),
                },
                (None, false) => {
                    return Err(missing(
                        "client_secret",
                        "the secret that the provider gave with the client's identifier",
                    ));
                }
            },
        };

        let is_basic_api_token =
            config.grant == Grant::ApiToken && config.attach.scheme.as_deref().is_some_and(is_basic);
        let is_anonymous = config.grant == Grant::JwtBearer
            && config.client_auth == ClientAuth::None
            && config.grant_assertion.as_ref().is_some_and(|rules| rules.provided || rules.issuer.is_some());
        let is_needed = (config.grant != Grant::ApiToken || is_basic_api_token) && !is_anonymous;
        config.client_id = match client_id {
            None if is_needed => return Err(missing("client_id", "the client's identifier at the provider")),
            None => None,
            Some(field) => {
                let place = field.place.clone();
                let text = field.text()?;
                let is_raw = is_basic_api_token || config.client_auth == ClientAuth::BasicRaw;
                check_credential(&text, if is_raw { ClientAuth::BasicRaw } else { ClientAuth::Body })
                    .map_err(|why| place.error(why))?;
                if is_raw && text.contains(':') {
                    return Err(place.error(
                        "holds a `:`, which ends the name in HTTP Basic authentication (RFC 7617 section 2): check it",
                    ));
                }
                Some(text)
            }
        };
        Ok(())
    }

    /// What assertions say, for a client that makes its own.
    fn assertion(&mut self, config: &mut Config, signs: bool, issuer: Option<String>) -> Result<(), Error> {
        let audience = self.take_one("assertion_audience");
        let typed = self.take_one("assertion_typ");
        if !signs {
            return match audience.or(typed) {
                Some(field) => Err(field.place.error("has no use for a client that signs no assertion: leave it out")),
                None => Ok(()),
            };
        }
        let issuer = config.discovery.as_ref().map(|discovery| discovery.issuer.clone()).or(issuer);
        let theirs = config.grant_assertion.as_ref().and_then(|rules| rules.audience.clone());
        config.assertion = AssertionRules {
            audience: Some(match (audience, issuer.or(theirs)) {
                (Some(field), _) => checked(field, |text| grammar::check(text, grammar::GRAPHIC))?,
                (None, Some(issuer)) => issuer,
                (None, None) => {
                    return Err(missing("assertion_audience", "the issuer identifier of the authorization server"));
                }
            }),
            typed: typed.map(Field::boolean).transpose()?.unwrap_or(true),
        };
        Ok(())
    }

    /// The profile's parameters with the user's put over them. One that is empty would be as good as absent for a server
    /// (RFC 6749 section 3.2), so it is: that is how to leave out one of the profile's.
    pub(super) fn parameters(&mut self, mut parameters: Vec<(String, String)>) -> Result<Vec<(String, String)>, Error> {
        for (name, field) in self.take_one("parameters").map(Field::entries).transpose()?.unwrap_or_default() {
            let place = field.place.clone();
            grammar::check_parameter(&name).map_err(|why| place.error(why))?;
            let value = field.text()?;
            match parameters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => parameters.push((name, value)),
            }
        }
        parameters.retain(|(_, value)| !value.is_empty());
        Ok(parameters)
    }

    pub(super) fn store(&mut self, policy: &Policy) -> Result<Option<StoreConfig>, Error> {
        let keys = match self.take_one("store_keys") {
            None => Vec::new(),
            Some(field) => {
                let place = field.place.clone();
                let keys = field.list()?.into_iter().map(store_key).collect::<Result<Vec<_>, _>>()?;
                if keys.is_empty() {
                    return Err(place.error("is empty, and records would be in the clear: give a key, or leave it out"));
                }
                keys
            }
        };
        if let Some((_, key)) = keys.iter().enumerate().find(|(at, key)| keys.iter().take(*at).any(|k| k.id == key.id))
        {
            let message = format!("`store_keys` has two keys named `{}`: give each a name of its own", key.id);
            return Err(Error::new(ErrorCode::InvalidOption, message));
        }
        match (self.boolean("store")?.unwrap_or(false), keys.is_empty()) {
            (true, _) => Ok(Some(StoreConfig { timeout: policy.store_timeout, keys })),
            (false, true) => Ok(None),
            (false, false) => Err(Error::new(
                ErrorCode::InvalidOption,
                "`store_keys` has no use without `store`: give the store whose records they encrypt, or leave them out",
            )),
        }
    }
}

/// Says what an API token must not hold: that depends on the header that it goes into.
fn check_api_token(text: &str, scheme: Option<&str>) -> Result<(), String> {
    match scheme {
        Some(scheme) if is_basic(scheme) => check_credential(text, ClientAuth::BasicRaw),
        _ if text.is_empty() => check_credential(text, ClientAuth::BasicRaw),
        Some(scheme) if scheme.eq_ignore_ascii_case("Bearer") => {
            grammar::check(text, grammar::B64TOKEN)?;
            match text.trim_end_matches('=').find('=') {
                Some(at) => Err(format!("holds a `=` before its end, at character {}", at.saturating_add(1))),
                None => Ok(()),
            }
        }
        _ => grammar::check(text, grammar::GRAPHIC),
    }
}

/// Reads what the option `signing_key` is about. `alg` is one algorithm, or a list of which the server's metadata chooses.
pub(crate) fn signing_key(field: Field<'_>) -> Result<SigningKey, Error> {
    let mut object = field.object()?;
    let name = object.require("name")?.filled()?;
    let alg = object.require("alg")?;
    let place = alg.place.clone();
    let algorithms = match alg.value {
        Value::List(_) => {
            alg.list()?.into_iter().map(|field| field.one_of(Algorithm::ALL)).collect::<Result<Vec<_>, _>>()?
        }
        _ => [alg.one_of(Algorithm::ALL)?].into(),
    };
    if algorithms.is_empty() {
        return Err(place.error("is empty: name the algorithms that the key is for"));
    }
    let id = object.take("kid").map(Field::filled).transpose()?;
    object.end()?;
    Ok(SigningKey { name, algorithms, id })
}

/// Reads a key that records are encrypted with.
fn store_key(field: Field<'_>) -> Result<StoreKey, Error> {
    let mut object = field.object()?;
    let id = object.require("id")?;
    let place = id.place.clone();
    let id = id.filled()?;
    grammar::check(&id, grammar::PRINTABLE).map_err(|why| place.error(why))?;
    let key = object.require("key")?;
    let place = key.place.clone();
    let text = Zeroizing::new(key.text()?);
    object.end()?;
    let mut bytes = Zeroizing::new([0; 32]);
    match URL_SAFE_NO_PAD.decode_slice(text.as_str(), bytes.as_mut_slice()) {
        Ok(32) => Ok(StoreKey { id, key: bytes }),
        _ => Err(place.error(
            "is not 32 bytes as base64url without padding: draw 32 random bytes, and keep them like a password",
        )),
    }
}

/// Reads what the option `dpop` is about.
pub(crate) fn dpop(field: Field<'_>) -> Result<Dpop, Error> {
    let mut object = field.object()?;
    let name = object.require("name")?.filled()?;
    let algorithm = object.require("alg")?.one_of(Algorithm::ALL)?;
    let jwk = proof::public_key(object.require("jwk")?, algorithm)?;
    let required = object.take("required").map_or(Ok(true), Field::boolean)?;
    object.end()?;
    Ok(Dpop { name, algorithm, thumbprint: proof::thumbprint(&jwk), jwk, required })
}

/// A JSON array of objects that each name their `type` (RFC 9396 section 2), as it is or as text; given back as text.
pub(crate) fn authorization_details(field: Field<'_>) -> Result<String, Error> {
    let place = field.place.clone();
    if let Value::Text(text) = &field.value {
        let read = document::parse(text.expose(), Kind::Options)
            .map_err(|_| place.error("is not JSON: an array of objects is allowed (RFC 9396 section 2)"))?;
        return authorization_details(Field { place, value: read.value });
    }
    let json = field.value.to_json();
    let entries = field.list()?;
    if entries.is_empty() {
        return Err(place.error("is empty: leave it out"));
    }
    for entry in entries {
        entry.object()?.require("type")?.filled()?;
    }
    Ok(json)
}

/// A token's type: a URI, or one of the short names that stand for RFC 8693 section 3's.
fn token_kind(field: Field<'_>) -> Result<String, Error> {
    let place = field.place.clone();
    let text = field.filled()?;
    if TOKEN_KINDS.contains(&&*text) {
        return Ok(TOKEN_KIND.to_owned() + &text);
    }
    if check_absolute_uri(&text).is_err() {
        let allowed = document::alternatives(TOKEN_KINDS.iter().copied());
        return Err(place.error(format!("is no token type: a URI is allowed, or {allowed}")));
    }
    Ok(text)
}

const TOKEN_KIND: &str = "urn:ietf:params:oauth:token-type:";
/// RFC 8693 section 3.
const TOKEN_KINDS: &[&str] = &["access_token", "refresh_token", "id_token", "saml1", "saml2", "jwt"];
/// What is said by other options, or made anew for each assertion.
const REGISTERED_CLAIMS: &[&str] = &["iss", "sub", "aud", "exp", "iat", "jti"];

/// Reads the text of a single option that came later, with an event.
pub(crate) fn read_later<T>(name: &str, text: &str, read: fn(Field<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let place = Place::option(name);
    let parsed = document::parse(text, Kind::Options).map_err(|_| place.error("is not JSON"))?;
    read(Field { place, value: parsed.value })
}

fn is_basic(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("Basic")
}

fn checked(field: Field<'_>, check: Check) -> Result<String, Error> {
    let place = field.place.clone();
    let text = field.text()?;
    check(&text).map_err(|why| place.error(why))?;
    Ok(text)
}

fn narrowed<T: Copy + PartialEq>(all: &[(&'static str, T)], allowed: &[T]) -> Vec<(&'static str, T)> {
    allowed.iter().filter_map(|wanted| all.iter().find(|(_, known)| known == wanted)).copied().collect()
}
