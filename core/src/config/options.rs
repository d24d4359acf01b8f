//! The options beside a profile's variables.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{
    Algorithm, AssertionRules, ClientAuth, Config, Credential, Grant, OPTIONS, SigningKey, StoreConfig,
    check_credential, missing,
};
use crate::document::{Field, Object, Value};
use crate::error::Error;
use crate::grammar;
use crate::policy::Policy;
use crate::profile::{CLIENT_AUTH, GRANTS, Profile, TokenRequest};

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
    pub(super) fn refuse_unused(&self, grant: Grant, token: Option<&TokenRequest>) -> Result<(), Error> {
        let is_token_requested = grant != Grant::ApiToken;
        let is_oauth = is_token_requested && grant != Grant::BasicGet;
        let has_scope = is_oauth || is_token_requested && token.is_some_and(|token| token.scope.is_some());
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
            ("redirect_uri", grant == Grant::AuthorizationCode, "leave it out"),
        ] {
            if let Some(field) = self.0.get(name).filter(|_| !is_used) {
                return Err(field.place.error(format!("has no use with the grant `{}`: {instead}", grant.as_str())));
            }
        }
        Ok(())
    }

    /// The way to authenticate that was asked for, or the profile's first: for a client without a secret, `none`.
    pub(super) fn client_auth(&mut self, allowed: &[ClientAuth]) -> Result<ClientAuth, Error> {
        if let Some(field) = self.take_one("client_auth") {
            return field.one_of(&narrowed(CLIENT_AUTH, allowed));
        }
        // What was given says how, where the profile permits it.
        let signs = self.0.contains_key("signing_key") || self.0.contains_key("client_assertion_provided");
        if signs && allowed.contains(&ClientAuth::KeyJwt) {
            return Ok(ClientAuth::KeyJwt);
        }
        let has_secret = self.0.contains_key("client_secret") || self.0.contains_key("client_secret_provided");
        if !has_secret && allowed.contains(&ClientAuth::None) {
            return Ok(ClientAuth::None);
        }
        Ok(allowed.first().copied().unwrap_or(ClientAuth::BasicForm))
    }

    pub(super) fn credentials(&mut self, config: &mut Config) -> Result<(), Error> {
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
        if let Some(field) = key.as_ref().or(asserted.as_ref()).filter(|_| config.client_auth != ClientAuth::KeyJwt) {
            let method = config.client_auth.as_str();
            return Err(field.place.error(format!(
                "has no use with the client authentication `{method}`: set `client_auth` to `private_key_jwt`"
            )));
        }
        let signs = match config.client_auth {
            ClientAuth::SecretJwt => true,
            ClientAuth::KeyJwt => !is_asserted,
            _ => false,
        };
        self.assertion(config, signs)?;

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
            (_, ClientAuth::KeyJwt) => match (secret.or(provided), key, is_asserted) {
                (Some(field), ..) => {
                    return Err(field.place.error(
                        "has no use with the client authentication `private_key_jwt`: leave one of the two out",
                    ));
                }
                (None, Some(field), true) => {
                    return Err(field.place.error("stands beside `client_assertion_provided`: keep one of the two"));
                }
                (None, Some(field), false) => Credential::Key(signing_key(field)?),
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
        let is_needed = config.grant != Grant::ApiToken || is_basic_api_token;
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
    fn assertion(&mut self, config: &mut Config, signs: bool) -> Result<(), Error> {
        let audience = self.take_one("assertion_audience");
        let typed = self.take_one("assertion_typ");
        if !signs {
            return match audience.or(typed) {
                Some(field) => Err(field.place.error("has no use for a client that signs no assertion: leave it out")),
                None => Ok(()),
            };
        }
        let issuer = config.authorization.as_ref().and_then(|authorization| authorization.issuer.clone());
        config.assertion = AssertionRules {
            audience: Some(match (audience, issuer) {
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
        let store = StoreConfig { timeout: policy.store_timeout };
        match self.take_one("store") {
            None => Ok(None),
            Some(field) => Ok(field.boolean()?.then_some(store)),
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

fn signing_key(field: Field<'_>) -> Result<SigningKey, Error> {
    let mut object = field.object()?;
    let name = object.require("name")?.filled()?;
    let algorithm = object.require("alg")?.one_of(Algorithm::ALL)?;
    let id = object.take("kid").map(Field::filled).transpose()?;
    object.end()?;
    Ok(SigningKey { name, algorithm, id })
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
