//! Reading what a token endpoint answers.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::{fmt, str};

use crate::body::Body;
use crate::challenge;
use crate::clock::Now;
use crate::error::{Error, ErrorCode};
use crate::grammar::is_b64token;
use crate::header;
use crate::json::{Fault, Object, Value};
use crate::notice::NoticeKind;
use crate::secret::Secret;
use crate::token::TokenSet;
use crate::url::Origin;

/// Where the members of a token answer are. A path is a list of member names, as in `["data", "token"]`.
#[derive(Clone, Debug)]
pub struct AnswerShape {
    /// The token (RFC 6749 section 5.1: `access_token`).
    pub access_token: Vec<String>,
    /// Its type.
    pub token_type: Option<Vec<String>>,
    /// The type where the answer has none; without it a missing type is an error (STD-27).
    pub assumed_token_type: Option<String>,
    /// The lifetime in seconds.
    pub expires_in: Option<Vec<String>>,
    /// An absolute expiry, and its unit.
    pub expires_at: Option<(Vec<String>, TimeUnit)>,
    /// The refresh token.
    pub refresh_token: Option<Vec<String>>,
    /// The granted scope.
    pub scope: Option<Vec<String>>,
    /// What stands between two scopes.
    pub scope_separator: char,
    /// The statuses that may bring a token.
    pub statuses: Vec<u16>,
    /// A boolean that says whether the answer is a success at all (`{"ok": false, "error": …}`).
    pub ok: Option<Vec<String>>,
    /// Whether form-encoded answers are read too.
    pub form: bool,
}

/// The unit of an absolute expiry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimeUnit {
    /// Unix seconds.
    Seconds,
    /// Unix milliseconds.
    Milliseconds,
    /// ISO 8601 text with an offset, such as `2026-01-01T00:00:00Z` (RFC 3339).
    Iso8601,
}

/// What to do with a token whose answer tells no lifetime (STD-31).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissingLifetime {
    /// Assume this many milliseconds.
    Assume(i64),
    /// Hand it to those who wait, and do not keep it.
    DoNotCache,
}

/// What an error code means at one provider, where that differs from RFC 6749 section 5.2.
#[derive(Clone, Debug)]
pub struct ErrorMeaning {
    /// What it means there and what to do, for the error's hint.
    pub hint: String,
    /// The standard's own word for it.
    pub means: Option<&'static str>,
    /// How to treat it, if not as the RFC has it.
    pub verdict: Option<Verdict>,
}

/// How a refusal is treated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It may pass: back off and try again.
    Transient,
    /// Trying again would not help.
    Terminal,
    /// Not an answer that a token endpoint gives: nothing is concluded from it.
    Unexpected,
}

/// A token endpoint's answer.
#[derive(Clone, Copy)]
pub struct HttpResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The header lines as they came.
    pub headers: &'a [(String, String)],
    /// The body, content codings undone.
    pub body: &'a [u8],
}

/// No token came out of an answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// How to treat it.
    pub verdict: Verdict,
    /// The error for those who wait.
    pub error: Error,
    /// The pause that the server asks for, in milliseconds, not yet capped.
    pub retry_after: Option<i64>,
    /// A refresh token that the answer has all the same: it must not be lost.
    pub refresh_token: Option<Secret>,
}

/// All that is needed to read an answer.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Where things are.
    pub shape: &'a AnswerShape,
    /// What a missing lifetime means.
    pub missing_lifetime: MissingLifetime,
    /// What its error codes mean there.
    pub errors: &'a BTreeMap<String, ErrorMeaning>,
    /// The scope that was asked for.
    pub requested_scope: &'a [String],
    /// Values that must not be echoed into an error, whatever the server sends.
    pub secrets: [Option<&'a Secret>; 3],
    /// Both clocks at the start of the request.
    pub started: Now,
    /// Whether the token has to be bound to a key of the client's (RFC 9449 section 5); none if there is no such key.
    pub dpop: Option<bool>,
    /// Whether a token was exchanged (RFC 8693 section 2.2.1).
    pub is_exchange: bool,
    /// Who answers, for messages.
    pub server: &'static str,
    /// The longest body that is read, in bytes.
    pub cap: usize,
}

impl Reading<'_> {
    /// Reads an answer (RFC 6749 sections 5.1 and 5.2).
    ///
    /// # Errors
    /// A [`Refusal`] that says how to treat it.
    pub fn read(&self, response: HttpResponse<'_>) -> Result<TokenSet, Refusal> {
        let answer = self.open(&response);
        let outcome = match (self.shape.statuses.contains(&response.status), &answer) {
            (true, Ok(answer)) => self.token(&response, answer),
            (true, Err(unreadable)) => Err(self.unreadable(&response, *unreadable)),
            _ => Err(self.refused(&response, &answer)),
        };
        outcome.map_err(|refusal| Refusal {
            error: refusal.error.with_status(response.status),
            retry_after: header::retry_after(response.headers, self.started.wall),
            refresh_token: answer.ok().and_then(|answer| self.refresh_token(&answer).ok().flatten()),
            ..refusal
        })
    }

    /// Reads the answer of an endpoint that gives no token: a JSON object beside this status.
    pub(crate) fn body<'b>(&self, expected: u16, response: &HttpResponse<'b>) -> Result<Body<'b>, Refusal> {
        let answer = self.open(response);
        let outcome = match (response.status == expected, answer) {
            (true, Ok(Answer::Json(object))) => match object.find(&["error"]) {
                Ok(None | Some(Value::Bool(false))) => Ok(Body { object, bytes: response.body }),
                _ => Err(self.refused(&HttpResponse { status: 400, ..*response }, &Ok(Answer::Json(object)))),
            },
            (true, Ok(Answer::Form(_))) => Err(self.unreadable(response, Unreadable::Not(MediaType::Form))),
            (true, Err(unreadable)) => Err(self.unreadable(response, unreadable)),
            (false, answer) => Err(self.refused(response, &answer)),
        };
        outcome.map_err(|refusal| Refusal {
            error: refusal.error.with_status(response.status),
            retry_after: header::retry_after(response.headers, self.started.wall),
            ..refusal
        })
    }

    /// Finds out what the body is: by its content type, then by how it begins (P-9).
    fn open<'b>(&self, response: &HttpResponse<'b>) -> Result<Answer<'b>, Unreadable> {
        if response.body.len() > self.cap {
            return Err(Unreadable::TooLarge);
        }
        // One byte order mark may be ignored (RFC 8259 section 8.1).
        let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(response.body);
        let Some(begin) = body.iter().find(|byte| !byte.is_ascii_whitespace()) else {
            return Err(Unreadable::Not(MediaType::Nothing));
        };
        match MediaType::of(response.headers) {
            media if media == MediaType::Json || *begin == b'{' => {
                let text = str::from_utf8(body).map_err(|_| Unreadable::NotUtf8)?;
                Object::parse(text).map(Answer::Json).map_err(Unreadable::Json)
            }
            MediaType::Form | MediaType::Text | MediaType::Unknown if self.shape.form => Answer::form(body),
            media => Err(Unreadable::Not(media)),
        }
    }

    fn token(&self, response: &HttpResponse<'_>, answer: &Answer<'_>) -> Result<TokenSet, Refusal> {
        if let Some(refusal) = self.stated_error(response.status, answer)? {
            return Err(refusal);
        }
        self.check_success(answer)?;
        let mut oddities = Vec::new();
        let token_type = self.token_type(answer, &mut oddities)?;
        if self.is_exchange && find(answer, &["issued_token_type"])?.is_none() {
            return Err(unexpected(
                "the answer does not tell what was issued (`issued_token_type`, RFC 8693 section 2.2.1): check the token endpoint",
            ));
        }
        Ok(TokenSet {
            access_token: self.access_token(answer, &token_type)?,
            token_type,
            lifetime: self.lifetime(response, answer, &mut oddities)?,
            scope: self.scope(answer, &mut oddities)?,
            refresh_token: self.refresh_token(answer)?,
            started: self.started,
            oddities,
        })
    }

    fn access_token(&self, answer: &Answer<'_>, token_type: &str) -> Result<Secret, Refusal> {
        let path = &self.shape.access_token;
        match find(answer, path)? {
            Some(Value::Text(token)) if !token.is_empty() => {
                // Checked here, so that every token that exists can stand in a header (STD-45).
                let fits = match token_type {
                    "Bearer" | "DPoP" => token.is_b64token() || bearer_token_ok(&token),
                    _ => is_visible(&token),
                };
                if fits { Ok(Secret::new(token.into_owned())) } else { Err(wrong_characters(path)) }
            }
            Some(Value::Text(_)) | None => Err(unexpected(format!(
                "the answer has no `{}`: check the token endpoint, and where the profile says the token is",
                path.join(".")
            ))),
            Some(_) => Err(wrong_type(path, "text")),
        }
    }

    /// The refusal that an `error` member stands for, also beside status 200 (P-8).
    fn stated_error(&self, status: u16, answer: &Answer<'_>) -> Result<Option<Refusal>, Refusal> {
        match find(answer, &["error"])? {
            None | Some(Value::Bool(false)) => Ok(None),
            Some(Value::Text(code)) if code.is_empty() => Ok(None),
            Some(Value::Text(code)) => Ok(Some(self.by_code(status, &code))),
            // Not as RFC 6749 has it, but not a success either.
            Some(_) if status == 200 => Err(unexpected(
                "the answer has an `error` that is not an OAuth error code: check the token endpoint's URL",
            )),
            Some(_) => Ok(None),
        }
    }

    fn by_code(&self, status: u16, text: &str) -> Refusal {
        let meaning = self.errors.get(text);
        let standard = standard_meaning(meaning.and_then(|meaning| meaning.means).unwrap_or(text));
        let (code, verdict) = match (standard, status) {
            // RFC 6749 section 5.2 has this status for nothing else (Keycloak says so of a wrong secret).
            (Some((ErrorCode::UnauthorizedClient, verdict)), 401) => (ErrorCode::InvalidClient, verdict),
            (Some(standard), _) => standard,
            (None, 401) => (ErrorCode::InvalidClient, Verdict::Terminal),
            (None, _) => (ErrorCode::UnexpectedAnswer, Verdict::Unexpected),
        };
        let verdict = meaning.and_then(|meaning| meaning.verdict).unwrap_or(verdict);
        let code = match (verdict, code) {
            (Verdict::Transient, _) => ErrorCode::ServerUnavailable,
            (_, ErrorCode::ServerUnavailable) => ErrorCode::UnexpectedAnswer,
            (_, code) => code,
        };
        let mut refusal = refusal(verdict, Error::new(code, advice(code)));
        // What the standard or the profile spells out cannot give anything away.
        if standard.is_some() || meaning.is_some() || (is_error_code(text) && !self.resembles_secret(text)) {
            refusal.error = refusal.error.with_oauth_error(text);
        }
        if let Some(meaning) = meaning {
            refusal.error = refusal.error.with_hint(meaning.hint.clone());
        }
        refusal
    }

    /// The member that says in so many words whether the answer is a success.
    fn check_success(&self, answer: &Answer<'_>) -> Result<(), Refusal> {
        let Some(path) = &self.shape.ok else { return Ok(()) };
        match find(answer, path)? {
            None | Some(Value::Bool(true)) => Ok(()),
            Some(Value::Text(text)) if &*text == "true" => Ok(()),
            Some(_) => Err(unexpected(format!(
                "the answer says that it is no success (`{}`), and no more: look at the provider's logs",
                path.join(".")
            ))),
        }
    }

    fn token_type(&self, answer: &Answer<'_>, oddities: &mut Vec<NoticeKind>) -> Result<Cow<'static, str>, Refusal> {
        let assumed = self.shape.assumed_token_type.as_deref();
        let given = match &self.shape.token_type {
            Some(path) => match find(answer, path)? {
                Some(Value::Text(given)) => Some(given),
                Some(_) => return Err(wrong_type(path, "text")),
                None => None,
            },
            None => None,
        };
        match (given.as_deref(), assumed) {
            // Whoever asks for a bound token and gets another throws it away (STD-129).
            (Some(given), _) if self.dpop == Some(true) && !given.eq_ignore_ascii_case("DPoP") => Err(refusal(
                Verdict::Unexpected,
                Error::new(
                    ErrorCode::UnsupportedTokenType,
                    "the token is not bound to the key of `dpop`: have the provider enable it, or set `required` to `false` there",
                ),
            )),
            (Some(given), _) if self.dpop.is_some() && given.eq_ignore_ascii_case("DPoP") => Ok("DPoP".into()),
            // Not an access token: good for another exchange, and not for an API (STD-106).
            (Some(given), _) if self.is_exchange && given.eq_ignore_ascii_case(NOT_APPLICABLE) => {
                Ok(NOT_APPLICABLE.into())
            }
            (Some(given), _) if given.eq_ignore_ascii_case("Bearer") => Ok("Bearer".into()),
            (Some(given), Some(assumed)) if given.eq_ignore_ascii_case(assumed) => Ok(Cow::Owned(assumed.into())),
            (Some(_), _) => Err(refusal(
                Verdict::Unexpected,
                Error::new(
                    ErrorCode::UnsupportedTokenType,
                    "the token is not a `Bearer` token, and no other type can be used: have the provider issue one",
                ),
            )),
            (None, Some(assumed)) => {
                // A profile that says there is no such member leaves nothing to remark on.
                if self.shape.token_type.is_some() {
                    oddities.push(NoticeKind::TokenTypeAssumed(assumed.into()));
                }
                Ok(Cow::Owned(assumed.into()))
            }
            (None, None) => Err(unexpected(
                "the answer does not tell the token's type: if the provider documents one, have the profile assume it",
            )),
        }
    }

    /// The lifetime from the start of the request, in milliseconds.
    fn lifetime(
        &self,
        response: &HttpResponse<'_>,
        answer: &Answer<'_>,
        oddities: &mut Vec<NoticeKind>,
    ) -> Result<i64, Refusal> {
        // An age means that the answer was kept by somebody on the way, which it must not be.
        let age = header::age(response.headers);
        if age > 0 {
            oddities.push(NoticeKind::Aged(age));
        }
        if let Some(path) = &self.shape.expires_in {
            if let Some(value) = find(answer, path)? {
                let lifetime = integer(answer, path, value, oddities)?.saturating_mul(1000);
                return Ok(clamp(lifetime, oddities).saturating_sub(age));
            }
        }
        if let Some((path, unit)) = &self.shape.expires_at {
            if let Some(value) = find(answer, path)? {
                let expiry = instant(answer, path, *unit, value, oddities)?;
                let (left, aged) = self.left(expiry, age, response.headers);
                if left > 0 {
                    return Ok(clamp(left, oddities).saturating_sub(aged));
                }
            }
        }
        match self.missing_lifetime {
            MissingLifetime::Assume(millis) => {
                if self.shape.expires_in.is_some() || self.shape.expires_at.is_some() {
                    oddities.push(NoticeKind::LifetimeAssumed(millis));
                }
                Ok(millis.saturating_sub(age))
            }
            MissingLifetime::DoNotCache => {
                oddities.push(NoticeKind::NotCached);
                Ok(0)
            }
        }
    }

    /// How long it is until an absolute expiry, and how much of that the answer's age takes away: by the
    /// server's own clock where the answer shows it (P-11), and by ours otherwise, which has counted the age.
    ///
    /// A `Date` that makes more than ten years of what is less by our clock is broken, and not believed.
    fn left(&self, expiry: i64, age: i64, headers: &[(String, String)]) -> (i64, i64) {
        let by_our_clock = expiry.saturating_sub(self.started.wall);
        let date = header::first(headers, "date").and_then(|text| header::date(text, self.started.wall));
        match date.map(|date| expiry.saturating_sub(date)) {
            Some(left) if left <= MAX_LIFETIME || by_our_clock > MAX_LIFETIME => (left, age),
            _ => (by_our_clock, 0),
        }
    }

    fn scope(&self, answer: &Answer<'_>, oddities: &mut Vec<NoticeKind>) -> Result<Option<String>, Refusal> {
        let given = match &self.shape.scope {
            Some(path) => match find(answer, path)? {
                None => None,
                Some(Value::Text(scope)) if scope.bytes().all(is_printable) => {
                    Some(scope.replace(self.shape.scope_separator, " "))
                }
                Some(Value::Texts(Some(scopes))) if scopes.iter().all(|scope| scope.bytes().all(is_printable)) => {
                    Some(scopes.join(" "))
                }
                Some(_) => return Err(wrong_type(path, "a list of scopes")),
            },
            None => None,
        };
        let Some(granted) = given else {
            return Ok((!self.requested_scope.is_empty()).then(|| self.requested_scope.join(" ")));
        };
        if !is_list_of(&granted, self.requested_scope)
            && !self.requested_scope.iter().all(|wanted| contains_scope(&granted, wanted))
        {
            oddities.push(NoticeKind::ScopeNarrowed);
        }
        Ok(Some(granted))
    }

    fn refresh_token(&self, answer: &Answer<'_>) -> Result<Option<Secret>, Refusal> {
        let Some(path) = &self.shape.refresh_token else { return Ok(None) };
        match find(answer, path)? {
            None => Ok(None),
            Some(Value::Text(token)) if token.is_empty() => Ok(None),
            Some(Value::Text(token)) if is_visible(&token) => Ok(Some(Secret::new(token.into_owned()))),
            Some(Value::Text(_)) => Err(wrong_characters(path)),
            Some(_) => Err(wrong_type(path, "text")),
        }
    }

    /// What an answer means whose status is not 200 (STD-42).
    fn refused(&self, response: &HttpResponse<'_>, answer: &Result<Answer<'_>, Unreadable>) -> Refusal {
        match response.status {
            // An error code beside these is no verdict.
            408 | 429 | 500..=599 => refusal(
                Verdict::Transient,
                Error::new(ErrorCode::ServerUnavailable, advice(ErrorCode::ServerUnavailable)),
            ),
            300..=399 => self.redirected(response.headers),
            400..=499 => {
                let stated = match answer {
                    Ok(answer) => self.stated_error(response.status, answer),
                    Err(_) => Ok(None),
                };
                match stated {
                    Ok(Some(refusal)) => refusal,
                    // The status says enough (STD-36).
                    _ if response.status == 401 => self.unauthenticated(response.headers),
                    Err(refusal) => refusal,
                    Ok(None) => unexpected(format!(
                        "{} answered {} without an OAuth error code ({}): check its URL and method",
                        self.server,
                        response.status,
                        describe(response, answer.as_ref().err().copied())
                    )),
                }
            }
            status => unexpected(format!(
                "{} answered {status}, which is no success here: check its URL and method",
                self.server
            )),
        }
    }

    fn redirected(&self, headers: &[(String, String)]) -> Refusal {
        let target = header::first(headers, "location").and_then(|location| Origin::of_request(location, true).ok());
        match target {
            Some(origin) if !self.resembles_secret(origin.as_str()) => unexpected(format!(
                "{} redirects to `{}`, and credentials never follow a redirect: set the right endpoint",
                self.server,
                origin.as_str()
            )),
            _ => {
                unexpected(format!("{} redirects, and credentials never follow a redirect: check its URL", self.server))
            }
        }
    }

    fn unauthenticated(&self, headers: &[(String, String)]) -> Refusal {
        let error = Error::new(ErrorCode::InvalidClient, advice(ErrorCode::InvalidClient));
        let challenges = challenge::challenges(headers);
        let asked = KNOWN_SCHEMES.iter().find(|(scheme, _)| challenges.iter().any(|one| one.scheme == *scheme));
        let error = match asked {
            Some((_, hint)) => error.with_hint(*hint),
            None => error,
        };
        refusal(Verdict::Terminal, error)
    }

    /// Status 200 with a body that is not what was asked for.
    fn unreadable(&self, response: &HttpResponse<'_>, unreadable: Unreadable) -> Refusal {
        if matches!(unreadable, Unreadable::TooLarge) {
            let message = format!(
                "the answer has more than the {} bytes that are read: check the token endpoint's URL",
                self.cap
            );
            return refusal(Verdict::Unexpected, Error::new(ErrorCode::AnswerTooLarge, message));
        }
        if is_cut_short(response) {
            let message = "the answer was cut short on its way: try again later";
            return refusal(Verdict::Transient, Error::new(ErrorCode::TransportFailed, message));
        }
        let refusal = unexpected(format!(
            "{} answered {} instead of a token: check its URL",
            self.server,
            describe(response, Some(unreadable))
        ));
        match unreadable {
            Unreadable::Not(MediaType::Form) => Refusal {
                error: refusal.error.with_hint("the answer is form-encoded, which the profile does not declare"),
                ..refusal
            },
            _ => refusal,
        }
    }

    /// Whether a text shows any eight characters in a row of a secret, or all of a shorter one.
    fn resembles_secret(&self, text: &str) -> bool {
        self.secrets.iter().flatten().map(|secret| secret.expose().as_bytes()).filter(|secret| !secret.is_empty()).any(
            |secret| {
                let length = secret.len().min(8);
                secret
                    .windows(length)
                    .any(|part| text.as_bytes().windows(length).any(|shown| shown.eq_ignore_ascii_case(part)))
            },
        )
    }
}

impl fmt::Debug for HttpResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpResponse {{ {}, {} bytes, <redacted> }}", self.status, self.body.len())
    }
}

/// Whether a token may stand after `Bearer` in a header: `b64token` (RFC 6750 section 2.1, STD-45).
///
/// Blanks, line breaks, control characters and everything outside ASCII are refused here, before a header exists.
#[must_use]
pub fn bearer_token_ok(token: &str) -> bool {
    let token = token.trim_end_matches('=');
    !token.is_empty() && token.bytes().all(is_b64token)
}

/// A body that can be read.
enum Answer<'a> {
    Json(Object<'a>),
    Form(Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

impl<'a> Answer<'a> {
    fn form(body: &'a [u8]) -> Result<Self, Unreadable> {
        let members: Vec<_> = form_urlencoded::parse(body.trim_ascii()).take(MAX_FORM_MEMBERS + 1).collect();
        if members.len() > MAX_FORM_MEMBERS {
            return Err(Unreadable::Json(Fault::TooManyMembers));
        }
        // The parser puts U+FFFD where bytes are not UTF-8. No value that we read can hold one.
        if members.iter().any(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}')) {
            return Err(Unreadable::NotUtf8);
        }
        Ok(Self::Form(members))
    }

    fn find(&self, path: &[impl AsRef<str>]) -> Result<Option<Value<'_>>, Fault> {
        let members = match self {
            Self::Json(object) => return object.find(path),
            Self::Form(members) => members,
        };
        let [name] = path else { return Ok(None) };
        let mut found = members.iter().filter(|(known, _)| known == name.as_ref()).map(|(_, value)| &**value);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Fault::Repeated),
            // A parameter without a value counts as left out (RFC 6749 section 3.2).
            (None | Some(""), None) => Ok(None),
            (Some(value), None) => Ok(Some(Value::Text(value.into()))),
        }
    }
}

/// Why a body cannot be read.
#[derive(Clone, Copy)]
enum Unreadable {
    TooLarge,
    NotUtf8,
    Json(Fault),
    Not(MediaType),
}

/// What a body is, as far as it matters here. Its exact type is the server's text and is not shown.
#[derive(Clone, Copy, Eq, PartialEq)]
enum MediaType {
    Json,
    Form,
    Html,
    Text,
    Nothing,
    Unknown,
}

impl MediaType {
    fn of(headers: &[(String, String)]) -> Self {
        let Some(text) = header::first(headers, "content-type") else { return Self::Unknown };
        let essence = text.split(';').next().unwrap_or(text).trim_end();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/json") || is("text/json") || ends_with_ignoring_case(essence, "+json") {
            Self::Json
        } else if is("application/x-www-form-urlencoded") {
            Self::Form
        } else if is("text/html") || is("application/xhtml+xml") {
            Self::Html
        } else if is("text/plain") {
            Self::Text
        } else {
            Self::Unknown
        }
    }
}

fn ends_with_ignoring_case(text: &str, suffix: &str) -> bool {
    let start = text.len().saturating_sub(suffix.len());
    text.split_at_checked(start).is_some_and(|(_, end)| end.eq_ignore_ascii_case(suffix))
}

/// What a body is, for a message.
fn describe(response: &HttpResponse<'_>, unreadable: Option<Unreadable>) -> String {
    let what = match unreadable {
        None => "a JSON object",
        Some(Unreadable::TooLarge) => "a body over the size limit",
        Some(Unreadable::NotUtf8) => "a body that is not UTF-8",
        Some(Unreadable::Json(Fault::CutShort)) => "JSON that ends in the middle",
        Some(Unreadable::Json(Fault::TooDeep)) => "JSON that is nested too deep",
        Some(Unreadable::Json(Fault::TooManyMembers)) => "too many members",
        Some(Unreadable::Json(_)) => "a body that is not a JSON object",
        Some(Unreadable::Not(MediaType::Form)) => "form data",
        Some(Unreadable::Not(MediaType::Html)) => "HTML",
        Some(Unreadable::Not(MediaType::Text)) => "plain text",
        Some(Unreadable::Not(MediaType::Nothing)) => return "an empty body".into(),
        Some(Unreadable::Not(MediaType::Json | MediaType::Unknown)) => "a body of another type",
    };
    format!("{what}, {} bytes", response.body.len())
}

fn find<'a>(answer: &'a Answer<'_>, path: &[impl AsRef<str>]) -> Result<Option<Value<'a>>, Refusal> {
    answer.find(path).map_err(|fault| {
        let names: Vec<_> = path.iter().map(AsRef::as_ref).collect();
        let names = names.join(".");
        unexpected(match fault {
            Fault::Repeated => format!("the answer has a member of `{names}` twice, so it is not clear which counts"),
            _ => format!("`{names}` of the answer cannot be read: check where the profile says it is"),
        })
    })
}

fn refusal(verdict: Verdict, error: Error) -> Refusal {
    Refusal { verdict, error, retry_after: None, refresh_token: None }
}

pub(crate) fn unexpected(message: impl Into<Cow<'static, str>>) -> Refusal {
    refusal(Verdict::Unexpected, Error::new(ErrorCode::UnexpectedAnswer, message))
}

fn wrong_type(path: &[String], expected: &str) -> Refusal {
    unexpected(format!("`{}` of the answer is not {expected}: check where the profile says it is", path.join(".")))
}

fn wrong_characters(path: &[String]) -> Refusal {
    unexpected(format!(
        "`{}` of the answer holds characters that no such token may have, such as a blank or a line break",
        path.join(".")
    ))
}

/// The type of a token that is no access token (RFC 8693 section 2.2.1).
pub(crate) const NOT_APPLICABLE: &str = "N_A";

/// What RFC 6749 section 5.2 and its kin say about an error code.
fn standard_meaning(code: &str) -> Option<(ErrorCode, Verdict)> {
    Some(match code {
        "access_denied" => (ErrorCode::AccessDenied, Verdict::Terminal),
        "invalid_client" => (ErrorCode::InvalidClient, Verdict::Terminal),
        "invalid_dpop_proof" | "use_dpop_nonce" => (ErrorCode::InvalidDpopProof, Verdict::Terminal),
        "invalid_grant" => (ErrorCode::InvalidGrant, Verdict::Terminal),
        "invalid_request" => (ErrorCode::InvalidRequest, Verdict::Terminal),
        "invalid_scope" => (ErrorCode::InvalidScope, Verdict::Terminal),
        "invalid_target" => (ErrorCode::InvalidTarget, Verdict::Terminal),
        "unauthorized_client" => (ErrorCode::UnauthorizedClient, Verdict::Terminal),
        "unsupported_grant_type" => (ErrorCode::UnsupportedGrantType, Verdict::Terminal),
        _ => return None,
    })
}

fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::AccessDenied => "the server denies access: check what this client is allowed at the provider",
        ErrorCode::InvalidClient => {
            "the server does not accept the client's credentials: check `client_id`, `client_secret` and where they are sent"
        }
        ErrorCode::InvalidGrant => {
            "the server does not accept the code or refresh token, which may be used up, revoked or too old: authorize again"
        }
        ErrorCode::InvalidRequest => "the server finds the request malformed: check the profile and the parameters",
        ErrorCode::InvalidDpopProof => {
            "the server does not accept the proof of possession: check the clock, the key of `dpop` and its algorithm"
        }
        ErrorCode::InvalidTarget => {
            "the resource or audience is unknown or not allowed for this client: check `resource` and `audience`"
        }
        ErrorCode::InvalidScope => "a scope is unknown or not allowed for this client: check `scope`",
        ErrorCode::ServerUnavailable => "the token endpoint is overloaded or out of order: try again later",
        ErrorCode::UnauthorizedClient => "this client may not use this grant: have it enabled at the provider",
        ErrorCode::UnsupportedGrantType => "the server does not know this grant: check the profile and the endpoint",
        _ => "the token endpoint answered with an error code that is not in RFC 6749: see the provider's documentation",
    }
}

/// `1*NQSCHAR` without end (RFC 6749 appendix A.7), of a length that codes have.
fn is_error_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~'))
}

fn is_cut_short(response: &HttpResponse<'_>) -> bool {
    let announced = header::first(response.headers, "content-length").and_then(|text| text.parse::<usize>().ok());
    let coded = header::first(response.headers, "content-encoding").is_some();
    !coded && announced.is_some_and(|length| length > response.body.len())
}

/// Seconds, or whatever else is a whole number (P-6).
fn integer(
    answer: &Answer<'_>,
    path: &[String],
    value: Value<'_>,
    oddities: &mut Vec<NoticeKind>,
) -> Result<i64, Refusal> {
    let number = match &value {
        Value::Number(text) => decimal(text),
        Value::Text(text) if (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            decimal(text)
        }
        _ => None,
    };
    let plain = match &value {
        Value::Number(text) => text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()),
        _ => matches!(answer, Answer::Form(_)),
    };
    let number = number.ok_or_else(|| wrong_type(path, "a whole number"))?;
    if !plain && !oddities.contains(&NoticeKind::LenientNumber) {
        oddities.push(NoticeKind::LenientNumber);
    }
    Ok(number)
}

/// The value of a JSON number that is whole, saturating; none if it is not.
fn decimal(text: &str) -> Option<i64> {
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    // What no i32 can hold is far beyond any number of digits that fits into an answer.
    let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { i32::MIN } else { i32::MAX });
    let mut scale = i64::from(exponent).saturating_sub(i64::try_from(fraction.len()).ok()?);
    let mut value = 0i64;
    let mut zeros = 0i64;
    for digit in whole.bytes().chain(fraction.bytes()) {
        zeros = if digit == b'0' { zeros.saturating_add(1) } else { 0 };
        value = value.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0')));
    }
    if value == 0 {
        return Some(0);
    }
    if scale < 0 {
        // Only zeros may be cut off. They are taken from the text, for the value may have saturated.
        if zeros < scale.saturating_neg() {
            return None;
        }
        let kept = whole.len().checked_sub(usize::try_from(scale.saturating_neg()).ok()?)?;
        value = whole
            .bytes()
            .take(kept)
            .fold(0i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0'))));
    }
    while scale > 0 && value < i64::MAX {
        value = value.saturating_mul(10);
        scale = scale.saturating_sub(1);
    }
    Some(if negative { value.saturating_neg() } else { value })
}

/// An absolute expiry in Unix milliseconds.
fn instant(
    answer: &Answer<'_>,
    path: &[String],
    unit: TimeUnit,
    value: Value<'_>,
    oddities: &mut Vec<NoticeKind>,
) -> Result<i64, Refusal> {
    match unit {
        TimeUnit::Milliseconds => integer(answer, path, value, oddities),
        TimeUnit::Seconds => {
            let seconds = integer(answer, path, value, oddities)?;
            if seconds > MAX_PLAUSIBLE_SECONDS {
                return Err(unexpected(format!(
                    "`{}` of the answer is too large for seconds: declare it as milliseconds in the profile",
                    path.join(".")
                )));
            }
            Ok(seconds.saturating_mul(1000))
        }
        TimeUnit::Iso8601 => match value {
            Value::Text(text) => iso8601(&text).ok_or_else(|| wrong_type(path, "a date like `2026-01-01T00:00:00Z`")),
            _ => Err(wrong_type(path, "a date like `2026-01-01T00:00:00Z`")),
        },
    }
}

/// A date, a time and an offset (RFC 3339 section 5.6), the offset also as `+0100` or `+01`.
fn iso8601(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let mut parts = date.split('-');
    let (year, month, day) =
        (header::digits(parts.next()?, 4)?, header::digits(parts.next()?, 2)?, header::digits(parts.next()?, 2)?);
    if parts.next().is_some() {
        return None;
    }
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => {
            let length = rest.bytes().position(|byte| !byte.is_ascii_digit())?;
            let (fraction, offset) = rest.split_at_checked(length)?;
            (if fraction.is_empty() { return None } else { fraction }, offset)
        }
        None => ("", rest),
    };
    let millis = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0i64, |millis, digit| millis.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0'))));
    let at = header::unix_millis(year, month, day, header::time_of_day(time)?.saturating_add(millis))?;
    Some(at.saturating_sub(utc_offset(offset)?))
}

/// The offset of a zone from UTC, in milliseconds.
fn utc_offset(text: &str) -> Option<i64> {
    let (sign, text) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = text.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { "00" } else { minutes.strip_prefix(':').unwrap_or(minutes) };
    let (hours, minutes) = (header::digits(hours, 2)?, header::digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn clamp(lifetime: i64, oddities: &mut Vec<NoticeKind>) -> i64 {
    if lifetime > MAX_LIFETIME {
        oddities.push(NoticeKind::LifetimeClamped);
    }
    lifetime.min(MAX_LIFETIME)
}

/// Whether what was granted is, letter for letter, what was asked for.
fn is_list_of(granted: &str, scopes: &[String]) -> bool {
    let mut rest = Some(granted);
    for (at, scope) in scopes.iter().enumerate() {
        let separator = if at == 0 { "" } else { " " };
        rest = rest.and_then(|rest| rest.strip_prefix(separator)?.strip_prefix(scope.as_str()));
    }
    rest == Some("")
}

/// Whether a scope is among those granted. Commas separate too: some providers use them (GitHub).
fn contains_scope(granted: &str, wanted: &str) -> bool {
    let is_wanted = |scope: &[u8]| scope == wanted.as_bytes();
    let mut scopes = granted.as_bytes().split(|byte| *byte == b' ');
    scopes.any(|scope| is_wanted(scope) || scope.split(|byte| *byte == b',').any(is_wanted))
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// `*VSCHAR` without blanks, as tokens have it.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
}

/// What a 401 without an error code may ask for, and what that hints at (STD-36).
const KNOWN_SCHEMES: [(&str, &str); 3] = [
    ("basic", "the server asks for `Basic` authentication"),
    ("dpop", "the server asks for a `DPoP` proof"),
    ("bearer", "the server asks for a `Bearer` token, so the URL may be that of an API and not of the token endpoint"),
];

/// Ten years of 365 days, in milliseconds. A longer life is taken for a mistake and cut to this.
pub const MAX_LIFETIME: i64 = 315_360_000_000;

/// 100,000,000,000 seconds after 1970 is the year 5138; as milliseconds it is 1973.
const MAX_PLAUSIBLE_SECONDS: i64 = 100_000_000_000;

const MAX_FORM_MEMBERS: usize = 256;

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use alloc::vec::Vec;

    use super::{
        AnswerShape, ErrorMeaning, HttpResponse, MAX_LIFETIME, MissingLifetime, Reading, Refusal, TimeUnit, Verdict,
        bearer_token_ok, decimal, iso8601,
    };
    use crate::clock::Now;
    use crate::error::{ErrorCode, Family};
    use crate::notice::NoticeKind;
    use crate::secret::Secret;
    use crate::token::TokenSet;

    const WALL: i64 = 1_700_000_000_000;
    const HOUR: i64 = 3_600_000;
    const ASSUMED: i64 = 600_000;

    /// A reading as in RFC 6749, whose parts a test may change.
    struct Given {
        shape: AnswerShape,
        missing_lifetime: MissingLifetime,
        errors: BTreeMap<String, ErrorMeaning>,
        scope: Vec<String>,
        secrets: Vec<Secret>,
        headers: Vec<(String, String)>,
        cap: usize,
    }

    fn path(name: &str) -> Vec<String> {
        name.split('.').map(String::from).collect()
    }

    fn given() -> Given {
        Given {
            shape: AnswerShape {
                access_token: path("access_token"),
                token_type: Some(path("token_type")),
                assumed_token_type: None,
                expires_in: Some(path("expires_in")),
                expires_at: None,
                refresh_token: Some(path("refresh_token")),
                scope: Some(path("scope")),
                scope_separator: ' ',
                statuses: [200].into(),
                ok: None,
                form: false,
            },
            missing_lifetime: MissingLifetime::Assume(ASSUMED),
            errors: BTreeMap::new(),
            scope: Vec::new(),
            secrets: Vec::new(),
            headers: Vec::new(),
            cap: 4096,
        }
    }

    impl Given {
        fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
            change(&mut self);
            self
        }

        fn header(mut self, name: &str, value: &str) -> Self {
            self.headers.push((name.into(), value.into()));
            self
        }

        fn read(&self, status: u16, body: impl AsRef<[u8]>) -> Result<TokenSet, Refusal> {
            let reading = Reading {
                dpop: None,
                is_exchange: false,
                server: "the token endpoint",
                shape: &self.shape,
                missing_lifetime: self.missing_lifetime,
                errors: &self.errors,
                requested_scope: &self.scope,
                secrets: [self.secrets.first(), None, None],
                started: Now { wall: WALL, boot: 7 },
                cap: self.cap,
            };
            reading.read(HttpResponse { status, headers: &self.headers, body: body.as_ref() })
        }

        fn refused(&self, status: u16, body: impl AsRef<[u8]>) -> (Verdict, ErrorCode) {
            let refusal = self.read(status, body).unwrap_err();
            assert_eq!(refusal.error.status(), Some(status));
            (refusal.verdict, refusal.error.code())
        }
    }

    const UNEXPECTED: (Verdict, ErrorCode) = (Verdict::Unexpected, ErrorCode::UnexpectedAnswer);
    const UNAVAILABLE: (Verdict, ErrorCode) = (Verdict::Transient, ErrorCode::ServerUnavailable);

    fn with_members(members: &str) -> String {
        format!(r#"{{"access_token": "T", "token_type": "Bearer", {members}}}"#)
    }

    /// The lifetime and the oddities of an answer with this `expires_in`.
    fn lifetime(expires_in: &str) -> Result<(i64, Vec<NoticeKind>), ErrorCode> {
        match given().read(200, with_members(&format!("\"expires_in\": {expires_in}"))) {
            Ok(set) => Ok((set.lifetime, set.oddities)),
            Err(refusal) => Err(refusal.error.code()),
        }
    }

    #[test]
    fn a_plain_answer_is_read() {
        let set = given()
            .with(|given| given.scope = vec!["a".into(), "b".into()])
            .header("Content-Type", "application/json;charset=UTF-8")
            .read(
                200,
                r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example_x","expires_in":3600}"#
                    .replace("example_x", "bearer"),
            )
            .unwrap();
        assert_eq!(set.access_token.expose(), "2YotnFZFEjr1zCsicMWpAA");
        assert_eq!(set.token_type, "Bearer");
        assert_eq!(set.lifetime, HOUR);
        assert_eq!(set.scope.as_deref(), Some("a b"));
        assert!(set.refresh_token.is_none());
        assert_eq!(set.started, Now { wall: WALL, boot: 7 });
        assert_eq!(set.oddities, []);
    }

    #[test]
    fn unknown_members_are_ignored_whatever_they_are_std_24() {
        let set = given().read(200, with_members(r#""expires_in": 1, "x": {"y": [1e999, "\u00fc", null]}, "x": 2"#));
        assert_eq!(set.unwrap().lifetime, 1000);
    }

    #[test]
    fn every_documented_shape_of_a_lifetime_has_its_meaning_p_6() {
        let plain = |lifetime: i64| Ok((lifetime, vec![]));
        let lenient = |lifetime: i64| Ok((lifetime, vec![NoticeKind::LenientNumber]));
        let clamped = Ok((MAX_LIFETIME, vec![NoticeKind::LifetimeClamped]));
        let assumed = Ok((ASSUMED, vec![NoticeKind::LifetimeAssumed(ASSUMED)]));
        assert_eq!(lifetime("3600"), plain(HOUR));
        assert_eq!(lifetime("\"3600\""), lenient(HOUR));
        assert_eq!(lifetime("\"0003600\""), lenient(HOUR));
        assert_eq!(lifetime("3600.0"), lenient(HOUR));
        assert_eq!(lifetime("3.6e3"), lenient(HOUR));
        assert_eq!(lifetime("1E+3"), lenient(1_000_000));
        assert_eq!(lifetime("360000e-2"), lenient(HOUR));
        assert_eq!(lifetime("0"), plain(0));
        assert_eq!(lifetime("-0"), plain(0));
        assert_eq!(lifetime("-1"), plain(-1000));
        assert_eq!(lifetime("-1e400"), lenient(i64::MIN));
        assert_eq!(lifetime("315360000"), plain(MAX_LIFETIME));
        assert_eq!(lifetime("315360001"), clamped);
        assert_eq!(lifetime("9223372036854775807"), clamped);
        assert_eq!(lifetime("99999999999999999999999999"), clamped);
        assert_eq!(lifetime("1e400"), Ok((MAX_LIFETIME, vec![NoticeKind::LenientNumber, NoticeKind::LifetimeClamped])));
        assert_eq!(lifetime("null"), assumed);
        for garbage in [
            "true",
            "false",
            "{}",
            "[]",
            "[3600]",
            "\"\"",
            "\" 3600 \"",
            "\"-1\"",
            "\"+1\"",
            "\"1e3\"",
            "\"3600.0\"",
            "\"soon\"",
            "\"NaN\"",
            "3600.5",
            "1e-3",
            "\"12345678901234567890\"",
            "\"３６００\"",
        ] {
            assert_eq!(lifetime(garbage), Err(ErrorCode::UnexpectedAnswer), "{garbage}");
        }
        assert_eq!(lifetime("NaN"), Err(ErrorCode::UnexpectedAnswer));
    }

    #[test]
    fn a_number_is_read_without_rounding() {
        assert_eq!(decimal("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(decimal("9.223372036854775807e18"), Some(i64::MAX));
        assert_eq!(decimal("123e-1"), None);
        assert_eq!(decimal("120e-1"), Some(12));
        assert_eq!(decimal("0.12e2"), Some(12));
        assert_eq!(decimal("0.12e1"), None);
        assert_eq!(decimal("1.50e1"), Some(15));
        assert_eq!(decimal("0e99999999999999"), Some(0));
        assert_eq!(decimal("1e-99999999999999"), None);
        assert_eq!(decimal("1e99999999999999"), Some(i64::MAX));
        assert_eq!(decimal(&format!("12{}e-40", "0".repeat(40))), Some(12));
    }

    #[test]
    fn a_longer_lifetime_never_reads_as_a_shorter_one_p_6() {
        let mut last = i64::MIN;
        for power in 0..80 {
            for digit in 1..10 {
                let read = decimal(&format!("{digit}{}", "0".repeat(power))).unwrap();
                assert!(read >= last);
                assert_eq!(decimal(&format!("{digit}e{power}")), Some(read));
                last = read;
            }
        }
    }

    #[test]
    fn a_missing_lifetime_is_what_the_policy_says_std_31() {
        let body = r#"{"access_token": "T", "token_type": "Bearer"}"#;
        let set = given().read(200, body).unwrap();
        assert_eq!((set.lifetime, set.oddities), (ASSUMED, vec![NoticeKind::LifetimeAssumed(ASSUMED)]));
        let set = given().with(|given| given.missing_lifetime = MissingLifetime::DoNotCache).read(200, body).unwrap();
        assert_eq!((set.lifetime, set.oddities), (0, vec![NoticeKind::NotCached]));
    }

    fn absolute(unit: TimeUnit, expiry: &str, date: Option<&str>) -> Result<(i64, Vec<NoticeKind>), String> {
        let mut given = given().with(|given| {
            given.shape.expires_in = None;
            given.shape.expires_at = Some((path("expiry"), unit));
        });
        if let Some(date) = date {
            given = given.header("Date", date);
        }
        match given.read(200, with_members(&format!("\"expiry\": {expiry}"))) {
            Ok(set) => Ok((set.lifetime, set.oddities)),
            Err(refusal) => Err(refusal.error.to_string()),
        }
    }

    #[test]
    fn an_absolute_expiry_counts_from_the_answers_own_date_p_11() {
        use TimeUnit::{Iso8601, Milliseconds, Seconds};
        let assumed = Ok((ASSUMED, vec![NoticeKind::LifetimeAssumed(ASSUMED)]));
        // Our clock shows 2023-11-14T22:13:20Z, the server's is a year behind.
        let behind = Some("Mon, 14 Nov 2022 22:13:20 GMT");
        assert_eq!(absolute(Seconds, "1668467600", behind), Ok((HOUR, vec![])));
        assert_eq!(absolute(Milliseconds, "1668467600000", behind), Ok((HOUR, vec![])));
        assert_eq!(absolute(Iso8601, "\"2022-11-14T23:13:20Z\"", behind), Ok((HOUR, vec![])));
        assert_eq!(absolute(Iso8601, "\"2022-11-15t00:13:20.500+01:00\"", behind), Ok((HOUR + 500, vec![])));
        assert_eq!(absolute(Seconds, "1700003600", None), Ok((HOUR, vec![])));
        assert_eq!(absolute(Seconds, "1700003600", Some("yesterday")), Ok((HOUR, vec![])));
        assert_eq!(absolute(Seconds, "\"1700003600\"", None), Ok((HOUR, vec![NoticeKind::LenientNumber])));
        // At or before `Date` is no lifetime at all, whatever our clock says.
        assert_eq!(absolute(Seconds, "1668464000", behind), assumed);
        assert_eq!(absolute(Seconds, "1700003600", Some("Thu, 14 Nov 2024 22:13:20 GMT")), assumed);
        assert_eq!(absolute(Seconds, "1600000000", None), assumed);
        assert_eq!(absolute(Seconds, "-1", None), assumed);
        assert_eq!(absolute(Seconds, "null", None), assumed);
    }

    #[test]
    fn a_date_from_another_age_is_not_believed_p_11() {
        let epoch = Some("Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(absolute(TimeUnit::Seconds, "1700003600", epoch), Ok((HOUR, vec![])));
        assert_eq!(
            absolute(TimeUnit::Seconds, "9000000000", epoch),
            Ok((MAX_LIFETIME, vec![NoticeKind::LifetimeClamped]))
        );
    }

    #[test]
    fn milliseconds_taken_for_seconds_are_an_error_that_says_so_p_11() {
        assert!(absolute(TimeUnit::Seconds, "1700003600000", None).unwrap_err().contains("milliseconds"));
        for (unit, expiry) in [
            (TimeUnit::Seconds, "true"),
            (TimeUnit::Milliseconds, "\"2026-01-01T00:00:00Z\""),
            (TimeUnit::Iso8601, "1700003600"),
            (TimeUnit::Iso8601, "\"tomorrow\""),
        ] {
            assert!(absolute(unit, expiry, None).is_err(), "{expiry}");
        }
    }

    #[test]
    fn dates_of_iso_8601_are_read_with_their_offset() {
        assert_eq!(iso8601("2023-11-14T22:13:20Z"), Some(WALL));
        for same in [
            "2023-11-14 22:13:20z",
            "2023-11-14T23:13:20+01:00",
            "2023-11-14T23:13:20+0100",
            "2023-11-14T23:13:20+01",
            "2023-11-14T16:43:20.000000000-05:30",
        ] {
            assert_eq!(iso8601(same), Some(WALL), "{same}");
        }
        assert_eq!(iso8601("2023-11-14T22:13:20.0419Z"), Some(WALL + 41));
        for wrong in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.5",
            "2023-13-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20+1:00",
            "2023-11-14T22:13:20Zx",
            "2023-11-14T22:13:20é",
            "20231114T221320Z",
        ] {
            assert_eq!(iso8601(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_relative_lifetime_is_believed_before_an_absolute_one() {
        let given = given().with(|given| given.shape.expires_at = Some((path("expires_at"), TimeUnit::Seconds)));
        let both = with_members(r#""expires_in": 60, "expires_at": 1700003600"#);
        assert_eq!(given.read(200, both).unwrap().lifetime, 60_000);
        let one = with_members(r#""expires_in": null, "expires_at": 1700003600"#);
        assert_eq!(given.read(200, one).unwrap().lifetime, HOUR);
    }

    #[test]
    fn the_age_of_an_answer_is_taken_off_std_142() {
        let age = |age: &str, body: &str| given().header("Age", age).read(200, with_members(body)).unwrap();
        let set = age("600", "\"expires_in\": 3600");
        assert_eq!((set.lifetime, set.oddities), (HOUR - 600_000, vec![NoticeKind::Aged(600_000)]));
        assert_eq!(age("4000", "\"expires_in\": 3600").lifetime, -400_000);
        assert_eq!(age("99999999999999999999", "\"expires_in\": 3600").lifetime, HOUR - i64::MAX);
        assert!(age("-1", "\"expires_in\": 3600").oddities.is_empty());
        assert_eq!(age("60", "\"x\": 1").lifetime, ASSUMED - 60_000);
        let absolute = given()
            .with(|given| given.shape.expires_at = Some((path("at"), TimeUnit::Seconds)))
            .header("Age", "600")
            .read(200, with_members("\"at\": 1700003600"));
        assert_eq!(absolute.unwrap().lifetime, HOUR, "our own clock has counted the age already");
    }

    #[test]
    fn the_token_type_is_compared_whatever_its_case_std_25() {
        for kind in ["Bearer", "bearer", "BEARER"] {
            let body = format!(r#"{{"access_token": "T", "token_type": "{kind}", "expires_in": 1}}"#);
            assert_eq!(given().read(200, body).unwrap().token_type, "Bearer");
        }
    }

    #[test]
    fn a_token_of_a_type_that_is_not_understood_is_not_used_std_26() {
        for kind in ["example", "mac", "DPoP", "N_A", "", "Bearer "] {
            let body = format!(r#"{{"access_token": "T", "token_type": "{kind}", "refresh_token": "R"}}"#);
            let refusal = given().read(200, body).unwrap_err();
            assert_eq!((refusal.verdict, refusal.error.code()), (Verdict::Unexpected, ErrorCode::UnsupportedTokenType));
            assert_eq!(refusal.refresh_token.unwrap().expose(), "R");
        }
    }

    #[test]
    fn a_missing_token_type_is_an_error_unless_the_profile_assumes_one_std_27() {
        for body in [r#"{"access_token": "T", "expires_in": 1}"#, r#"{"access_token": "T", "token_type": null}"#] {
            assert_eq!(given().refused(200, body), UNEXPECTED);
            let set = given().with(|given| given.shape.assumed_token_type = Some("Bearer".into())).read(200, body);
            let set = set.unwrap();
            assert_eq!(set.token_type, "Bearer");
            assert!(set.oddities.contains(&NoticeKind::TokenTypeAssumed("Bearer".into())));
        }
    }

    #[test]
    fn an_access_token_is_visible_ascii_and_not_empty_std_28() {
        for token in ["", "a b", "a\\nb", "a\\u0000", "ü", "\\u007f", "12345678\\u00901234567"] {
            let body = format!(r#"{{"access_token": "{token}", "token_type": "Bearer"}}"#);
            assert_eq!(given().refused(200, body), UNEXPECTED, "{token}");
        }
        for body in ["{}", r#"{"access_token": null}"#, r#"{"access_token": 5}"#, r#"{"access_token": ["T"]}"#] {
            assert_eq!(given().refused(200, body), UNEXPECTED, "{body}");
        }
        let escaped = given().read(200, r#"{"access\u005ftoken": "a\/b", "token_type": "Bearer"}"#).unwrap();
        assert_eq!(escaped.access_token.expose(), "a/b");
    }

    #[test]
    fn every_byte_of_a_token_is_looked_at() {
        for byte in 0..=127 {
            for at in 0..19 {
                let mut token = [b'a'; 19];
                token[at] = byte;
                let allowed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte) || (byte == b'=' && at == 18);
                assert_eq!(bearer_token_ok(core::str::from_utf8(&token).unwrap()), allowed, "{byte} at {at}");
            }
        }
        for character in '\u{80}'..='\u{7ff}' {
            let mut token = String::from("aaaaaaaa");
            token.insert(3, character);
            assert!(!bearer_token_ok(&token), "{character:?}");
        }
    }

    #[test]
    fn a_bearer_token_that_no_header_may_hold_is_refused_std_45() {
        let body =
            |kind: &str| format!(r#"{{"access_token": "1|a:b", "token_type": "{kind}", "refresh_token": "1|r"}}"#);
        assert_eq!(given().refused(200, body("Bearer")), UNEXPECTED);
        let other = given().with(|given| given.shape.assumed_token_type = Some("ApiKey".into()));
        let set = other.read(200, body("apikey")).unwrap();
        assert_eq!((set.access_token.expose(), &*set.token_type), ("1|a:b", "ApiKey"));
        assert_eq!(set.refresh_token.unwrap().expose(), "1|r");
    }

    #[test]
    fn a_token_of_64_kib_is_read_std_34() {
        let token = "x".repeat(65_536);
        let body = format!(r#"{{"access_token": "{token}", "token_type": "Bearer"}}"#);
        let set = given().with(|given| given.cap = 262_144).read(200, body).unwrap();
        assert_eq!(set.access_token.expose(), token);
    }

    #[test]
    fn only_a_b64token_may_stand_in_a_header_std_45() {
        for token in ["a", "AZaz09-._~+/", "abc==", "eyJ.eyJ.sig"] {
            assert!(bearer_token_ok(token), "{token}");
        }
        for token in ["", "=", "a=b", "a b", "a\r\n", "a\0", "é", "a,b", "\"a\"", "a;", "a:b"] {
            assert!(!bearer_token_ok(token), "{token:?}");
        }
    }

    #[test]
    fn scope_is_what_was_asked_for_unless_the_answer_says_otherwise_std_32() {
        let scope = |asked: &[&str], member: &str| {
            let given = given().with(|given| given.scope = asked.iter().copied().map(String::from).collect());
            let set = given.read(200, with_members(&format!("\"expires_in\": 1{member}"))).unwrap();
            (set.scope, set.oddities.contains(&NoticeKind::ScopeNarrowed))
        };
        assert_eq!(scope(&[], ""), (None, false));
        assert_eq!(scope(&["a", "b"], ""), (Some("a b".into()), false));
        assert_eq!(scope(&["a", "b"], r#", "scope": null"#), (Some("a b".into()), false));
        assert_eq!(scope(&["a", "b"], r#", "scope": "b c a""#), (Some("b c a".into()), false));
        assert_eq!(scope(&["a", "b"], r#", "scope": "a""#), (Some("a".into()), true));
        assert_eq!(scope(&["a", "b"], r#", "scope": """#), (Some("".into()), true));
        assert_eq!(scope(&[], r#", "scope": "a""#), (Some("a".into()), false));
        assert_eq!(scope(&["a", "b"], r#", "scope": ["a", "b"]"#), (Some("a b".into()), false), "as Twitch has it");
        assert_eq!(scope(&["repo", "gist"], r#", "scope": "repo,gist""#), (Some("repo,gist".into()), false));
        for garbage in ["5", "{}", "[1]", "\"a\\nb\"", "\"ü\""] {
            assert_eq!(given().refused(200, with_members(&format!("\"scope\": {garbage}"))), UNEXPECTED);
        }
    }

    #[test]
    fn null_counts_as_absent_std_37() {
        let set = given().read(200, with_members(r#""refresh_token": null, "scope": null, "error": null"#)).unwrap();
        assert!(set.refresh_token.is_none() && set.scope.is_none());
    }

    #[test]
    fn an_empty_refresh_token_is_none_std_33() {
        assert!(given().read(200, with_members(r#""refresh_token": """#)).unwrap().refresh_token.is_none());
        let set = given().read(200, with_members(r#""refresh_token": "R""#)).unwrap();
        assert_eq!(set.refresh_token.unwrap().expose(), "R");
    }

    #[test]
    fn a_repeated_member_that_matters_is_refused_std_38_p_5() {
        for member in ["access_token", "token_type", "expires_in", "refresh_token", "scope", "error"] {
            let body = format!(
                r#"{{"access_token": "T", "token_type": "Bearer", "expires_in": 1, "refresh_token": "R", "scope": "a", "error": null, "{member}": null}}"#
            );
            assert_eq!(given().refused(200, body), UNEXPECTED, "{member}");
        }
        let nested = given().with(|given| given.shape.access_token = path("data.token"));
        let body = r#"{"data": {"token": "T", "token": "U"}, "token_type": "Bearer"}"#;
        assert_eq!(nested.refused(200, body), UNEXPECTED);
        let twice = r#"{"data": {"token": "T"}, "data": {"token": "T"}, "token_type": "Bearer"}"#;
        assert_eq!(nested.refused(200, twice), UNEXPECTED);
    }

    #[test]
    fn a_nested_answer_is_read_where_the_profile_says_p_8() {
        let given = given().with(|given| {
            given.shape.access_token = path("authed_user.access_token");
            given.shape.token_type = Some(path("authed_user.token_type"));
            given.shape.ok = Some(path("ok"));
        });
        let body = r#"{"ok": true, "authed_user": {"access_token": "T", "token_type": "bearer"}}"#;
        assert_eq!(given.read(200, body).unwrap().access_token.expose(), "T");
        assert_eq!(given.refused(200, r#"{"ok": true, "authed_user": "x"}"#), UNEXPECTED);
        assert_eq!(given.refused(200, body.replace("true", "false")), UNEXPECTED);
        assert_eq!(given.refused(200, body.replace("true", "1")), UNEXPECTED);
        let refusal = given.read(200, r#"{"ok": false, "error": "invalid_auth"}"#).unwrap_err();
        assert_eq!(refusal.error.oauth_error(), Some("invalid_auth"));
    }

    #[test]
    fn an_error_beside_status_200_is_an_error_p_8() {
        let body = r#"{"error": "invalid_grant", "access_token": "T", "token_type": "Bearer"}"#;
        assert_eq!(given().refused(200, body), (Verdict::Terminal, ErrorCode::InvalidGrant));
        let github = given().read(200, r#"{"error": "bad_verification_code"}"#).unwrap_err();
        assert_eq!((github.verdict, github.error.code()), UNEXPECTED);
        assert_eq!(github.error.oauth_error(), Some("bad_verification_code"));
        assert_eq!(given().refused(200, with_members(r#""error": {"code": 5}"#)), UNEXPECTED);
        assert!(given().read(200, with_members(r#""error": """#)).is_ok());
        assert!(given().read(200, with_members(r#""error": false"#)).is_ok());
    }

    #[test]
    fn one_byte_order_mark_is_ignored_std_39() {
        let body = with_members("\"expires_in\": 1");
        assert!(given().read(200, format!("\u{feff}{body}")).is_ok());
        assert_eq!(given().refused(200, format!("\u{feff}\u{feff}{body}")), UNEXPECTED);
    }

    #[test]
    fn what_is_not_utf_8_is_refused_and_never_repaired_p_9() {
        let body = [&b"{\"x\": \"\xff\", "[..], &with_members("\"expires_in\": 1").as_bytes()[1..]].concat();
        assert_eq!(given().refused(200, body), UNEXPECTED);
        let utf16: Vec<u8> = "{\"access_token\"".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(given().refused(200, utf16), UNEXPECTED);
    }

    #[test]
    fn json_is_recognised_by_type_or_by_its_beginning_p_9() {
        let body = format!(" \r\n{}", with_members("\"expires_in\": 1"));
        for media in ["application/json", "Application/JSON; charset=utf-8", "application/x+json", "text/html", "x"] {
            assert!(given().header("content-type", media).read(200, &body).is_ok(), "{media}");
        }
        assert!(given().read(200, &body).is_ok());
    }

    #[test]
    fn what_is_no_token_answer_is_described_and_not_shown_p_1_p_9() {
        let html = given().header("Content-Type", "text/html; x=hunter2").read(200, "<p>hunter2</p>").unwrap_err();
        assert_eq!((html.verdict, html.error.code()), UNEXPECTED);
        assert_eq!(
            html.error.to_string(),
            "the token endpoint answered HTML, 14 bytes instead of a token: check its URL"
        );
        for (body, text) in [
            ("", "an empty body"),
            (" \n", "an empty body"),
            ("hunter2", "a body of another type, 7 bytes"),
            ("{\"hunter2\": hunter2}", "a body that is not a JSON object, 20 bytes"),
            ("{\"hunter2\": ", "JSON that ends in the middle, 12 bytes"),
        ] {
            let refusal = given().read(200, body).unwrap_err();
            assert_eq!((refusal.verdict, refusal.error.code()), UNEXPECTED);
            assert!(refusal.error.message().contains(text), "{}", refusal.error);
            assert!(!format!("{refusal:?}").contains("hunter2"));
        }
        for body in ["[5]", "[{\"access_token\": \"T\"}]", "null", "\"T\"", "5"] {
            assert_eq!(given().header("Content-Type", "application/json").refused(200, body), UNEXPECTED, "{body}");
        }
    }

    #[test]
    fn no_error_shows_what_the_server_sent_p_1() {
        let canary = "hunter2hunter2";
        for body in [
            format!(r#"{{"access_token": "{canary}", "token_type": "{canary}"}}"#),
            format!(r#"{{"access_token": "{canary} ", "token_type": "Bearer"}}"#),
            format!(r#"{{"access_token": "T", "token_type": "Bearer", "expires_in": "{canary}"}}"#),
            format!(r#"{{"access_token": "T", "token_type": "Bearer", "scope": "{canary}\n"}}"#),
            format!(r#"{{"access_token": "T", "{canary}": {canary}}}"#),
            format!(r#"{{"error": {{"x": "{canary}"}}}}"#),
            format!(r#"{{"error": "invalid_client", "error_description": "{canary}", "error_uri": "{canary}"}}"#),
            format!(r#"{{"error": "the secret {canary} is wrong"}}"#),
        ] {
            for status in [200, 201, 302, 400, 401, 404, 500] {
                let given = given().with(|given| given.secrets = vec!["hunter2h".into()]);
                let refusal = given.header("Location", "https://hunter2h.example/?hunter2").read(status, &body);
                assert!(!format!("{:?}", refusal.unwrap_err()).contains("hunter2"), "{status} {body}");
            }
        }
        let response = HttpResponse { status: 200, headers: &[], body: canary.as_bytes() };
        assert_eq!(format!("{response:?}"), "HttpResponse { 200, 14 bytes, <redacted> }");
    }

    #[test]
    fn bounds_hold_in_members_that_nobody_asks_for_p_4() {
        let nested = format!("\"x\": {}{}", "[".repeat(16), "]".repeat(16));
        assert_eq!(given().refused(200, with_members(&nested)), UNEXPECTED);
        let many: Vec<_> = (0..255).map(|n| format!("\"m{n}\": 0")).collect();
        assert_eq!(given().refused(200, with_members(&many.join(","))), UNEXPECTED);
        let long = given().with(|given| given.cap = 100).read(200, with_members(&format!("\"x\": \"{nested:0>100}\"")));
        let long = long.unwrap_err();
        assert_eq!((long.verdict, long.error.code()), (Verdict::Unexpected, ErrorCode::AnswerTooLarge));
        assert_eq!(long.error.code().family(), Family::Transport);
    }

    #[test]
    fn form_encoded_answers_are_read_where_the_profile_says_so_p_9() {
        let body = "access_token=a%2Fb&expires_in=3600&refresh_token=&scope=repo%2Cgist&token_type=bearer&x=%ff";
        let plain = given().header("Content-Type", "application/x-www-form-urlencoded").read(200, body).unwrap_err();
        assert_eq!(plain.error.hint(), Some("the answer is form-encoded, which the profile does not declare"));
        let given = given().with(|given| given.shape.form = true);
        assert_eq!(given.refused(200, body), UNEXPECTED, "not UTF-8");
        let set = given.read(200, body.replace("&x=%ff", "")).unwrap();
        assert_eq!(set.access_token.expose(), "a/b");
        assert_eq!((set.lifetime, set.oddities), (HOUR, vec![]));
        assert!(set.refresh_token.is_none());
        assert_eq!(given.refused(200, "access_token=a&access_token=b&token_type=bearer"), UNEXPECTED);
        assert_eq!(given.refused(200, "error=invalid_grant"), (Verdict::Terminal, ErrorCode::InvalidGrant));
        assert_eq!(given.refused(200, "<html>access_token=x</html>"), UNEXPECTED);
        assert!(given.read(200, with_members("\"expires_in\": 1")).is_ok());
        assert_eq!(given.refused(200, "a=b&".repeat(257)), UNEXPECTED);
    }

    #[test]
    fn error_codes_of_the_standard_are_terminal_std_41() {
        for (text, code) in [
            ("invalid_client", ErrorCode::InvalidClient),
            ("invalid_grant", ErrorCode::InvalidGrant),
            ("unauthorized_client", ErrorCode::UnauthorizedClient),
            ("invalid_scope", ErrorCode::InvalidScope),
            ("unsupported_grant_type", ErrorCode::UnsupportedGrantType),
            ("invalid_request", ErrorCode::InvalidRequest),
            ("access_denied", ErrorCode::AccessDenied),
        ] {
            for status in [400, 401, 403, 404, 422] {
                let refusal = given().read(status, format!(r#"{{"error": "{text}"}}"#)).unwrap_err();
                // With this status it is about the client, whatever the word.
                let code = match (text, status) {
                    ("unauthorized_client", 401) => ErrorCode::InvalidClient,
                    _ => code,
                };
                assert_eq!((refusal.verdict, refusal.error.code()), (Verdict::Terminal, code));
                assert_eq!(refusal.error.oauth_error(), Some(text));
                assert!(!refusal.error.is_retryable());
            }
        }
        // These two are codes of the authorization endpoint (section 4.1.2.1); at the token endpoint the status tells.
        for text in ["temporarily_unavailable", "server_error"] {
            let refusal = given().read(400, format!(r#"{{"error": "{text}"}}"#)).unwrap_err();
            assert_eq!((refusal.verdict, refusal.error.code()), (Verdict::Unexpected, ErrorCode::UnexpectedAnswer));
        }
    }

    #[test]
    fn an_error_code_beside_429_or_5xx_is_no_verdict_std_42_std_146() {
        for status in [408, 429, 500, 501, 502, 503, 504, 599] {
            for body in ["", "<html>", r#"{"error": "invalid_client"}"#, &with_members("\"expires_in\": 1")] {
                assert_eq!(given().refused(status, body), UNAVAILABLE, "{status} {body}");
            }
            let refusal = given().header("Retry-After", "7").read(status, "").unwrap_err();
            assert_eq!(refusal.retry_after, Some(7000));
            assert!(refusal.error.is_retryable());
        }
    }

    #[test]
    fn a_bare_401_is_about_the_client_std_36() {
        let invalid_client = (Verdict::Terminal, ErrorCode::InvalidClient);
        for body in ["", "<html>", "{}", "[", r#"{"error": {"x": 1}}"#, r#"{"error": "x", "error": "y"}"#] {
            assert_eq!(given().refused(401, body), invalid_client, "{body}");
        }
        assert_eq!(given().refused(401, r#"{"error": "unauthorized"}"#), invalid_client);
        let basic = given().header("WWW-Authenticate", "Basic realm=\"hunter2\"").read(401, "").unwrap_err();
        assert_eq!(basic.error.hint(), Some("the server asks for `Basic` authentication"));
        assert_eq!(given().header("WWW-Authenticate", "Hunter2").read(401, "").unwrap_err().error.hint(), None);
    }

    #[test]
    fn every_other_status_is_unexpected_std_42() {
        for status in [0, 100, 199, 201, 202, 204, 206, 299, 300, 302, 307, 400, 403, 404, 405, 410, 600, 999] {
            for body in ["", "<html>", "{}", &with_members("\"expires_in\": 1")] {
                assert_eq!(given().refused(status, body), UNEXPECTED, "{status} {body}");
            }
        }
        assert_eq!(given().refused(400, r#"{"error": "of_their_own"}"#), UNEXPECTED);
        assert_eq!(given().refused(400, r#"{"error": "invalid_grant", "error": "x"}"#), UNEXPECTED);
    }

    #[test]
    fn a_redirect_shows_its_targets_origin_only_p_2() {
        let message = |location: &str| {
            let refusal = given().header("Location", location).read(307, "").unwrap_err();
            assert_eq!((refusal.verdict, refusal.error.code()), UNEXPECTED);
            String::from(refusal.error.message())
        };
        assert!(message("https://Login.example/token?code=hunter2").contains("to `https://login.example`,"));
        for location in ["/token?hunter2", "https://hunter2@evil.example/", "javascript:hunter2", ""] {
            let message = message(location);
            assert!(!message.contains("hunter2") && !message.contains("evil"), "{message}");
        }
    }

    #[test]
    fn a_code_is_shown_only_if_it_is_one_and_no_secret_std_35_p_1() {
        let shown = |code: &str, secret: &str| {
            let given = given().with(|given| given.secrets = vec![secret.into()]);
            let body = format!(r#"{{"error": "{code}"}}"#);
            given.read(400, body).unwrap_err().error.oauth_error().map(String::from)
        };
        assert_eq!(shown("of_their_own", "hunter2"), Some("of_their_own".into()));
        assert_eq!(shown("urn:x:[y]!", "hunter2"), Some("urn:x:[y]!".into()));
        assert_eq!(shown("invalid_client", "client"), Some("invalid_client".into()), "it is our own word");
        for code in ["a\\\"b", "a\\\\b", "a\\nb", "é", "\\u007f", &"x".repeat(65)] {
            assert_eq!(shown(code, "hunter2"), None, "{code}");
        }
        assert_eq!(shown("bad_HUNTER2", "hunter2"), None);
        assert_eq!(shown("bad_correctho", "correcthorsebattery"), None);
        assert_eq!(shown("of_their_own", ""), Some("of_their_own".into()));
    }

    #[test]
    fn a_profile_may_give_codes_a_meaning_of_its_own() {
        let meaning = |verdict| ErrorMeaning { hint: "grant type not supported".into(), means: None, verdict };
        let read = |code: &str, verdict| {
            let given = given().with(|given| {
                given.errors.insert(code.into(), meaning(verdict));
            });
            let refusal = given.read(400, format!(r#"{{"error": "{code}"}}"#)).unwrap_err();
            assert_eq!(refusal.error.hint(), Some("grant type not supported"));
            assert_eq!(refusal.error.oauth_error(), Some(code));
            (refusal.verdict, refusal.error.code())
        };
        assert_eq!(read("invalid_grant", None), (Verdict::Terminal, ErrorCode::InvalidGrant));
        assert_eq!(read("invalid_grant", Some(Verdict::Unexpected)), (Verdict::Unexpected, ErrorCode::InvalidGrant));
        assert_eq!(read("slow", Some(Verdict::Transient)), UNAVAILABLE);
        assert_eq!(read("no", Some(Verdict::Terminal)), (Verdict::Terminal, ErrorCode::UnexpectedAnswer));
        assert_eq!(read("server_error", Some(Verdict::Terminal)), (Verdict::Terminal, ErrorCode::UnexpectedAnswer));
    }

    #[test]
    fn a_refresh_token_in_a_refused_answer_is_not_lost_p_13() {
        for (status, body) in [
            (200, r#"{"refresh_token": "R"}"#),
            (200, r#"{"refresh_token": "R", "access_token": "T", "token_type": "Bearer", "expires_in": true}"#),
            (201, r#"{"refresh_token": "R", "access_token": "T", "token_type": "Bearer"}"#),
            (400, r#"{"refresh_token": "R", "error": "invalid_scope"}"#),
            (500, r#"{"refresh_token": "R"}"#),
        ] {
            assert_eq!(given().read(status, body).unwrap_err().refresh_token.unwrap().expose(), "R", "{status} {body}");
        }
        for body in [r#"{"refresh_token": "R", "refresh_token": "S"}"#, r#"{"refresh_token": "R\n"}"#, "{"] {
            assert!(given().read(500, body).unwrap_err().refresh_token.is_none(), "{body}");
        }
    }

    #[test]
    fn an_answer_that_was_cut_short_may_pass() {
        let cut = given().header("Content-Length", "200");
        let transient = (Verdict::Transient, ErrorCode::TransportFailed);
        assert_eq!(cut.refused(200, "{\"access_token\": \"T"), transient);
        assert_eq!(cut.refused(200, ""), transient);
        assert_eq!(given().header("Content-Length", "1").refused(200, "{"), UNEXPECTED);
        assert_eq!(cut.header("Content-Encoding", "gzip").refused(200, "{"), UNEXPECTED);
    }

    #[test]
    fn no_cut_or_changed_byte_makes_reading_panic() {
        let body = with_members(r#""expires_in": 3.6e3, "scope": ["a"], "refresh_token": "R\u0061", "x": {"y": [1]}"#);
        let given = given().with(|given| given.shape.expires_at = Some((path("x.y"), TimeUnit::Iso8601)));
        for at in 0..body.len() {
            let (head, _) = body.as_bytes().split_at(at);
            assert!(given.read(200, head).is_err(), "{at}");
            for byte in [0, b'"', b'\\', b'{', b'}', b',', b'9', b'e', 0x80, 0xff] {
                let mut changed: Box<[u8]> = body.as_bytes().into();
                changed[at] = byte;
                for status in [200, 400] {
                    let _ = given.read(status, &changed);
                }
            }
        }
    }
}
