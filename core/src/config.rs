//! What a user asks for, checked: a profile and the options beside it.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::document::{self, Field, Kind, Object, Place, Value, near};
use crate::error::Error;
use crate::grammar;
use crate::policy::Policy;
use crate::profile::{CLIENT_AUTH, GRANTS, Profile, Template, TokenRequest, standard_answer};
use crate::response::{AnswerShape, ErrorMeaning, MissingLifetime};
use crate::secret::Secret;
use crate::url::{EndpointUrl, Origin};

/// Says why a text is not accepted.
type Check = fn(&str) -> Result<(), String>;

/// A client's configuration: a profile with the user's options put in, everything checked.
///
/// Durations are milliseconds. `Debug` shows no credential and no parameter's value.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The profile's name.
    pub profile: String,
    /// How tokens are got.
    pub grant: Grant,
    /// The client's identifier (RFC 6749 section 2.2).
    pub client_id: Option<String>,
    /// The client's secret or API token.
    pub credential: Credential,
    /// How the client authenticates at the token endpoint.
    pub client_auth: ClientAuth,
    /// Where tokens are asked for; none for [`Grant::ApiToken`].
    pub token_endpoint: Option<EndpointUrl>,
    /// How the token endpoint is called.
    pub method: Method,
    /// Further parameters of the token request; none is reserved, empty or given twice.
    pub parameters: Vec<(String, String)>,
    /// The scope to ask for, in the user's order, each once. Empty: the parameter is left out.
    pub scope: Vec<String>,
    /// The resources to ask for (RFC 8707 section 2). The parameter may repeat.
    pub resource: Vec<String>,
    /// The audiences to ask for. The parameter may repeat.
    pub audience: Vec<String>,
    /// Where things are in the token endpoint's answer.
    pub answer: AnswerShape,
    /// What to do with a token whose answer tells no lifetime.
    pub missing_lifetime: MissingLifetime,
    /// The soft margin that the profile asks for. It takes the place of `min(policy.soft_margin, L / policy.soft_divisor)`, and is
    /// capped at `L / policy.profile_margin_divisor`. None if the user's `policy` names a `soft_margin` of its own.
    pub soft_margin: Option<i64>,
    /// For how long the server still takes a refresh token that it has replaced.
    pub rotation_grace: Option<i64>,
    /// Where people authorize the client, for [`Grant::AuthorizationCode`].
    pub authorization: Option<Authorization>,
    /// How a token is put on an API request.
    pub attach: Attachment,
    /// Where tokens may be sent: what the profile and the user declared.
    pub api_origins: Vec<Origin>,
    /// What error codes mean at this provider, where that is more than RFC 6749 section 5.2 says.
    pub errors: BTreeMap<String, ErrorMeaning>,
    /// The constants of the behaviour contract.
    pub policy: Policy,
    /// How long one token request may take.
    pub request_timeout: i64,
    /// Whether the host can run a refresh beside its callers.
    pub aside: bool,
    /// The shared store, if the host has one.
    pub store: Option<StoreConfig>,
    /// Whether `http:` is permitted for 127.0.0.0/8, ::1 and localhost.
    pub allow_loopback_http: bool,
    /// Which client certificate the host's connections use (RFC 8705).
    pub tls_id: Option<String>,
    /// The redirect URI of authorization requests that name none of their own.
    pub redirect_uri: Option<String>,
    /// The variables that can change the token, by name, and their values: part of the cache key.
    pub identity: Vec<(String, String)>,
    /// The scopes there are, where the profile says that there are no others.
    pub(crate) known_scopes: Option<Vec<String>>,
}

/// How tokens are got.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Grant {
    /// The client's own credentials (RFC 6749 section 4.4).
    ClientCredentials,
    /// A person's consent, then refresh tokens (RFC 6749 sections 4.1 and 6).
    AuthorizationCode,
    /// A GET request with HTTP Basic authentication: not OAuth.
    BasicGet,
    /// No token request: the provider's website hands out a lasting API token.
    ApiToken,
}

/// The secret that a client has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credential {
    /// This one: the client secret, or the API token for [`Grant::ApiToken`].
    Secret(Secret),
    /// A function of the host's gives it, asked before each token request.
    Provided {
        /// The name that stands for the credential in the cache key.
        name: String,
    },
    /// None: a public client.
    None,
}

/// How a client authenticates at the token endpoint. The names are IANA's, but for the raw form.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClientAuth {
    /// `client_secret_basic`: HTTP Basic, both parts form-encoded first (RFC 6749 section 2.3.1).
    BasicForm,
    /// `client_secret_basic_raw`: HTTP Basic as RFC 7617 has it, nothing encoded.
    BasicRaw,
    /// `client_secret_post`: in the body.
    Body,
    /// `none`: a public client names itself, and has no secret.
    None,
}

/// How the token endpoint is called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Method {
    /// Parameters in the query. Only for [`Grant::BasicGet`].
    Get,
    /// Parameters in a form (RFC 6749 section 3.2).
    Post,
}

/// Where people authorize a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authorization {
    /// The authorization endpoint (RFC 6749 section 3.1).
    pub endpoint: EndpointUrl,
    /// The issuer that the redirect must name (RFC 9207).
    pub issuer: Option<String>,
    /// Whether a redirect without `iss` is refused (RFC 9207 section 2.4).
    pub iss_required: bool,
    /// Further parameters of the authorization request.
    pub parameters: Vec<(String, String)>,
}

/// How a token is put on an API request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Attachment {
    /// The header's name, as in `Authorization`.
    pub header: String,
    /// What stands before the token and one space, as in `Bearer`. None: the token stands alone. For [`Grant::ApiToken`], `Basic`
    /// stands for base64 of `client_id:token` (RFC 7617).
    pub scheme: Option<String>,
    /// Headers that go on every API request beside the token, such as a tenant's.
    pub headers: Vec<(String, String)>,
    /// The name of the query parameter that takes the token where a caller insists on that; none: it is refused.
    pub insecure_query: Option<String>,
}

/// The shared store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// How long one command may take.
    pub timeout: i64,
}

impl Config {
    /// Reads a client's options: one flat JSON object, as hosts pass it.
    ///
    /// # Errors
    /// `invalid_option` or `invalid_profile`, with a message that names the option or field and says what is allowed.
    pub fn new(options: &str) -> Result<Self, Error> {
        let mut object = document::parse(options, Kind::Options)?.object()?;
        let profile = read_profile(&mut object)?;
        let mut given = Given::take(&mut object);
        let values = take_variables(&mut object, &profile);
        // What nobody knows is told first: a slip in a name explains why the right one is missing.
        object.end()?;

        let allow_loopback_http = given.boolean("allow_loopback_http")?.unwrap_or(false);
        let variables =
            Variables { profile: &profile, values: check_variables(&profile, values, allow_loopback_http)? };
        let grant = given.grant(&profile)?;
        given.refuse_unused(grant, profile.token.as_ref())?;

        let mut policy = Policy::default();
        let mut soft_margin = profile.token.as_ref().and_then(|token| token.soft_margin);
        if let Some(field) = given.take_one("policy") {
            // A margin of the user's own goes before the provider's.
            if field.names("soft_margin") {
                soft_margin = None;
            }
            policy = Policy::read(field)?;
        }

        let mut config = Self {
            profile: profile.name.clone(),
            grant,
            client_id: None,
            credential: Credential::None,
            client_auth: ClientAuth::None,
            token_endpoint: None,
            method: Method::Post,
            parameters: Vec::new(),
            scope: Vec::new(),
            resource: given.texts("resource", check_absolute_uri)?,
            audience: given.texts("audience", |text| grammar::check(text, grammar::NO_CONTROLS))?,
            answer: standard_answer(),
            missing_lifetime: ASSUMED_LIFETIME,
            soft_margin,
            rotation_grace: None,
            authorization: None,
            attach: variables.attachment(grant)?,
            api_origins: variables.api_origins(allow_loopback_http)?,
            errors: meanings(&profile),
            request_timeout: given.duration("request_timeout", 1, 600_000)?.unwrap_or(10_000),
            aside: given.boolean("aside")?.unwrap_or(true),
            store: given.store(&policy)?,
            policy,
            allow_loopback_http,
            tls_id: given.take_one("tls_id").map(Field::filled).transpose()?,
            redirect_uri: given.checked("redirect_uri", check_absolute_uri)?,
            identity: variables.identity(),
            known_scopes: None,
        };
        if let Some(token) = profile.token.as_ref().filter(|_| grant != Grant::ApiToken) {
            config.token_endpoint = Some(variables.url(&token.endpoint, allow_loopback_http)?);
            config.method = token.method;
            config.answer = token.answer.clone();
            config.missing_lifetime =
                config.policy.missing_lifetime.or(token.missing_lifetime).unwrap_or(ASSUMED_LIFETIME);
            config.rotation_grace = token.rotation_grace;
            config.parameters = given.parameters(variables.parameters(&token.parameters)?)?;
            config.known_scopes = token.scope.as_ref().filter(|rules| rules.closed).map(|rules| rules.known.clone());
            config.scope = match given.take_one("scope") {
                Some(field) => config.check_scope(&scope_tokens(field)?)?,
                None => token.scope.as_ref().map(|rules| rules.default.clone()).unwrap_or_default(),
            };
            config.client_auth = given.client_auth(&token.client_auth)?;
        }
        if grant == Grant::AuthorizationCode {
            config.authorization = variables.authorization(allow_loopback_http)?;
        }
        given.credentials(&mut config)?;
        for field in given.take_one("api_origins").map(Field::list).transpose()?.unwrap_or_default() {
            let place = field.place.clone();
            let origin = Origin::parse(&field.text()?, allow_loopback_http)
                .map_err(|why| place.error(format!("is not accepted: {why}")))?;
            if !config.api_origins.contains(&origin) {
                config.api_origins.push(origin);
            }
        }
        Ok(config)
    }

    /// Checks a client secret that a function of the host's gave.
    ///
    /// # Errors
    /// `invalid_option`, with the place of the character that is not allowed and never with the secret.
    pub fn check_secret(&self, secret: &Secret) -> Result<(), Error> {
        check_credential(secret.expose(), self.client_auth).map_err(|why| Place::option("client_secret").error(why))
    }

    /// Checks a scope set that a caller asks for in place of the client's own, and drops what it names twice.
    ///
    /// # Errors
    /// `invalid_option`, with the scope that is not allowed.
    pub fn check_scope(&self, scope: &[String]) -> Result<Vec<String>, Error> {
        let place = Place::option("scope");
        let mut distinct: Vec<String> = Vec::with_capacity(scope.len());
        for token in scope {
            check_scope(token, self.known_scopes.as_deref()).map_err(|why| place.error(why))?;
            if !distinct.contains(token) {
                distinct.push(token.clone());
            }
        }
        Ok(distinct)
    }
}

impl Grant {
    /// Its name in profiles and options.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::BasicGet => "basic_get",
            Self::ApiToken => "api_token",
        }
    }
}

impl ClientAuth {
    /// Its name in profiles and options.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BasicForm => "client_secret_basic",
            Self::BasicRaw => "client_secret_basic_raw",
            Self::Body => "client_secret_post",
            Self::None => "none",
        }
    }
}

impl Method {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |list: &[(String, String)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Config")
            .field("profile", &self.profile)
            .field("grant", &self.grant)
            .field("client_id", &self.client_id)
            .field("credential", &self.credential)
            .field("client_auth", &self.client_auth)
            .field("token_endpoint", &self.token_endpoint)
            .field("parameters", &names(&self.parameters))
            .field("scope", &self.scope)
            .field("attach", &self.attach.header)
            .field("api_origins", &self.api_origins)
            .field("policy", &self.policy)
            .field("request_timeout", &self.request_timeout)
            .field("aside", &self.aside)
            .field("store", &self.store)
            .field("identity", &names(&self.identity))
            .finish_non_exhaustive()
    }
}

/// The options beside the profile's variables, each taken out once.
struct Given<'a>(BTreeMap<&'static str, Field<'a>>);

impl<'a> Given<'a> {
    fn take(object: &mut Object<'a>) -> Self {
        Self(OPTIONS.iter().filter_map(|name| Some((*name, object.take(name)?))).collect())
    }

    fn take_one(&mut self, name: &str) -> Option<Field<'a>> {
        self.0.remove(name)
    }

    fn boolean(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.take_one(name).map(Field::boolean).transpose()
    }

    fn duration(&mut self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Error> {
        self.take_one(name).map(|field| field.duration(least, most)).transpose()
    }

    fn checked(&mut self, name: &str, check: Check) -> Result<Option<String>, Error> {
        self.take_one(name).map(|field| checked(field, check)).transpose()
    }

    /// One text, or a list of them.
    fn texts(&mut self, name: &str, check: Check) -> Result<Vec<String>, Error> {
        match self.take_one(name) {
            None => Ok(Vec::new()),
            Some(field) if matches!(field.value, Value::List(_)) => {
                field.list()?.into_iter().map(|field| checked(field, check)).collect()
            }
            Some(field) => Ok([checked(field, check)?].into()),
        }
    }

    /// The grant that was asked for, or the profile's first.
    fn grant(&mut self, profile: &Profile) -> Result<Grant, Error> {
        match self.take_one("grant") {
            Some(field) => field.one_of(&narrowed(GRANTS, &profile.grants)),
            None => Ok(profile.grants.first().copied().unwrap_or(Grant::ClientCredentials)),
        }
    }

    /// Refuses an option that would have no effect: whoever wrote it believes that it has one.
    fn refuse_unused(&self, grant: Grant, token: Option<&TokenRequest>) -> Result<(), Error> {
        let is_token_requested = grant != Grant::ApiToken;
        let is_oauth = is_token_requested && grant != Grant::BasicGet;
        let has_scope = is_oauth || is_token_requested && token.is_some_and(|token| token.scope.is_some());
        for (name, is_used, instead) in [
            ("api_token", !is_token_requested, "leave it out, or set `grant` to `api_token`"),
            ("client_secret", is_token_requested, "the API token is the option `api_token`"),
            ("client_secret_provided", is_token_requested, "the API token is the option `api_token`"),
            ("credential_name", is_token_requested, "leave it out"),
            ("client_auth", is_token_requested, "leave it out"),
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
    fn client_auth(&mut self, allowed: &[ClientAuth]) -> Result<ClientAuth, Error> {
        if let Some(field) = self.take_one("client_auth") {
            return field.one_of(&narrowed(CLIENT_AUTH, allowed));
        }
        let has_secret = self.0.contains_key("client_secret") || self.0.contains_key("client_secret_provided");
        if !has_secret && allowed.contains(&ClientAuth::None) {
            return Ok(ClientAuth::None);
        }
        Ok(allowed.first().copied().unwrap_or(ClientAuth::BasicForm))
    }

    fn credentials(&mut self, config: &mut Config) -> Result<(), Error> {
        let client_id = self.take_one("client_id");
        let secret = self.take_one("client_secret");
        let provided = self.take_one("client_secret_provided");
        let name = self.take_one("credential_name");
        let is_provided = provided.clone().map(Field::boolean).transpose()?.unwrap_or(false);
        if let Some(field) = name.as_ref().filter(|_| !is_provided) {
            return Err(field.place.error("has no use without `client_secret_provided`: leave it out"));
        }

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
                check_credential(&text, if is_raw { ClientAuth::BasicRaw } else { config.client_auth })
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

    /// The profile's parameters with the user's put over them. One that is empty would be as good as absent for a server
    /// (RFC 6749 section 3.2), so it is: that is how to leave out one of the profile's.
    fn parameters(&mut self, mut parameters: Vec<(String, String)>) -> Result<Vec<(String, String)>, Error> {
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

    fn store(&mut self, policy: &Policy) -> Result<Option<StoreConfig>, Error> {
        let store = StoreConfig { timeout: policy.store_timeout };
        match self.take_one("store") {
            None => Ok(None),
            Some(field) => Ok(field.boolean()?.then_some(store)),
        }
    }
}

/// A profile's variables and their values.
struct Variables<'p> {
    profile: &'p Profile,
    values: BTreeMap<String, String>,
}

impl Variables<'_> {
    /// A template with its holes filled; none if a variable that may be left out was.
    fn fill(&self, template: &Template) -> Result<Option<String>, Error> {
        let name = match template.fill(&self.values) {
            Ok(text) => return Ok(Some(text)),
            Err(name) => name,
        };
        match self.profile.variables.iter().find(|variable| variable.name == name) {
            Some(variable) if variable.required => Err(missing(name, &variable.description)),
            _ => Ok(None),
        }
    }

    /// A template that can't be done without.
    fn fill_required(&self, template: &Template) -> Result<String, Error> {
        self.fill(template)?.ok_or_else(|| {
            let name = template.variables().find(|name| !self.values.contains_key(*name)).unwrap_or_default();
            let variable = self.profile.variables.iter().find(|variable| variable.name == name);
            missing(name, variable.map(|variable| &*variable.description).unwrap_or_default())
        })
    }

    fn url(&self, (template, place): &(Template, Place), allow_loopback_http: bool) -> Result<EndpointUrl, Error> {
        let text = self.fill_required(template)?;
        let url = EndpointUrl::parse(&text, allow_loopback_http)
            .map_err(|why| place.error(format!("is not accepted: {why}")))?;
        // A name that the library sends itself would arrive twice (RFC 6749 section 3.2), and a secret in a URL is in every log.
        let query = text.split_once('?').map(|(_, query)| query).unwrap_or_default();
        for (name, _) in form_urlencoded::parse(query.as_bytes()) {
            grammar::check_parameter(&name)
                .map_err(|why| place.error(format!("has the parameter `{name}` in its query, which {why}")))?;
        }
        Ok(url)
    }

    fn parameters(&self, templates: &[(String, Template)]) -> Result<Vec<(String, String)>, Error> {
        let filled = templates.iter().map(|(name, template)| Ok((name, self.fill(template)?)));
        filled
            .filter_map(|entry| match entry {
                Ok((name, value)) => value.map(|value| Ok((name.clone(), value))),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    fn attachment(&self, grant: Grant) -> Result<Attachment, Error> {
        let attach = &self.profile.attach;
        let (scheme, query) = match (&self.profile.api_token, grant) {
            (Some(api_token), Grant::ApiToken) => (&api_token.scheme, &api_token.insecure_query),
            _ => (&attach.scheme, &attach.insecure_query),
        };
        Ok(Attachment {
            header: self.fill_required(&attach.header)?,
            scheme: scheme.clone(),
            headers: self.parameters(&attach.headers)?,
            insecure_query: query.as_ref().map(|template| self.fill(template)).transpose()?.flatten(),
        })
    }

    fn api_origins(&self, allow_loopback_http: bool) -> Result<Vec<Origin>, Error> {
        let mut origins = Vec::new();
        for (template, place) in &self.profile.api_origins {
            let Some(text) = self.fill(template)? else {
                continue;
            };
            let url = EndpointUrl::parse(&text, allow_loopback_http)
                .map_err(|why| place.error(format!("is not accepted: {why}")))?;
            let origin = url.origin();
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        Ok(origins)
    }

    fn authorization(&self, allow_loopback_http: bool) -> Result<Option<Authorization>, Error> {
        let Some(request) = &self.profile.authorization else {
            return Ok(None);
        };
        let mut issuer = None;
        if let Some((template, place)) = &request.issuer {
            if let Some(text) = self.fill(template)? {
                // RFC 8414 section 2. It is compared letter by letter, so it is kept as it was written.
                let flaw = match EndpointUrl::parse(&text, allow_loopback_http) {
                    Err(why) => Some(why),
                    Ok(_) if text.contains('?') => Some("an issuer has no query".to_owned()),
                    Ok(_) => None,
                };
                if let Some(why) = flaw {
                    return Err(place.error(format!("is not accepted: {why}")));
                }
                issuer = Some(text);
            }
        }
        Ok(Some(Authorization {
            endpoint: self.url(&request.endpoint, allow_loopback_http)?,
            iss_required: request.iss_required && issuer.is_some(),
            issuer,
            parameters: self.parameters(&request.parameters)?,
        }))
    }

    /// The variables that the server sees when it makes a token or looks at one.
    fn identity(&self) -> Vec<(String, String)> {
        let token = self.profile.token.iter();
        let templates =
            token.flat_map(|token| token.parameters.iter().map(|(_, template)| template).chain([&token.endpoint.0]));
        let templates = templates.chain(self.profile.attach.headers.iter().map(|(_, template)| template));
        let names: Vec<&str> = templates.flat_map(Template::variables).collect();
        let values = self.values.iter().filter(|(name, _)| names.contains(&&***name));
        values.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Every option that does not come from a profile. A profile's variables can't have these names.
pub(crate) const OPTIONS: &[&str] = &[
    "allow_loopback_http",
    "api_origins",
    "api_token",
    "aside",
    "audience",
    "client_auth",
    "client_id",
    "client_secret",
    "client_secret_provided",
    "credential_name",
    "grant",
    "parameters",
    "policy",
    "redirect_uri",
    "request_timeout",
    "resource",
    "scope",
    "store",
    "tls_id",
];

/// What is assumed where neither an answer nor the profile nor the user says how long a token lives: the hour that most servers give.
const ASSUMED_LIFETIME: MissingLifetime = MissingLifetime::Assume(3_600_000);

fn read_profile(object: &mut Object<'_>) -> Result<Profile, Error> {
    let field = object.require("profile").map_err(|_| missing("profile", "a built-in name, or a document"))?;
    let Value::Text(text) = &field.value else {
        return Profile::read(Field { place: Place::root(Kind::Profile), value: field.value });
    };
    let text = text.expose();
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        return Profile::parse(text);
    }
    let Some(document) = Profile::built_in(text) else {
        return Err(match near(text, Profile::built_in_names()) {
            Some(meant) => field.place.error(format!("is not the name of a built-in profile: did you mean `{meant}`?")),
            None => field.place.error(format!(
                "is not the name of a built-in profile: {}, or a document, is allowed",
                document::alternatives(Profile::built_in_names())
            )),
        });
    };
    Profile::parse(document)
}

fn take_variables<'a>(object: &mut Object<'a>, profile: &Profile) -> Vec<(String, Field<'a>)> {
    let variables = profile.variables.iter();
    variables.filter_map(|variable| Some((variable.name.clone(), object.take(&variable.name)?))).collect()
}

fn check_variables(
    profile: &Profile,
    given: Vec<(String, Field<'_>)>,
    allow_loopback_http: bool,
) -> Result<BTreeMap<String, String>, Error> {
    let defaults =
        profile.variables.iter().filter_map(|variable| Some((variable.name.clone(), variable.default.clone()?)));
    let mut values: BTreeMap<String, String> = defaults.collect();
    for (name, field) in given {
        let place = field.place.clone();
        let text = field.text()?;
        if let Some(variable) = profile.variables.iter().find(|variable| variable.name == name) {
            let value = variable.format.check(&text, allow_loopback_http).map_err(|why| place.error(why))?;
            values.insert(name, value);
        }
    }
    Ok(values)
}

fn meanings(profile: &Profile) -> BTreeMap<String, ErrorMeaning> {
    let meanings = profile.errors.iter();
    meanings
        .map(|(code, meaning)| {
            let hint = match &meaning.hint {
                Some(hint) => format!("{} means by `{code}`: {}; {hint}", profile.title, meaning.meaning),
                None => format!("{} means by `{code}`: {}", profile.title, meaning.meaning),
            };
            (code.clone(), ErrorMeaning { hint, verdict: meaning.verdict })
        })
        .collect()
}

/// The scope option: a list, or one string with single spaces (RFC 6749 section 3.3).
fn scope_tokens(field: Field<'_>) -> Result<Vec<String>, Error> {
    if matches!(field.value, Value::List(_)) {
        return field.list()?.into_iter().map(Field::text).collect();
    }
    let text = field.text()?;
    Ok(if text.is_empty() { Vec::new() } else { text.split(' ').map(ToOwned::to_owned).collect() })
}

fn check_scope(token: &str, known: Option<&[String]>) -> Result<(), String> {
    grammar::check(token, grammar::SCOPE).map_err(|why| {
        if token.is_empty() {
            "has an empty part: one space stands between two scopes".into()
        } else {
            format!("has a part that {why}")
        }
    })?;
    let Some(known) = known.filter(|known| !known.iter().any(|scope| scope == token)) else {
        return Ok(());
    };
    let names = || known.iter().map(|scope| &**scope);
    Err(match near(token, names()) {
        Some(meant) => format!("names `{token}`, which the provider doesn't know: did you mean `{meant}`?"),
        None => {
            format!("names `{token}`, which the provider doesn't know: {} is allowed", document::alternatives(names()))
        }
    })
}

/// Says what a client identifier or a secret must not hold (RFC 6749 appendix A; RFC 7617 section 2).
fn check_credential(text: &str, client_auth: ClientAuth) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty: see whether the place that it is read from is filled".to_owned());
    }
    match client_auth {
        ClientAuth::BasicRaw => grammar::check(text, grammar::NO_CONTROLS),
        ClientAuth::BasicForm | ClientAuth::Body | ClientAuth::None => grammar::check(text, grammar::PRINTABLE),
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

fn is_basic(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("Basic")
}

/// Says why a URI is not accepted as a redirect URI (RFC 6749 section 3.1.2) or as a resource (RFC 8707 section 2).
pub(crate) fn check_absolute_uri(uri: &str) -> Result<(), String> {
    grammar::check(uri, grammar::GRAPHIC)?;
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
    if !is_scheme || uri.strip_prefix(scheme) == Some(":") {
        return Err("is not absolute: it begins with a scheme, as in `https://app.example.com/callback`".to_owned());
    }
    if uri.contains('#') {
        return Err("has a fragment (`#…`): leave that out".to_owned());
    }
    Ok(())
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

fn missing(name: &str, description: &str) -> Error {
    Place::option(name).error(format!("is missing: {description}"))
}

#[cfg(test)]
mod tests;
