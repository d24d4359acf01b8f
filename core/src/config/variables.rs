//! A profile's templates, filled with what the user gave.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Attachment, Authorization, Discovery, Endpoints, Grant, GrantAssertion, missing};
use crate::document::{Field, Object, Place};
use crate::error::Error;
use crate::grammar;
use crate::metadata::well_known;
use crate::profile::{AssertionRules, Part, Profile, Template};
use crate::url::{EndpointUrl, Origin};

/// A profile's variables and their values.
pub(super) struct Variables<'p> {
    profile: &'p Profile,
    values: BTreeMap<String, String>,
}

/// Takes the options that are a profile's variables.
pub(super) fn take_variables<'a>(object: &mut Object<'a>, profile: &Profile) -> Vec<(String, Field<'a>)> {
    let variables = profile.variables.iter();
    variables.filter_map(|variable| Some((variable.name.clone(), object.take(&variable.name)?))).collect()
}

impl<'p> Variables<'p> {
    /// The defaults with the user's values put over them.
    pub(super) fn new(
        profile: &'p Profile,
        given: Vec<(String, Field<'_>)>,
        allow_loopback_http: bool,
    ) -> Result<Self, Error> {
        let defaults = profile.variables.iter();
        let defaults = defaults.filter_map(|variable| Some((variable.name.clone(), variable.default.clone()?)));
        let mut values: BTreeMap<String, String> = defaults.collect();
        for (name, field) in given {
            let place = field.place.clone();
            let text = field.text()?;
            if let Some(variable) = profile.variables.iter().find(|variable| variable.name == name) {
                let value = variable.format.check(&text, allow_loopback_http).map_err(|why| place.error(why))?;
                values.insert(name, value);
            }
        }
        Ok(Self { profile, values })
    }

    /// With what `{client_id}` stands for in the headers of API requests.
    pub(super) fn naming(mut self, client_id: Option<String>) -> Self {
        self.values.extend(client_id.map(|id| ("client_id".to_owned(), id)));
        self
    }

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

    pub(super) fn url(
        &self,
        (template, place): &(Template, Place),
        allow_loopback_http: bool,
    ) -> Result<EndpointUrl, Error> {
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

    /// The same for what may be left out: none if a variable that may be left out was.
    pub(super) fn optional_url(
        &self,
        url: &(Template, Place),
        allow_loopback_http: bool,
    ) -> Result<Option<EndpointUrl>, Error> {
        match self.fill(&url.0)? {
            Some(_) => self.url(url, allow_loopback_http).map(Some),
            // Without metadata there is nobody else to tell it.
            None if self.profile.discovery.is_none() => self.url(url, allow_loopback_http).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn discovery(&self, allow_loopback_http: bool) -> Result<Option<Discovery>, Error> {
        let Some(discovery) = &self.profile.discovery else { return Ok(None) };
        let issuer = self.issuer(&discovery.issuer, allow_loopback_http, true)?.unwrap_or_default();
        let urls = discovery.forms.iter().map(|form| well_known(&issuer, *form)).collect();
        Ok(Some(Discovery { issuer, urls }))
    }

    pub(super) fn endpoints(&self, allow_loopback_http: bool) -> Result<Endpoints, Error> {
        let theirs = &self.profile.endpoints;
        let read = |name: &str| match theirs.get(name) {
            Some((template, place)) => match self.fill(template)? {
                Some(_) => self.url(&(template.clone(), place.clone()), allow_loopback_http).map(Some),
                None => Ok(None),
            },
            None => Ok(None),
        };
        Ok(Endpoints {
            device_authorization: read("device_authorization")?,
            backchannel_authentication: read("backchannel_authentication")?,
            pushed_authorization_request: read("pushed_authorization_request")?,
            introspection: read("introspection")?,
            revocation: read("revocation")?,
            registration: read("registration")?,
            jwks: read("jwks")?,
        })
    }

    pub(super) fn assertion(&self, rules: &AssertionRules) -> Result<GrantAssertion, Error> {
        let fill = |template: &Option<Template>| match template {
            Some(template) => self.fill(template),
            None => Ok(None),
        };
        Ok(GrantAssertion {
            issuer: fill(&rules.issuer)?,
            subject: fill(&rules.subject)?,
            audience: fill(&rules.audience)?,
            scope: rules.scope,
            claims: self.parameters(&rules.claims)?,
            ..GrantAssertion::default()
        })
    }

    /// An issuer identifier (RFC 8414 section 2). It is compared letter by letter, so it is kept as it was written.
    fn issuer(
        &self,
        (template, place): &(Template, Place),
        allow_loopback_http: bool,
        required: bool,
    ) -> Result<Option<String>, Error> {
        let text = if required { Some(self.fill_required(template)?) } else { self.fill(template)? };
        let Some(text) = text else { return Ok(None) };
        let flaw = match EndpointUrl::parse(&text, allow_loopback_http) {
            Err(why) => Some(why),
            Ok(_) if text.contains('?') => Some("an issuer has no query".to_owned()),
            Ok(_) => None,
        };
        match flaw {
            // Whoever wrote it is told: the user where it is theirs alone.
            Some(why) => Err(match template.parts() {
                [Part::Variable(name)] => Place::option(name),
                _ => place.clone(),
            }
            .error(format!("is not accepted: {why}"))),
            None => Ok(Some(text)),
        }
    }

    pub(super) fn parameters(&self, templates: &[(String, Template)]) -> Result<Vec<(String, String)>, Error> {
        let filled = templates.iter().map(|(name, template)| Ok((name, self.fill(template)?)));
        filled
            .filter_map(|entry| match entry {
                Ok((name, value)) => value.map(|value| Ok((name.clone(), value))),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    pub(super) fn attachment(&self, grant: Grant) -> Result<Attachment, Error> {
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

    pub(super) fn api_origins(&self, allow_loopback_http: bool) -> Result<Vec<Origin>, Error> {
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

    /// The issuer that the profile names for people's authorization: the same server gives tokens without people.
    pub(super) fn issuer_of_authorization(&self, allow_loopback_http: bool) -> Result<Option<String>, Error> {
        match self.profile.authorization.as_ref().and_then(|request| request.issuer.as_ref()) {
            Some(issuer) => self.issuer(issuer, allow_loopback_http, false),
            None => Ok(None),
        }
    }

    pub(super) fn authorization(&self, allow_loopback_http: bool) -> Result<Option<Authorization>, Error> {
        let Some(request) = &self.profile.authorization else {
            // The server's metadata tells where.
            return Ok(self.discovery(allow_loopback_http)?.map(|discovery| Authorization {
                endpoint: None,
                issuer: Some(discovery.issuer),
                iss_required: false,
                response_mode: None,
                parameters: Vec::new(),
            }));
        };
        let issuer = match &request.issuer {
            Some(issuer) => self.issuer(issuer, allow_loopback_http, false)?,
            None => self.discovery(allow_loopback_http)?.map(|discovery| discovery.issuer),
        };
        let endpoint = request.endpoint.as_ref().map(|url| self.optional_url(url, allow_loopback_http));
        Ok(Some(Authorization {
            endpoint: endpoint.transpose()?.flatten(),
            iss_required: request.iss_required && issuer.is_some(),
            response_mode: request.response_mode,
            issuer,
            parameters: self.parameters(&request.parameters)?,
        }))
    }

    /// The variables that the server sees when it makes a token or looks at one.
    pub(super) fn identity(&self) -> Vec<(String, String)> {
        let token = self.profile.token.iter();
        let templates = token.flat_map(|token| {
            token
                .parameters
                .iter()
                .map(|(_, template)| template)
                .chain(token.endpoint.iter().map(|(template, _)| template))
        });
        let templates = templates.chain(self.profile.discovery.iter().map(|discovery| &discovery.issuer.0));
        let templates = templates.chain(self.profile.attach.headers.iter().map(|(_, template)| template));
        let names: Vec<&str> = templates.flat_map(Template::variables).collect();
        let values = self.values.iter().filter(|(name, _)| names.contains(&&***name));
        values.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}
