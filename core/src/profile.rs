//! A provider as data: a JSON document that says where its endpoints are, what they take and what they answer.
//!
//! The members are described in `profiles/schema.json`, the published JSON Schema. No provider has code of its own: the
//! built-in profiles and a user's own document go the same way.

mod read;
mod template;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::{ClientAuth, Grant, Method, ResponseMode};
use crate::document::{self, Kind, Place};
use crate::error::Error;
use crate::grammar;
use crate::response::{AnswerShape, MissingLifetime, Verdict};
use crate::url::EndpointUrl;
pub(crate) use template::{Part, Template};

/// A provider's profile.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) notes: Vec<String>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) token: Option<TokenRequest>,
    pub(crate) authorization: Option<AuthorizationRequest>,
    pub(crate) discovery: Option<Discovery>,
    pub(crate) endpoints: BTreeMap<&'static str, (Template, Place)>,
    pub(crate) attach: Attach,
    pub(crate) api_token: Option<ApiToken>,
    pub(crate) api_origins: Vec<(Template, Place)>,
    pub(crate) errors: BTreeMap<String, Meaning>,
}

/// Something that the user fills in: an option of the client.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) format: Format,
    pub(crate) default: Option<String>,
    pub(crate) required: bool,
}

/// What a variable's value may look like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// An absolute URL.
    Url,
    /// The same without a query; a `/` at its end is dropped.
    BaseUrl,
    /// Part of a host name or of a path: nothing that needs an escape.
    Segment,
    /// A header's name.
    HeaderName,
    /// A header's value.
    HeaderValue,
    /// Any text without control characters.
    Text,
    /// One of these.
    Values(Vec<String>),
}

/// How tokens are asked for, and what comes back.
#[derive(Clone, Debug)]
pub(crate) struct TokenRequest {
    /// None: the server's metadata tells it.
    pub(crate) endpoint: Option<(Template, Place)>,
    pub(crate) assertion: Option<AssertionRules>,
    /// What stands for `client_credentials` at this provider.
    pub(crate) grant_type: Option<String>,
    pub(crate) method: Method,
    pub(crate) client_auth: Vec<ClientAuth>,
    pub(crate) scope: Option<ScopeRules>,
    pub(crate) parameters: Vec<(String, Template)>,
    pub(crate) answer: AnswerShape,
    pub(crate) missing_lifetime: Option<MissingLifetime>,
    pub(crate) soft_margin: Option<i64>,
    pub(crate) rotation_grace: Option<i64>,
    /// Where refresh tokens are sent, if not to the endpoint.
    pub(crate) refresh_endpoint: Option<(Template, Place)>,
    /// Whether the request's body is JSON.
    pub(crate) json: bool,
}

/// Where the server tells about itself (RFC 8414).
#[derive(Clone, Debug)]
pub(crate) struct Discovery {
    pub(crate) issuer: (Template, Place),
    pub(crate) forms: Vec<MetadataForm>,
}

/// The two forms of a metadata document's address (RFC 8414 sections 3 and 5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MetadataForm {
    /// `/.well-known/oauth-authorization-server`, between host and path.
    OAuth,
    /// `/.well-known/openid-configuration`, behind the path.
    OpenId,
}

/// What the assertion says that is the grant.
#[derive(Clone, Debug, Default)]
pub(crate) struct AssertionRules {
    pub(crate) issuer: Option<Template>,
    pub(crate) subject: Option<Template>,
    pub(crate) audience: Option<Template>,
    pub(crate) scope: bool,
    pub(crate) claims: Vec<(String, Template)>,
}

/// What is known about a provider's scopes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScopeRules {
    pub(crate) default: Vec<String>,
    pub(crate) known: Vec<String>,
    pub(crate) closed: bool,
}

/// How a person authorizes a client.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationRequest {
    /// None: the server's metadata tells it.
    pub(crate) endpoint: Option<(Template, Place)>,
    pub(crate) issuer: Option<(Template, Place)>,
    pub(crate) iss_required: bool,
    pub(crate) response_mode: Option<ResponseMode>,
    pub(crate) parameters: Vec<(String, Template)>,
}

/// How a token is put on an API request.
#[derive(Clone, Debug)]
pub(crate) struct Attach {
    pub(crate) header: Template,
    pub(crate) scheme: Option<String>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) insecure_query: Option<Template>,
}

/// What is different for an API token that the provider's website hands out.
#[derive(Clone, Debug)]
pub(crate) struct ApiToken {
    pub(crate) scheme: Option<String>,
    pub(crate) insecure_query: Option<Template>,
}

/// What an error code means at this provider.
#[derive(Clone, Debug)]
pub(crate) struct Meaning {
    pub(crate) meaning: String,
    pub(crate) hint: Option<String>,
    /// The standard's own word for it.
    pub(crate) means: Option<&'static str>,
    pub(crate) verdict: Option<Verdict>,
}

impl Profile {
    /// The names of the built-in profiles, in alphabetical order.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The document of a built-in profile, without the list of pages that it was written from.
    #[must_use]
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// `invalid_profile`, with a pointer to the wrong field and a message that says what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(document::parse(text, Kind::Profile)?)
    }

    /// The provider's short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The provider's name as people write it.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What people should know: what the provider advises against, and what was chosen where its documentation has a gap.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl Format {
    /// The value as it is put into a template, or what is wrong with it.
    pub(crate) fn check(&self, text: &str, allow_loopback_http: bool) -> Result<String, String> {
        match self {
            Self::Url => {
                EndpointUrl::parse(text, allow_loopback_http).map_err(|why| format!("is not accepted: {why}"))?;
            }
            Self::BaseUrl => {
                EndpointUrl::parse(text, allow_loopback_http).map_err(|why| format!("is not accepted: {why}"))?;
                if text.contains('?') {
                    return Err("is not accepted: a base URL has no query".to_owned());
                }
                return Ok(text.trim_end_matches('/').to_owned());
            }
            Self::Segment => {
                grammar::check(text, grammar::UNRESERVED)?;
                if text.chars().all(|character| character == '.') {
                    return Err("is all dots, which would climb in a path".to_owned());
                }
            }
            Self::HeaderName => grammar::check(text, grammar::TOKEN)?,
            Self::HeaderValue => {
                grammar::check(text, grammar::HEADER_VALUE)?;
                if text.trim() != text {
                    return Err("begins or ends with a space: a header's value can't".to_owned());
                }
            }
            Self::Text => grammar::check(text, grammar::NO_CONTROLS)?,
            Self::Values(values) => {
                if !values.iter().any(|value| value == text) {
                    let allowed = document::alternatives(values.iter().map(|value| &**value));
                    return Err(format!("has a value that is not known: {allowed} is allowed"));
                }
            }
        }
        Ok(text.to_owned())
    }
}

/// Where RFC 6749 section 5.1 has things.
pub(crate) fn standard_answer() -> AnswerShape {
    let member = |name: &str| Vec::from([name.to_owned()]);
    AnswerShape {
        access_token: member("access_token"),
        token_type: Some(member("token_type")),
        assumed_token_type: None,
        expires_in: Some(member("expires_in")),
        expires_at: None,
        refresh_token: Some(member("refresh_token")),
        scope: Some(member("scope")),
        scope_separator: ' ',
        statuses: [200].into(),
        ok: None,
        form: false,
    }
}

pub(crate) const GRANTS: &[(&str, Grant)] = &[
    ("client_credentials", Grant::ClientCredentials),
    ("authorization_code", Grant::AuthorizationCode),
    ("device_code", Grant::DeviceCode),
    ("ciba", Grant::Ciba),
    ("token_exchange", Grant::TokenExchange),
    ("jwt_bearer", Grant::JwtBearer),
    ("basic_get", Grant::BasicGet),
    ("api_token", Grant::ApiToken),
];

pub(crate) const CLIENT_AUTH: &[(&str, ClientAuth)] = &[
    ("client_secret_basic", ClientAuth::BasicForm),
    ("client_secret_basic_raw", ClientAuth::BasicRaw),
    ("client_secret_post", ClientAuth::Body),
    ("client_secret_jwt", ClientAuth::SecretJwt),
    ("private_key_jwt", ClientAuth::KeyJwt),
    ("tls_client_auth", ClientAuth::Tls),
    ("self_signed_tls_client_auth", ClientAuth::SelfSignedTls),
    ("none", ClientAuth::None),
];

const BUILT_IN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

#[cfg(test)]
mod tests;
