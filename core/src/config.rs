//! What a user asks for, checked: a profile and the options beside it.

pub(crate) mod options;
mod variables;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use self::options::Given;
use self::variables::{Variables, take_variables};
use crate::assertion::SECRET_LEAST;
use crate::document::{self, Field, Kind, Object, Place, Value, near};
use crate::error::Error;
use crate::grammar;
use crate::policy::Policy;
use crate::profile::{Profile, standard_answer};
use crate::response::{AnswerShape, ErrorMeaning, MissingLifetime};
use crate::secret::Secret;
use crate::url::{EndpointUrl, Origin};
use zeroize::Zeroizing;

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
    /// `grant_type` of [`Grant::ClientCredentials`], where the provider has a word of its own.
    pub grant_type: Option<String>,
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
    /// Where refresh tokens are sent, if not to the token endpoint.
    pub refresh_endpoint: Option<EndpointUrl>,
    /// Whether token requests are JSON, which is not RFC 6749's way (section 4.1.3).
    pub json_requests: bool,
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
    /// Which client certificate the host's connections use: its thumbprint (RFC 8705 section 3.1).
    pub tls_id: Option<String>,
    /// Whether tokens are bound to that certificate (RFC 8705 section 3).
    pub certificate_bound: bool,
    /// What assertions of the client say, where it authenticates with one.
    pub assertion: AssertionRules,
    /// What the assertion says that is the grant, for [`Grant::JwtBearer`].
    pub grant_assertion: Option<GrantAssertion>,
    /// What is exchanged for what, for [`Grant::TokenExchange`].
    pub exchanged: Exchanged,
    /// The key that signs assertions, if the host holds one.
    pub signing_key: Option<SigningKey>,
    /// The key that tokens are bound to (RFC 9449).
    pub dpop: Option<Dpop>,
    /// Where the server tells about itself (RFC 8414).
    pub discovery: Option<Discovery>,
    /// The endpoints beside the two of RFC 6749.
    pub endpoints: Endpoints,
    /// What is asked for in detail: a JSON array as text (RFC 9396 section 2).
    pub authorization_details: Option<String>,
    /// Whether authorization requests are pushed (RFC 9126). None: if the server wants that.
    pub pushed_authorization: Option<bool>,
    /// Whether authorization requests are signed (RFC 9101).
    pub request_object: bool,
    /// What signs the answers to authorization requests, if only that is accepted (JARM section 3).
    pub authorization_signed_response_alg: Option<ResponseAlgorithm>,
    /// The redirect URI of authorization requests that name none of their own.
    pub redirect_uri: Option<String>,
    /// The variables that can change the token, by name, and their values: part of the cache key.
    pub identity: Vec<(String, String)>,
    /// The scopes there are, where the profile says that there are no others.
    pub(crate) known_scopes: Option<Vec<String>>,
    /// The ways to authenticate that the credential is good for, where the user did not choose: the server's metadata does.
    pub(crate) client_auth_choices: Vec<ClientAuth>,
}

/// How tokens are got.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Grant {
    /// The client's own credentials (RFC 6749 section 4.4).
    ClientCredentials,
    /// A person's consent, then refresh tokens (RFC 6749 sections 4.1 and 6).
    AuthorizationCode,
    /// A person's consent on another device, then refresh tokens (RFC 8628).
    DeviceCode,
    /// A person's consent on a device of their own, then refresh tokens (CIBA, in poll mode).
    Ciba,
    /// A token for another one (RFC 8693).
    TokenExchange,
    /// A token for an assertion (RFC 7523 section 2.1).
    JwtBearer,
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
    /// The host holds [`Config::signing_key`] and signs with it (RFC 7523 section 2.2).
    Key,
    /// The host's client certificate (RFC 8705 section 2).
    Certificate,
    /// None: a public client.
    None,
}

/// A key that the host holds.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SigningKey {
    /// The host's name for it: part of the cache key, and what [`Operation::Sign`](crate::Operation::Sign) asks for.
    pub name: String,
    /// The algorithms that it is for, the first one first.
    pub algorithms: Vec<Algorithm>,
    /// The `kid` that the server knows it by (RFC 7515 section 4.1.4).
    pub id: Option<String>,
}

/// The signature algorithms of RFC 7518 section 3.1 and RFC 8037 for keys that are not shared. There is no `none`,
/// and no MAC: those are for `client_secret_jwt` (STD-92).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// RSA with PKCS #1 version 1.5.
    Rs256,
    /// RSA-PSS.
    Ps256,
}

/// What the client's assertions say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AssertionRules {
    /// `aud`: the server's issuer identifier (STD-88), or what an older server wants instead.
    pub audience: Option<String>,
    /// Whether the header says `typ: client-authentication+jwt` (STD-89).
    pub typed: bool,
}

/// The key that tokens are bound to (RFC 9449). The host holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dpop {
    /// The host's name for it, which [`Operation::Sign`](crate::Operation::Sign) asks for.
    pub name: String,
    /// The algorithm that it is for.
    pub algorithm: Algorithm,
    /// The public key as every proof shows it (RFC 7517), its members in the order of RFC 7638.
    pub jwk: String,
    /// The key's thumbprint (RFC 7638): part of the cache key, and `dpop_jkt` of authorization requests.
    pub thumbprint: String,
    /// Whether a token that is not bound to it is refused.
    pub required: bool,
}

/// What the assertion says that is the grant (RFC 7523 section 2.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct GrantAssertion {
    /// A function of the host's gives it, asked before each token request: nothing below counts.
    pub provided: bool,
    /// `iss`: the client's identifier unless told.
    pub issuer: Option<String>,
    /// `sub`: the subject that is asked for unless told, or else the issuer.
    pub subject: Option<String>,
    /// `aud`: what the client's own assertions have unless told.
    pub audience: Option<String>,
    /// Whether the scope goes into the assertion instead of the request.
    pub scope: bool,
    /// Further claims.
    pub claims: Vec<(String, String)>,
}

/// What is exchanged for what (RFC 8693 section 2.1). Types are URIs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Exchanged {
    /// `subject_token_type`.
    pub subject_type: String,
    /// `actor_token_type`.
    pub actor_type: String,
    /// `requested_token_type`.
    pub requested_type: Option<String>,
    /// A function of the host's gives the subject's token, asked before each token request.
    pub subject_provided: bool,
    /// A function of the host's gives the token of who acts, asked before each token request.
    pub actor_provided: bool,
}

/// Where the server tells about itself (RFC 8414).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Discovery {
    /// The server's issuer identifier, to the letter.
    pub issuer: String,
    /// Where its metadata may be, in the order in which that is tried.
    pub urls: Vec<String>,
}

/// The endpoints beside the two of RFC 6749.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Endpoints {
    /// RFC 8628 section 3.1.
    pub device_authorization: Option<EndpointUrl>,
    /// CIBA section 7.
    pub backchannel_authentication: Option<EndpointUrl>,
    /// RFC 9126 section 2.
    pub pushed_authorization_request: Option<EndpointUrl>,
    /// RFC 7662 section 2.
    pub introspection: Option<EndpointUrl>,
    /// RFC 7009 section 2.
    pub revocation: Option<EndpointUrl>,
    /// RFC 7591 section 3.
    pub registration: Option<EndpointUrl>,
    /// The server's public keys (RFC 7517 section 5).
    pub jwks: Option<EndpointUrl>,
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
    /// `client_secret_jwt`: an assertion signed with the secret (RFC 7523 section 2.2, HS256).
    SecretJwt,
    /// `private_key_jwt`: an assertion signed with a key of the host's, or one that the host has from elsewhere.
    KeyJwt,
    /// `tls_client_auth`: the connection's certificate, by a name in it (RFC 8705 section 2.1).
    Tls,
    /// `self_signed_tls_client_auth`: the connection's certificate, by its key (RFC 8705 section 2.2).
    SelfSignedTls,
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
    /// The authorization endpoint (RFC 6749 section 3.1). None until the server's metadata has told it.
    pub endpoint: Option<EndpointUrl>,
    /// The issuer that the redirect must name (RFC 9207).
    pub issuer: Option<String>,
    /// Whether a redirect without `iss` is refused (RFC 9207 section 2.4).
    pub iss_required: bool,
    /// How the answer comes back, if not in the query.
    pub response_mode: Option<ResponseMode>,
    /// Further parameters of the authorization request.
    pub parameters: Vec<(String, String)>,
}

/// How the answer to an authorization request comes back (`response_mode`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ResponseMode {
    /// In the query of the redirect URI: what servers do unless told.
    Query,
    /// In the body of a POST (OAuth 2.0 Form Post Response Mode).
    FormPost,
    /// Signed, in the server's usual way for a code (JARM section 2.3.4).
    Jwt,
    /// Signed, in the query (JARM section 2.3.1).
    QueryJwt,
    /// Signed, in the body of a POST (JARM section 2.3.3).
    FormPostJwt,
}

/// What signs the answers to authorization requests.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ResponseAlgorithm {
    /// One of the server's keys.
    Key(Algorithm),
    /// The client secret (HS256).
    Hs256,
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
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// How long one command may take.
    pub timeout: i64,
    /// The keys that records are encrypted with: the first one writes, all of them read. None: records are in the clear.
    pub keys: Vec<StoreKey>,
}

/// A key that records are encrypted with. `Debug` shows its name alone.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoreKey {
    /// Its name, which records carry.
    pub id: String,
    pub(crate) key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreKey").field("id", &self.id).finish_non_exhaustive()
    }
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
        let variables = Variables::new(&profile, values, allow_loopback_http)?.naming(given.client_id());
        let grant = given.grant(&profile)?;
        given.refuse_unused(grant, &profile)?;

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
            grant_type: None,
            method: Method::Post,
            parameters: Vec::new(),
            scope: Vec::new(),
            resource: given.texts("resource", check_absolute_uri)?,
            audience: given.texts("audience", |text| grammar::check(text, grammar::NO_CONTROLS))?,
            answer: standard_answer(),
            missing_lifetime: ASSUMED_LIFETIME,
            soft_margin,
            refresh_endpoint: None,
            json_requests: false,
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
            certificate_bound: given.boolean("certificate_bound")?.unwrap_or(false),
            assertion: AssertionRules::default(),
            grant_assertion: None,
            exchanged: given.exchanged()?,
            signing_key: given.signing_key()?,
            dpop: given.dpop()?,
            discovery: variables.discovery(allow_loopback_http)?,
            endpoints: variables.endpoints(allow_loopback_http)?,
            authorization_details: given.authorization_details()?,
            pushed_authorization: given.boolean("pushed_authorization")?,
            request_object: given.boolean("request_object")?.unwrap_or(false),
            authorization_signed_response_alg: given.response_algorithm()?,
            redirect_uri: given.checked("redirect_uri", check_absolute_uri)?,
            identity: variables.identity(),
            known_scopes: None,
            client_auth_choices: Vec::new(),
        };
        if let Some(token) = profile.token.as_ref().filter(|_| grant != Grant::ApiToken) {
            config.token_endpoint = token
                .endpoint
                .as_ref()
                .map(|url| variables.optional_url(url, allow_loopback_http))
                .transpose()?
                .flatten();
            config.method = token.method;
            config.grant_type = token.grant_type.clone();
            config.answer = token.answer.clone();
            config.missing_lifetime =
                config.policy.missing_lifetime.or(token.missing_lifetime).unwrap_or(ASSUMED_LIFETIME);
            config.rotation_grace = token.rotation_grace;
            config.refresh_endpoint =
                token.refresh_endpoint.as_ref().map(|url| variables.url(url, allow_loopback_http)).transpose()?;
            config.json_requests = token.json;
            config.parameters = given.parameters(variables.parameters(&token.parameters)?)?;
            config.known_scopes = token.scope.as_ref().filter(|rules| rules.closed).map(|rules| rules.known.clone());
            config.scope = match given.take_one("scope") {
                Some(field) => config.check_scope(&scope_tokens(field)?)?,
                None => token.scope.as_ref().map(|rules| rules.default.clone()).unwrap_or_default(),
            };
            (config.client_auth, config.client_auth_choices) = given.client_auth(grant, &token.client_auth)?;
            config.grant_assertion = given.grant_assertion(
                grant,
                token.assertion.as_ref().map(|rules| variables.assertion(rules)).transpose()?,
            )?;
        }
        if grant == Grant::AuthorizationCode {
            config.authorization = variables.authorization(allow_loopback_http)?;
            if let (Some(mode), Some(authorization)) = (given.response_mode()?, &mut config.authorization) {
                authorization.response_mode = Some(mode);
            }
        }
        given.credentials(&mut config, variables.issuer_of_authorization(allow_loopback_http)?)?;
        config.check()?;
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

    /// What single options don't show.
    fn check(&self) -> Result<(), Error> {
        let refuse = |name: &str, why: &str| Err(Place::option(name).error(why));
        if self.client_auth.is_tls() && self.tls_id.is_none() {
            return refuse(
                "client_auth",
                "is one with a client certificate, and there is none: give the option for the certificate and its key",
            );
        }
        if self.certificate_bound && self.tls_id.is_none() {
            return refuse("certificate_bound", "binds tokens to a client certificate, and there is none: give one");
        }
        if self.request_object && self.signing_key.is_none() {
            return refuse("request_object", "signs authorization requests, and there is no `signing_key`: give one");
        }
        if self.pushed_authorization == Some(true)
            && self.endpoints.pushed_authorization_request.is_none()
            && self.discovery.is_none()
        {
            return refuse(
                "pushed_authorization",
                "has nowhere to push to: the profile names neither `endpoints.pushed_authorization_request` nor `discovery`",
            );
        }
        self.check_signed_answers()?;
        if self.signing_key.is_some()
            && self.credential != Credential::Key
            && !self.request_object
            && self.grant_assertion.as_ref().is_none_or(|rules| rules.provided)
        {
            return refuse("signing_key", "has no use here: set `client_auth` to `private_key_jwt`, or leave it out");
        }
        Ok(())
    }

    /// Signed answers are of use only if there is something to check them by (JARM section 2.4).
    fn check_signed_answers(&self) -> Result<(), Error> {
        let algorithm = self.authorization_signed_response_alg;
        let refuse = |name: &str, why: &str| Err(Place::option(name).error(why));
        if !self.wants_signed_answers() {
            return match algorithm {
                Some(_) => refuse(
                    "authorization_signed_response_alg",
                    "has no use without signed answers: set `response_mode` to `jwt`",
                ),
                None => Ok(()),
            };
        }
        if self.authorization.as_ref().is_some_and(|authorization| authorization.issuer.is_none()) {
            return refuse(
                "response_mode",
                "asks for signed answers, and the profile names no issuer to compare them with: name it in `authorization.issuer`",
            );
        }
        match (algorithm, &self.credential) {
            (Some(ResponseAlgorithm::Hs256), Credential::Secret(secret)) if secret.expose().len() >= SECRET_LEAST => {
                Ok(())
            }
            (Some(ResponseAlgorithm::Hs256), _) => refuse(
                "authorization_signed_response_alg",
                "is `HS256`, which needs a `client_secret` of at least 32 bytes (RFC 7518 section 3.2): have the server sign with a key",
            ),
            _ if self.endpoints.jwks.is_none() && self.discovery.is_none() => refuse(
                "response_mode",
                "asks for signed answers, and there are no keys to check them with: the profile names neither `endpoints.jwks` nor `discovery`",
            ),
            _ => Ok(()),
        }
    }

    /// Whether answers to authorization requests have to be signed.
    pub(crate) fn wants_signed_answers(&self) -> bool {
        let mode = self.authorization.as_ref().and_then(|authorization| authorization.response_mode);
        mode.is_some_and(ResponseMode::is_signed)
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

/// What is known of a server before there is a client.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) profile: String,
    pub(crate) registration: Option<EndpointUrl>,
    pub(crate) discovery: Option<Discovery>,
    pub(crate) policy: Policy,
    pub(crate) allow_loopback_http: bool,
}

impl Server {
    pub(crate) fn new(options: &str) -> Result<Self, Error> {
        let mut object = document::parse(options, Kind::Options)?.object()?;
        let profile = read_profile(&mut object)?;
        let mut given = Given::take(&mut object);
        let values = take_variables(&mut object, &profile);
        object.end()?;
        let allow_loopback_http = given.boolean("allow_loopback_http")?.unwrap_or(false);
        let policy = given.take_one("policy").map(Policy::read).transpose()?.unwrap_or_default();
        given.refuse_rest("has no use before there is a client: leave it out")?;
        let variables = Variables::new(&profile, values, allow_loopback_http)?;
        Ok(Self {
            registration: variables.endpoints(allow_loopback_http)?.registration,
            discovery: variables.discovery(allow_loopback_http)?,
            profile: profile.name.clone(),
            policy,
            allow_loopback_http,
        })
    }
}

impl Config {
    /// Whose tokens these are: the issuer, or the token endpoint where no issuer is known.
    pub(crate) fn server(&self) -> &str {
        match (&self.discovery, &self.token_endpoint) {
            (Some(discovery), _) => &discovery.issuer,
            (None, Some(endpoint)) => endpoint.as_str(),
            (None, None) => "",
        }
    }

    /// Checks the resources that a caller asks for in place of the client's own.
    ///
    /// # Errors
    /// `invalid_option`, with what is wrong with one of them.
    pub fn check_resource(&self, resource: &[String]) -> Result<(), Error> {
        let check = |uri: &String| check_absolute_uri(uri).map_err(|why| Place::option("resource").error(why));
        resource.iter().try_for_each(check)
    }
}

impl Grant {
    /// Its name in profiles and options.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "device_code",
            Self::Ciba => "ciba",
            Self::TokenExchange => "token_exchange",
            Self::JwtBearer => "jwt_bearer",
            Self::BasicGet => "basic_get",
            Self::ApiToken => "api_token",
        }
    }
}

impl Grant {
    /// A person has agreed: what they gave is kept going by refresh tokens, and nothing else can replace it.
    pub(crate) const fn needs_a_person(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::DeviceCode | Self::Ciba)
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
            Self::SecretJwt => "client_secret_jwt",
            Self::KeyJwt => "private_key_jwt",
            Self::Tls => "tls_client_auth",
            Self::SelfSignedTls => "self_signed_tls_client_auth",
            Self::None => "none",
        }
    }
}

impl ClientAuth {
    /// The name that a server's metadata has for it.
    pub(crate) const fn registered(self) -> &'static str {
        match self {
            Self::BasicRaw => "client_secret_basic",
            other => other.as_str(),
        }
    }

    /// Whether it leaves the request's body alone.
    pub(crate) const fn is_in_header(self) -> bool {
        matches!(self, Self::BasicForm | Self::BasicRaw)
    }

    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::SelfSignedTls)
    }
}

impl SigningKey {
    /// The algorithm to sign with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        // The options refuse an empty list.
        self.algorithms.first().copied().unwrap_or(Algorithm::Es256)
    }
}

impl Algorithm {
    /// Every algorithm by its name.
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
        ("RS256", Self::Rs256),
        ("PS256", Self::Ps256),
    ];

    /// Its name in JOSE headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// What a public key for an algorithm looks like (RFC 7518 section 6, RFC 8037 section 2).
pub(crate) struct KeyShape {
    /// `kty`
    pub(crate) kind: &'static str,
    /// `crv`
    pub(crate) curve: Option<&'static str>,
    /// What its thumbprint is made from, in that order (RFC 7638 section 3.2).
    pub(crate) members: &'static [&'static str],
    /// The length of a coordinate; of a modulus the least, since a shorter one is weak. In bytes.
    pub(crate) size: usize,
}

impl Algorithm {
    pub(crate) const fn key_shape(self) -> KeyShape {
        const EC: &[&str] = &["crv", "kty", "x", "y"];
        let (kind, curve, members, size): (_, _, &[&str], _) = match self {
            Self::Es256 => ("EC", Some("P-256"), EC, 32),
            Self::Es384 => ("EC", Some("P-384"), EC, 48),
            Self::EdDsa => ("OKP", Some("Ed25519"), &["crv", "kty", "x"], 32),
            Self::Rs256 | Self::Ps256 => ("RSA", None, &["e", "kty", "n"], 256),
        };
        KeyShape { kind, curve, members, size }
    }
}

impl ResponseMode {
    /// Every mode by its name.
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("query", Self::Query),
        ("form_post", Self::FormPost),
        ("jwt", Self::Jwt),
        ("query.jwt", Self::QueryJwt),
        ("form_post.jwt", Self::FormPostJwt),
    ];

    /// Its name in requests and metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    /// Whether the answer is a JWT (JARM).
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Jwt | Self::QueryJwt | Self::FormPostJwt)
    }
}

impl ResponseAlgorithm {
    /// Its name in JOSE headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key(algorithm) => algorithm.as_str(),
            Self::Hs256 => "HS256",
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

/// Every option that does not come from a profile. A profile's variables can't have these names.
pub(crate) const OPTIONS: &[&str] = &[
    "actor_token_provided",
    "actor_token_type",
    "allow_loopback_http",
    "api_origins",
    "api_token",
    "aside",
    "assertion_audience",
    "assertion_claims",
    "assertion_issuer",
    "assertion_provided",
    "assertion_subject",
    "assertion_typ",
    "audience",
    "authorization_details",
    "authorization_signed_response_alg",
    "certificate_bound",
    "client_assertion_provided",
    "client_auth",
    "client_id",
    "client_secret",
    "client_secret_provided",
    "credential_name",
    "dpop",
    "grant",
    "parameters",
    "policy",
    "pushed_authorization",
    "redirect_uri",
    "request_object",
    "request_timeout",
    "requested_token_type",
    "resource",
    "response_mode",
    "scope",
    "signing_key",
    "store",
    "store_keys",
    "subject_token_provided",
    "subject_token_type",
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

fn meanings(profile: &Profile) -> BTreeMap<String, ErrorMeaning> {
    let meanings = profile.errors.iter();
    meanings
        .map(|(code, meaning)| {
            let hint = match &meaning.hint {
                Some(hint) => format!("{} means by `{code}`: {}; {hint}", profile.title, meaning.meaning),
                None => format!("{} means by `{code}`: {}", profile.title, meaning.meaning),
            };
            (code.clone(), ErrorMeaning { hint, means: meaning.means, verdict: meaning.verdict })
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
        ClientAuth::SecretJwt if text.len() < SECRET_LEAST => Err(format!(
            "is shorter than {SECRET_LEAST} bytes, which `client_secret_jwt` needs (RFC 7518 section 3.2): use another `client_auth`"
        )),
        _ => grammar::check(text, grammar::PRINTABLE),
    }
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

fn missing(name: &str, description: &str) -> Error {
    Place::option(name).error(format!("is missing: {description}"))
}

#[cfg(test)]
mod tests;
