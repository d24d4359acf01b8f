//! HTTP requests as plain data.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;

/// One HTTP request, for the host to send exactly once, redirects off.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct HttpRequest {
    /// `GET` or `POST`; `PUT` and `DELETE` for a registration alone (RFC 7592 section 2).
    pub method: &'static str,
    /// The absolute URL.
    pub url: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body, which is ASCII, but for the UTF-8 of a registration; none for a GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        write!(f, "HttpRequest {{ {} {url}, <redacted> }}", self.method)
    }
}
