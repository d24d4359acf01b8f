//! Reading what a token endpoint answers.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::clock::Now;
use crate::error::Error;
use crate::secret::Secret;
use crate::token::TokenSet;

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
#[derive(Clone, Copy, Debug)]
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
    pub secrets: &'a [&'a Secret],
    /// Both clocks at the start of the request.
    pub started: Now,
    /// The longest body that is read, in bytes.
    pub cap: usize,
}

impl Reading<'_> {
    /// Reads an answer (RFC 6749 sections 5.1 and 5.2).
    ///
    /// # Errors
    /// A [`Refusal`] that says how to treat it.
    pub fn read(&self, response: HttpResponse<'_>) -> Result<TokenSet, Refusal> {
        let _ = response;
        Err(Refusal {
            verdict: Verdict::Unexpected,
            error: Error::new(crate::error::ErrorCode::UnexpectedAnswer, "not read yet"),
            retry_after: None,
            refresh_token: None,
        })
    }
}
