//! Reading a profile's document, member by member.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::template::{Part, is_name};
use super::{
    ApiToken, AssertionRules, Attach, AuthorizationRequest, CLIENT_AUTH, Discovery, Format, GRANTS, Meaning,
    MetadataForm, Profile, ScopeRules, Template, TokenRequest, Variable, standard_answer,
};
use crate::config::{ClientAuth, Grant, Method, OPTIONS, ResponseMode};
use crate::document::{self, Field, Place, Value, near};
use crate::error::Error;
use crate::grammar;
use crate::policy::read_missing_lifetime;
use crate::response::{AnswerShape, TimeUnit, Verdict};
use crate::url::{EndpointUrl, Origin};

impl Profile {
    /// Reads a profile out of a document that was parsed already.
    pub(crate) fn read(field: Field<'_>) -> Result<Self, Error> {
        let mut object = field.object()?;
        if let Some(field) = object.take("$schema") {
            field.text()?;
        }
        let name = read_name(object.require("name")?)?;
        let title = object.require("title")?.filled()?;
        if let Some(field) = object.take("documentation") {
            field.list()?.into_iter().try_for_each(read_documentation)?;
        }
        let variables = match object.take("variables") {
            Some(field) => field.entries()?.into_iter().map(read_variable).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let templates = Templates { variables: &variables, used: RefCell::default() };
        let grants = distinct(object.require("grants")?, GRANTS)?;
        let discovery = object.take("discovery").map(|field| templates.read_discovery(field)).transpose()?;
        let endpoints = match object.take("endpoints") {
            Some(field) => templates.read_endpoints(field)?,
            None => BTreeMap::new(),
        };
        let token =
            object.take("token").map(|field| templates.read_token(field, &grants, discovery.is_some())).transpose()?;
        let authorization = object
            .take("authorization")
            .map(|field| templates.read_authorization(field, discovery.is_some()))
            .transpose()?;
        let attach = match object.take("attach") {
            Some(field) => templates.read_attach(field)?,
            None => Attach {
                header: Template::literal("Authorization"),
                scheme: Some("Bearer".to_owned()),
                headers: Vec::new(),
                insecure_query: None,
            },
        };
        let api_token = object.take("api_token").map(|field| templates.read_api_token(field, &attach)).transpose()?;
        let api_origins = match object.take("api_origins") {
            Some(field) => {
                field.list()?.into_iter().map(|field| templates.read_origin(field)).collect::<Result<_, _>>()?
            }
            None => Vec::new(),
        };
        let errors = match object.take("errors") {
            Some(field) => field.entries()?.into_iter().map(read_meaning).collect::<Result<_, _>>()?,
            None => BTreeMap::new(),
        };
        let notes = match object.take("notes") {
            Some(field) => field.list()?.into_iter().map(Field::filled).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let place = object.place.clone();
        object.end()?;
        let used = templates.used.into_inner();

        let profile = Self {
            name,
            title,
            notes,
            variables,
            grants,
            token,
            authorization,
            discovery,
            endpoints,
            attach,
            api_token,
            api_origins,
            errors,
        };
        profile.check_sections(&place)?;
        // One that is not used is a slip of the pen somewhere else.
        if let Some(unused) = profile.variables.iter().find(|variable| !used.contains(&variable.name)) {
            let what = format!("is used nowhere: put `{{{}}}` where its value belongs, or remove it", unused.name);
            return Err(place.member("variables").member(&unused.name).error(what));
        }
        Ok(profile)
    }

    /// Each grant has the section that it needs.
    fn check_sections(&self, place: &Place) -> Result<(), Error> {
        for grant in &self.grants {
            let (section, is_there) = match grant {
                Grant::ApiToken => ("api_token", self.api_token.is_some()),
                Grant::AuthorizationCode if self.token.is_some() => {
                    ("authorization", self.authorization.is_some() || self.discovery.is_some())
                }
                Grant::DeviceCode if self.token.is_some() => {
                    self.check_endpoint("device_authorization", *grant, place)?;
                    continue;
                }
                Grant::Ciba if self.token.is_some() => {
                    self.check_endpoint("backchannel_authentication", *grant, place)?;
                    continue;
                }
                _ => ("token", self.token.is_some()),
            };
            if !is_there {
                return Err(place
                    .member(section)
                    .error(format!("is missing: the grant `{}` needs it", grant.as_str())));
            }
        }
        Ok(())
    }
}

impl Profile {
    /// The endpoint that a grant begins at is the profile's to name, unless the server does.
    fn check_endpoint(&self, name: &str, grant: Grant, place: &Place) -> Result<(), Error> {
        if self.endpoints.contains_key(name) || self.discovery.is_some() {
            return Ok(());
        }
        let place = place.member("endpoints").member(name);
        Err(place.error(format!("is missing: the grant `{}` needs it", grant.as_str())))
    }
}

/// Where a template stands, which decides what may be put into its holes.
#[derive(Clone, Copy)]
enum Use {
    Url,
    Header,
    HeaderName,
    Parameter,
}

/// The parts of a profile that have templates in them.
struct Templates<'v> {
    variables: &'v [Variable],
    /// The names that were met.
    used: RefCell<Vec<String>>,
}

impl Templates<'_> {
    fn read_token(&self, field: Field<'_>, grants: &[Grant], is_discovered: bool) -> Result<TokenRequest, Error> {
        let mut object = field.object()?;
        let is_get = grants.contains(&Grant::BasicGet);
        if is_get && grants.iter().any(|grant| !matches!(grant, Grant::BasicGet | Grant::ApiToken)) {
            return Err(object.place.error(
                "cannot serve both `basic_get` and an OAuth grant, which differ in method: write two profiles",
            ));
        }

        let endpoint = self.read_endpoint(&mut object, is_discovered)?;
        let method = match object.take("method") {
            Some(field) => {
                let place = field.place.clone();
                let method = field.one_of(METHODS)?;
                // RFC 6749 section 3.2: a token request is a POST. What uses GET is not OAuth, and has a grant of its own.
                match (method, is_get) {
                    (Method::Get, false) => {
                        return Err(place.error("is `GET`: only `POST` is allowed unless `/grants` is [`basic_get`]"));
                    }
                    (Method::Post, true) => {
                        return Err(place.error("is `POST`: only `GET` is allowed with the grant `basic_get`"));
                    }
                    (method, _) => method,
                }
            }
            None if is_get => Method::Get,
            None => Method::Post,
        };
        let client_auth = match object.take("client_auth") {
            Some(field) => {
                let place = field.place.clone();
                let methods = distinct(field, CLIENT_AUTH)?;
                check_client_auth(&methods, grants, &place)?;
                methods
            }
            None if is_get => [ClientAuth::BasicRaw].into(),
            None => [ClientAuth::BasicForm].into(),
        };
        let (scope, scope_separator) = match object.take("scope").map(read_scope_rules).transpose()? {
            Some((scope, separator)) => (Some(scope), separator),
            None => (None, ' '),
        };
        let request = TokenRequest {
            endpoint,
            method,
            client_auth,
            scope,
            parameters: self.read_parameters(object.take("parameters"))?,
            answer: AnswerShape { scope_separator, ..read_answer(object.take("answer"))? },
            missing_lifetime: object.take("missing_lifetime").map(read_missing_lifetime).transpose()?,
            soft_margin: object.take("soft_margin").map(|field| field.duration(0, DAY)).transpose()?,
            rotation_grace: object.take("rotation_grace").map(|field| field.duration(0, DAY)).transpose()?,
            refresh_endpoint: object.take("refresh_endpoint").map(|field| self.read_url(field)).transpose()?,
            json: match object.take("body") {
                Some(field) if is_get => {
                    return Err(field.place.error("has no use with `GET`, which has no body: leave it out"));
                }
                Some(field) => field.one_of(&[("form", false), ("json", true)])?,
                None => false,
            },
            grant_type: object.take("grant_type").map(read_grant_type).transpose()?,
            assertion: object.take("assertion").map(|field| self.read_assertion(field)).transpose()?,
        };
        object.end()?;
        Ok(request)
    }

    /// An endpoint that the server's metadata may tell, where the profile doesn't.
    fn read_endpoint(
        &self,
        object: &mut document::Object<'_>,
        is_discovered: bool,
    ) -> Result<Option<(Template, Place)>, Error> {
        match object.take("endpoint") {
            None if is_discovered => Ok(None),
            None => object.require("endpoint").map(|_| None),
            Some(field) => self.read_url(field).map(Some),
        }
    }

    fn read_discovery(&self, field: Field<'_>) -> Result<Discovery, Error> {
        let mut object = field.object()?;
        let issuer = self.read_url(object.require("issuer")?)?;
        let forms = match object.take("forms") {
            Some(field) => distinct(field, FORMS)?,
            None => [MetadataForm::OAuth, MetadataForm::OpenId].into(),
        };
        object.end()?;
        Ok(Discovery { issuer, forms })
    }

    fn read_endpoints(&self, field: Field<'_>) -> Result<BTreeMap<&'static str, (Template, Place)>, Error> {
        let mut object = field.object()?;
        let mut endpoints = BTreeMap::new();
        for name in ENDPOINTS {
            if let Some(field) = object.take(name) {
                endpoints.insert(*name, self.read_url(field)?);
            }
        }
        object.end()?;
        Ok(endpoints)
    }

    fn read_assertion(&self, field: Field<'_>) -> Result<AssertionRules, Error> {
        let mut object = field.object()?;
        let mut claim =
            |name: &str| object.take(name).map(|field| self.read_template(field, Use::Parameter)).transpose();
        let (issuer, subject, audience) = (claim("issuer")?, claim("subject")?, claim("audience")?);
        let scope = object.take("scope").map_or(Ok(false), Field::boolean)?;
        let claims = match object.take("claims") {
            Some(field) => {
                let read = |(name, field)| Ok((name, self.read_template(field, Use::Parameter)?));
                field.entries()?.into_iter().map(read).collect::<Result<_, Error>>()?
            }
            None => Vec::new(),
        };
        object.end()?;
        Ok(AssertionRules { issuer, subject, audience, scope, claims })
    }

    fn read_authorization(&self, field: Field<'_>, is_discovered: bool) -> Result<AuthorizationRequest, Error> {
        let mut object = field.object()?;
        let request = AuthorizationRequest {
            endpoint: self.read_endpoint(&mut object, is_discovered)?,
            issuer: object.take("issuer").map(|field| self.read_url(field)).transpose()?,
            iss_required: object.take("iss_required").map_or(Ok(false), Field::boolean)?,
            response_mode: object.take("response_mode").map(|field| field.one_of(ResponseMode::ALL)).transpose()?,
            parameters: self.read_parameters(object.take("parameters"))?,
        };
        if request.iss_required && request.issuer.is_none() {
            return Err(object.place.member("issuer").error("is missing: `iss_required` has nothing to compare with"));
        }
        object.end()?;
        Ok(request)
    }

    fn read_attach(&self, field: Field<'_>) -> Result<Attach, Error> {
        let mut object = field.object()?;
        let header = match object.take("header") {
            Some(field) => self.read_template(field, Use::HeaderName)?,
            None => Template::literal("Authorization"),
        };
        let scheme = match object.take("scheme") {
            Some(field) => read_scheme(field)?,
            None => Some("Bearer".to_owned()),
        };
        let mut headers: Vec<(String, Template)> = Vec::new();
        if let Some(field) = object.take("headers") {
            for (name, field) in field.entries()? {
                let place = &field.place;
                grammar::check(&name, grammar::TOKEN).map_err(|why| place.error(format!("is no header: it {why}")))?;
                let is_same = |known: &str| known.eq_ignore_ascii_case(&name);
                if CONNECTION_HEADERS.iter().any(|known| is_same(known)) {
                    return Err(place.error("belongs to the connection: the HTTP client sets it"));
                }
                if self.may_become(&header, &name) || headers.iter().any(|(known, _)| is_same(known)) {
                    return Err(place.error("stands there twice: keep one of the two"));
                }
                headers.push((name, self.read_template(field, Use::Header)?));
            }
        }
        let insecure_query =
            object.take("insecure_query").map(|field| self.read_template(field, Use::Parameter)).transpose()?;
        object.end()?;
        Ok(Attach { header, scheme, headers, insecure_query })
    }

    /// Whether a header's name may turn out to be this one, as far as the document tells.
    fn may_become(&self, header: &Template, name: &str) -> bool {
        let is_same = |known: &str| known.eq_ignore_ascii_case(name);
        match header.parts() {
            [Part::Literal(literal)] => is_same(literal),
            [Part::Variable(variable)] => {
                let variable = self.variables.iter().find(|known| known.name == *variable);
                match variable.map(|variable| &variable.format) {
                    Some(Format::Values(values)) => values.iter().any(|value| is_same(value)),
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn read_api_token(&self, field: Field<'_>, attach: &Attach) -> Result<ApiToken, Error> {
        let mut object = field.object()?;
        let scheme = match object.take("scheme") {
            Some(field) => read_scheme(field)?,
            None => attach.scheme.clone(),
        };
        let insecure_query =
            object.take("insecure_query").map(|field| self.read_template(field, Use::Parameter)).transpose()?;
        object.end()?;
        Ok(ApiToken { scheme, insecure_query })
    }

    fn read_parameters(&self, field: Option<Field<'_>>) -> Result<Vec<(String, Template)>, Error> {
        let Some(field) = field else {
            return Ok(Vec::new());
        };
        let read = |(name, field): (String, Field<'_>)| {
            grammar::check_parameter(&name).map_err(|why| field.place.error(why))?;
            Ok((name, self.read_template(field, Use::Parameter)?))
        };
        field.entries()?.into_iter().map(read).collect()
    }

    fn read_origin(&self, field: Field<'_>) -> Result<(Template, Place), Error> {
        let place = field.place.clone();
        let template = self.read_template(field, Use::Url)?;
        if let [Part::Literal(text)] = template.parts() {
            Origin::parse(text, true).map_err(|why| place.error(format!("is not accepted: {why}")))?;
        }
        Ok((template, place))
    }

    fn read_url(&self, field: Field<'_>) -> Result<(Template, Place), Error> {
        let place = field.place.clone();
        let template = self.read_template(field, Use::Url)?;
        if let [Part::Literal(text)] = template.parts() {
            EndpointUrl::parse(text, true).map_err(|why| place.error(format!("is not accepted: {why}")))?;
        }
        Ok((template, place))
    }

    fn read_template(&self, field: Field<'_>, used: Use) -> Result<Template, Error> {
        let place = field.place.clone();
        let template = Template::parse(&field.text()?).map_err(|why| place.error(why))?;
        for (at, part) in template.parts().iter().enumerate() {
            let name = match part {
                Part::Variable(name) => name,
                Part::Literal(text) => {
                    let is_first_of_url = at == 0 && matches!(used, Use::Url);
                    if is_first_of_url && !text.starts_with("https://") && !text.starts_with("http://") {
                        return Err(place
                            .error("is not accepted: it must begin with `https://` or a variable that holds a URL"));
                    }
                    if matches!(used, Use::Header) {
                        grammar::check(text, grammar::HEADER_VALUE).map_err(|why| place.error(why))?;
                    }
                    if matches!(used, Use::HeaderName) {
                        grammar::check(text, grammar::TOKEN).map_err(|why| place.error(why))?;
                    }
                    continue;
                }
            };
            // An option that every client has, and that some APIs want to see.
            if matches!(used, Use::Header) && name == "client_id" {
                continue;
            }
            let Some(variable) = self.variables.iter().find(|variable| variable.name == *name) else {
                let known = || self.variables.iter().map(|variable| &*variable.name);
                return Err(place.error(match near(name, known()) {
                    Some(meant) => {
                        format!("names the variable `{name}`, which is not declared: did you mean `{meant}`?")
                    }
                    None => format!("names the variable `{name}`, which is not declared: add it to `/variables`"),
                }));
            };
            self.used.borrow_mut().push(name.clone());
            let allowed: &[&str] = match (used, &variable.format) {
                (_, Format::Values(_)) | (Use::Parameter, _) => continue,
                (Use::Url, Format::BaseUrl) if at == 0 => continue,
                (Use::Url, Format::Url) if template.parts().len() == 1 => continue,
                (Use::Url, Format::Segment) if at > 0 => continue,
                (Use::Url, _) if template.parts().len() == 1 => &["base_url", "url"],
                (Use::Url, _) if at == 0 => &["base_url"],
                (Use::Url, _) => &["segment"],
                (Use::Header, Format::HeaderValue | Format::HeaderName | Format::Segment) => continue,
                (Use::Header, _) => &["header_value"],
                (Use::HeaderName, Format::HeaderName) => continue,
                (Use::HeaderName, _) => &["header_name"],
            };
            let allowed = document::alternatives(allowed.iter().copied());
            return Err(place.error(format!("has the variable `{name}` where only one of format {allowed} is allowed")));
        }
        Ok(template)
    }
}

fn read_name(field: Field<'_>) -> Result<String, Error> {
    let place = field.place.clone();
    let name = field.filled()?;
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '-'));
    if !is_plain || name.len() > 64 {
        return Err(place.error(
            "is no profile's name: lower-case letters, digits and `-` are allowed, a letter first, at most 64",
        ));
    }
    Ok(name)
}

fn read_documentation(field: Field<'_>) -> Result<(), Error> {
    let mut object = field.object()?;
    object.require("title")?.filled()?;
    for member in ["url", "dated", "read"] {
        if let Some(field) = object.take(member) {
            field.filled()?;
        }
    }
    object.end()
}

fn read_variable((name, field): (String, Field<'_>)) -> Result<Variable, Error> {
    let place = field.place.clone();
    if !is_name(&name) {
        return Err(
            place.error("is no variable's name: lower-case letters, digits and `_` are allowed, a letter first")
        );
    }
    if OPTIONS.contains(&&*name) {
        return Err(place.error("is the name of an option that every client has: take another"));
    }
    let mut object = field.object()?;
    let description = object.require("description")?.filled()?;
    let format = match (object.take("format"), object.take("values")) {
        (Some(format), None) => {
            let choices: Vec<_> = FORMATS.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
            let chosen = format.one_of(&choices)?;
            FORMATS.get(chosen).map_or(Format::Text, |(_, format)| format.clone())
        }
        (None, Some(values)) => {
            let place = values.place.clone();
            let values = values.list()?.into_iter().map(Field::filled).collect::<Result<Vec<_>, _>>()?;
            if values.is_empty() {
                return Err(place.error("is empty: list the values that are allowed"));
            }
            Format::Values(values)
        }
        (None, None) => return Err(object.place.member("format").error("is missing: give it, or `values`")),
        (Some(format), Some(_)) => return Err(format.place.error("stands beside `values`: keep one of the two")),
    };
    let default = match object.take("default") {
        Some(field) => {
            let place = field.place.clone();
            let text = field.text()?;
            Some(format.check(&text, true).map_err(|why| place.error(why))?)
        }
        None => None,
    };
    let required = match object.take("required") {
        Some(field) if default.is_some() => {
            return Err(field.place.error("stands beside `default`: keep one of the two"));
        }
        Some(field) => field.boolean()?,
        None => true,
    };
    object.end()?;
    Ok(Variable { name, description, format, default, required })
}

fn check_client_auth(methods: &[ClientAuth], grants: &[Grant], place: &Place) -> Result<(), Error> {
    for (at, method) in methods.iter().enumerate() {
        let place = place.member(&at.to_string());
        let is_basic = matches!(method, ClientAuth::BasicForm | ClientAuth::BasicRaw);
        if grants.contains(&Grant::BasicGet) && !is_basic {
            return Err(place.error(format!(
                "is `{}`: `client_secret_basic_raw` or `client_secret_basic` is allowed with the grant `basic_get`",
                method.as_str()
            )));
        }
        // RFC 6749 section 4.4.2.
        let may_be_public = |grant: &Grant| {
            matches!(grant, Grant::AuthorizationCode | Grant::DeviceCode | Grant::TokenExchange | Grant::JwtBearer)
        };
        if *method == ClientAuth::None && !grants.iter().any(may_be_public) {
            return Err(place.error("is `none`: the grant `client_credentials` is for clients that have a secret"));
        }
    }
    Ok(())
}

/// What is known about the scopes, and what stands between two of them.
fn read_scope_rules(field: Field<'_>) -> Result<(ScopeRules, char), Error> {
    let mut object = field.object()?;
    let default = match object.take("default") {
        Some(field) => field.list()?.into_iter().map(read_scope_token).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let mut known = Vec::new();
    if let Some(field) = object.take("known") {
        for (name, field) in field.entries()? {
            grammar::check(&name, grammar::SCOPE).map_err(|why| field.place.error(format!("is no scope: it {why}")))?;
            field.filled()?;
            known.push(name);
        }
    }
    let closed = object.take("closed").map_or(Ok(false), Field::boolean)?;
    let separator = object.take("separator").map_or(Ok(' '), |field| field.one_of(SEPARATORS))?;
    let place = object.place.clone();
    object.end()?;
    if let (true, Some(unknown)) = (!known.is_empty(), default.iter().find(|scope| !known.contains(scope))) {
        return Err(place.member("default").error(format!("names `{unknown}`, which `known` doesn't list")));
    }
    Ok((ScopeRules { default, known, closed }, separator))
}

fn read_scope_token(field: Field<'_>) -> Result<String, Error> {
    let place = field.place.clone();
    let scope = field.text()?;
    grammar::check(&scope, grammar::SCOPE).map_err(|why| place.error(why))?;
    Ok(scope)
}

/// Members stand where RFC 6749 section 5.1 has them unless the profile says otherwise; `null` says that there is none.
fn read_answer(field: Option<Field<'_>>) -> Result<AnswerShape, Error> {
    let mut answer = standard_answer();
    let Some(field) = field else {
        return Ok(answer);
    };
    let mut object = field.object()?;
    if let Some(field) = object.take("access_token") {
        answer.access_token = read_pointer(field)?;
    }
    if let Some(field) = object.take("expires_at") {
        let mut expires_at = field.object()?;
        let pointer = read_pointer(expires_at.require("pointer")?)?;
        let unit = expires_at.require("unit")?.one_of(UNITS)?;
        expires_at.end()?;
        answer.expires_at = Some((pointer, unit));
        answer.expires_in = None;
    }
    for (name, path) in [
        ("token_type", &mut answer.token_type),
        ("expires_in", &mut answer.expires_in),
        ("refresh_token", &mut answer.refresh_token),
        ("scope", &mut answer.scope),
        ("ok", &mut answer.ok),
    ] {
        match object.take(name) {
            Some(Field { value: Value::Null, .. }) => *path = None,
            Some(field) => *path = Some(read_pointer(field)?),
            None => {}
        }
    }
    if let Some(field) = object.take("assume_token_type") {
        answer.assumed_token_type = read_scheme(field)?;
    }
    if let Some(field) = object.take("status") {
        // RFC 6749 section 5.1 has the first.
        let read = |field: Field<'_>| field.whole(200, 201).map(|status| if status == 200 { 200 } else { 201 });
        answer.statuses = field.list()?.into_iter().map(read).collect::<Result<_, _>>()?;
    }
    answer.form = object.take("form").map_or(Ok(false), Field::boolean)?;
    let place = object.place.clone();
    object.end()?;
    if answer.token_type.is_none() && answer.assumed_token_type.is_none() {
        return Err(place.member("assume_token_type").error("is missing: the answer has no `token_type` to go by"));
    }
    Ok(answer)
}

/// A JSON pointer (RFC 6901) as the list of its parts.
fn read_pointer(field: Field<'_>) -> Result<Vec<String>, Error> {
    let place = field.place.clone();
    let text = field.text()?;
    let Some(path) = text.strip_prefix('/') else {
        return Err(place.error("is no JSON pointer: `/` and a member's name are expected, as in `/data/token`"));
    };
    Ok(path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// An authentication scheme (RFC 9110 section 11.1), or null for none.
fn read_scheme(field: Field<'_>) -> Result<Option<String>, Error> {
    if matches!(field.value, Value::Null) {
        return Ok(None);
    }
    let place = field.place.clone();
    let scheme = field.text()?;
    grammar::check(&scheme, grammar::TOKEN).map_err(|why| place.error(why))?;
    Ok(Some(scheme))
}

/// A word of the provider's own in the place of `client_credentials`. The names of other grants stand for what they are.
fn read_grant_type(field: Field<'_>) -> Result<String, Error> {
    let place = field.place.clone();
    let text = field.filled()?;
    grammar::check(&text, grammar::GRAPHIC).map_err(|why| place.error(why))?;
    if ["authorization_code", "refresh_token", "password", "implicit"].contains(&&*text) {
        return Err(place.error("is the name of another grant: list that one in `/grants`, if it is offered"));
    }
    Ok(text)
}

fn read_meaning((code, field): (String, Field<'_>)) -> Result<(String, Meaning), Error> {
    let mut object = field.object()?;
    let meaning = object.require("meaning")?.filled()?;
    let hint = object.take("hint").map(Field::filled).transpose()?;
    let choices: Vec<_> = STANDARD_ERRORS.iter().map(|code| (*code, *code)).collect();
    let means = object.take("means").map(|field| field.one_of(&choices)).transpose()?;
    let verdict = object.take("verdict").map(|field| field.one_of(VERDICTS)).transpose()?;
    object.end()?;
    Ok((code, Meaning { meaning, hint, means, verdict }))
}

/// A list of names, none of them twice, at least one.
fn distinct<T: Copy + PartialEq>(field: Field<'_>, choices: &[(&str, T)]) -> Result<Vec<T>, Error> {
    let place = field.place.clone();
    let mut found = Vec::new();
    for field in field.list()? {
        let place = field.place.clone();
        let choice = field.one_of(choices)?;
        if found.contains(&choice) {
            return Err(place.error("stands there twice: keep one of the two"));
        }
        found.push(choice);
    }
    if found.is_empty() {
        let allowed = document::alternatives(choices.iter().map(|(name, _)| *name));
        return Err(place.error(format!("is empty: {allowed} is allowed in it")));
    }
    Ok(found)
}

const DAY: i64 = 86_400_000;

const ENDPOINTS: &[&str] = &[
    "device_authorization",
    "backchannel_authentication",
    "pushed_authorization_request",
    "introspection",
    "revocation",
    "registration",
    "jwks",
];

const FORMS: &[(&str, MetadataForm)] =
    &[("oauth-authorization-server", MetadataForm::OAuth), ("openid-configuration", MetadataForm::OpenId)];

const METHODS: &[(&str, Method)] = &[("GET", Method::Get), ("POST", Method::Post)];

const UNITS: &[(&str, TimeUnit)] =
    &[("s", TimeUnit::Seconds), ("ms", TimeUnit::Milliseconds), ("iso8601", TimeUnit::Iso8601)];

/// What may stand between two scopes.
const SEPARATORS: &[(&str, char)] = &[(" ", ' '), (",", ',')];

/// RFC 6749 section 5.2, RFC 8707 section 2.
const STANDARD_ERRORS: &[&str] = &[
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
];

const VERDICTS: &[(&str, Verdict)] =
    &[("transient", Verdict::Transient), ("terminal", Verdict::Terminal), ("unexpected", Verdict::Unexpected)];

const FORMATS: &[(&str, Format)] = &[
    ("url", Format::Url),
    ("base_url", Format::BaseUrl),
    ("segment", Format::Segment),
    ("header_name", Format::HeaderName),
    ("header_value", Format::HeaderValue),
    ("text", Format::Text),
];

/// Headers that HTTP clients own (RFC 9110 section 7.6.1), and those that would change the message's meaning.
const CONNECTION_HEADERS: &[&str] =
    &["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
