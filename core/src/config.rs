//! What a user asks for, checked: a profile and the options beside it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::error::Error;
use crate::policy::Policy;
use crate::response::{AnswerShape, ErrorMeaning, MissingLifetime};
use crate::secret::Secret;
use crate::url::{EndpointUrl, Origin};

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
        let _ = options;
        Err(Error::new(crate::error::ErrorCode::InvalidOption, "not read yet"))
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
