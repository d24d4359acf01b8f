//! `WWW-Authenticate` (RFC 9110 sections 11.2 to 11.6.1, RFC 6750 section 3).

use alloc::string::String;
use alloc::vec::Vec;
use core::str;

use crate::header::is_token_char;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// The scheme, in lower case.
    pub scheme: String,
    /// Parameters, names in lower case, the first of a repeated one.
    pub parameters: Vec<(String, String)>,
}

/// Reads all challenges of all `WWW-Authenticate` lines; what cannot be read is passed over.
///
/// No more than 32 challenges are read, and no more than 32 parameters of each.
#[must_use]
pub fn challenges(headers: &[(String, String)]) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("www-authenticate") {
            Line(value.as_bytes()).read_into(&mut challenges);
        }
    }
    challenges
}

/// What a set of challenges says about the scope of a token that was sent: whether it is too narrow
/// (RFC 6750 section 3.1), and the scope needed where the server tells one.
#[must_use]
pub fn insufficient_scope(challenges: &[Challenge]) -> Option<Option<&str>> {
    let challenge = challenges.iter().find(|challenge| {
        matches!(&*challenge.scheme, "bearer" | "dpop") && challenge.parameter("error") == Some("insufficient_scope")
    })?;
    Some(challenge.scope())
}

/// What an API asks of the person behind a token (RFC 9470 section 3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StepUp<'a> {
    /// The authentication context classes, space-separated.
    pub acr_values: Option<&'a str>,
    /// How long ago they may have signed in, in seconds.
    pub max_age: Option<i64>,
}

/// Whether an API wants a person who signed in more strongly or more recently (RFC 9470 section 3).
#[must_use]
pub fn step_up(challenges: &[Challenge]) -> Option<StepUp<'_>> {
    let challenge = challenges.iter().find(|challenge| {
        matches!(&*challenge.scheme, "bearer" | "dpop")
            && challenge.parameter("error") == Some("insufficient_user_authentication")
    })?;
    let shown =
        |text: &&str| !text.is_empty() && text.len() <= 1024 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    Some(StepUp {
        acr_values: challenge.parameter("acr_values").filter(shown),
        max_age: challenge.parameter("max_age").and_then(|text| text.parse().ok()).filter(|age: &i64| *age >= 0),
    })
}

/// Whether an API refuses the proof and not the token (RFC 9449 sections 7.1 and 9).
#[must_use]
pub fn refuses_proof(challenges: &[Challenge]) -> bool {
    challenges.iter().any(|challenge| {
        challenge.scheme == "dpop"
            && matches!(challenge.parameter("error"), Some("use_dpop_nonce" | "invalid_dpop_proof"))
    })
}

impl Challenge {
    /// The value of a parameter, by its name in lower case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The `scope` parameter if it follows its grammar (RFC 6750 section 3), so that it may be shown.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        let scope = self.parameter("scope")?;
        let in_grammar = |byte| matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~');
        (!scope.is_empty() && scope.len() <= 1024 && scope.bytes().all(in_grammar)).then_some(scope)
    }
}

/// What is left of one line.
///
/// A comma separates challenges as well as the parameters of one. What follows tells which it is: a token
/// and `=` is a parameter of the challenge before, a token without is the scheme of a new one.
struct Line<'a>(&'a [u8]);

impl<'a> Line<'a> {
    fn read_into(mut self, challenges: &mut Vec<Challenge>) {
        loop {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
            let token = self.take_while(is_token_char);
            if token.is_empty() {
                if self.0.is_empty() {
                    return;
                }
                self.skip_element();
            } else if self.equals_sign() {
                let value = self.value();
                if let (Some(challenge), Some(value)) = (challenges.last_mut(), value) {
                    let name = lower(token);
                    if challenge.parameters.len() < LIMIT && challenge.parameter(&name).is_none() {
                        challenge.parameters.push((name, value));
                    }
                }
            } else {
                if challenges.len() == LIMIT {
                    return;
                }
                challenges.push(Challenge { scheme: lower(token), parameters: Vec::new() });
                self.skip_token68();
            }
        }
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.0.iter().position(|byte| !belongs(*byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn take_byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Takes a `=` with the blanks around it, or nothing at all.
    fn equals_sign(&mut self) -> bool {
        let mut ahead = Line(self.0);
        ahead.take_while(is_blank);
        let found = ahead.take_byte() == Some(b'=');
        if found {
            ahead.take_while(is_blank);
            self.0 = ahead.0;
        }
        found
    }

    /// A quoted string, or as many characters as can belong to a value without quotes: more than a token
    /// may have, because servers send URLs there. A string that does not end has no value.
    fn value(&mut self) -> Option<String> {
        if self.0.first() != Some(&b'"') {
            let value = self.take_while(|byte| byte != b',' && !is_blank(byte));
            return str::from_utf8(value).ok().map(String::from);
        }
        self.quoted()
    }

    fn quoted(&mut self) -> Option<String> {
        self.take_byte();
        let mut value = Vec::new();
        loop {
            value.push(match self.take_byte()? {
                b'"' => return String::from_utf8(value).ok(),
                b'\\' => self.take_byte()?,
                byte => byte,
            });
        }
    }

    /// Takes the token68 that may follow a scheme, as in `Negotiate YII=`; a parameter is left where it is.
    fn skip_token68(&mut self) {
        let mut ahead = Line(self.0);
        ahead.take_while(is_blank);
        ahead.take_while(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
        ahead.take_while(|byte| byte == b'=');
        ahead.take_while(is_blank);
        // Without a blank after the scheme there is nothing to take: `Basic` alone ends here too.
        if matches!(ahead.0.first(), None | Some(b',')) {
            self.0 = ahead.0;
        }
    }

    /// Passes over what cannot be read, up to the next comma that is not inside quotes.
    fn skip_element(&mut self) {
        loop {
            match self.0.first() {
                None | Some(b',') => return,
                Some(b'"') => {
                    self.quoted();
                }
                Some(_) => {
                    self.take_byte();
                }
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Only called for tokens, which are ASCII.
fn lower(token: &[u8]) -> String {
    token.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

const LIMIT: usize = 32;

#[cfg(test)]
mod tests {
    use super::{Challenge, challenges, insufficient_scope};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn read(lines: &[&str]) -> Vec<Challenge> {
        let headers: Vec<_> =
            lines.iter().map(|line| (String::from("WWW-Authenticate"), String::from(*line))).collect();
        challenges(&headers)
    }

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let parameters = parameters.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        Challenge { scheme: scheme.into(), parameters }
    }

    #[test]
    fn one_challenge_with_its_parameters_std_50() {
        assert_eq!(
            read(&[r#"Bearer realm="example", error="invalid_token", error_description="The access token expired""#]),
            [challenge(
                "bearer",
                &[("realm", "example"), ("error", "invalid_token"), ("error_description", "The access token expired")]
            )]
        );
    }

    #[test]
    fn several_challenges_on_one_line_and_several_lines_std_50() {
        // The example of RFC 9110 section 11.6.1.
        assert_eq!(
            read(&[r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#, "Negotiate"]),
            [
                challenge("basic", &[("realm", "simple")]),
                challenge("newauth", &[("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")]),
                challenge("negotiate", &[]),
            ]
        );
    }

    #[test]
    fn a_token68_is_passed_over_std_50() {
        assert_eq!(
            read(&["Negotiate YIIB+/x==, NTLM, Bearer error=invalid_token"]),
            [challenge("negotiate", &[]), challenge("ntlm", &[]), challenge("bearer", &[("error", "invalid_token")])]
        );
    }

    #[test]
    fn names_are_case_insensitive_and_the_first_of_a_repeated_one_wins_std_50() {
        assert_eq!(
            read(&[r#"BEARER Error = "invalid_token" , ERROR="insufficient_scope""#]),
            [challenge("bearer", &[("error", "invalid_token")])]
        );
    }

    #[test]
    fn empty_elements_missing_commas_and_bare_urls_are_tolerated_std_50() {
        assert_eq!(
            read(&[r#",, Bearer realm="x" error="invalid_token",, error_uri=https://e.example/?a=b,"#]),
            [challenge(
                "bearer",
                &[("realm", "x"), ("error", "invalid_token"), ("error_uri", "https://e.example/?a=b")]
            )]
        );
    }

    #[test]
    fn a_comma_or_a_scheme_inside_quotes_is_not_one_std_50() {
        assert_eq!(
            read(&[r#"Basic realm="a, Bearer error=\"invalid_token\"""#]),
            [challenge("basic", &[("realm", "a, Bearer error=\"invalid_token\"")])]
        );
    }

    #[test]
    fn garbage_is_passed_over_and_what_follows_is_read_std_50() {
        assert_eq!(
            read(&[r#"(("x, y", Bearer error="invalid_token""#]),
            [challenge("bearer", &[("error", "invalid_token")])]
        );
        assert_eq!(read(&[r#"Bearer realm="never ends"#]), [challenge("bearer", &[])]);
        assert_eq!(read(&["=", "=x", "", " ", "\"", "é", "Bearer =x"]), []);
    }

    #[test]
    fn other_headers_are_not_read_std_50() {
        assert_eq!(challenges(&[(String::from("Proxy-Authenticate"), String::from("Basic"))]), []);
    }

    #[test]
    fn insufficient_scope_tells_the_scope_needed_std_52() {
        let wants = read(&[r#"Basic, Bearer error="insufficient_scope", scope="a b""#]);
        assert_eq!(insufficient_scope(&wants), Some(Some("a b")));
        assert_eq!(insufficient_scope(&read(&[r#"DPoP error="insufficient_scope""#])), Some(None));
        assert_eq!(insufficient_scope(&read(&[r#"Bearer error="invalid_token", scope="a""#])), None);
        assert_eq!(insufficient_scope(&read(&["Bearer error=\"insufficient_scope\", scope=\"a\nb\""])), Some(None));
    }

    #[test]
    fn a_long_line_costs_a_bounded_amount() {
        let many = "a=b,".repeat(100_000);
        assert_eq!(read(&[&format!("Bearer {many}")]), [challenge("bearer", &[("a", "b")])]);
        assert_eq!(read(&[&"Basic,".repeat(100_000)]).len(), 32);
        let distinct: String = (0..10_000).map(|n| format!("p{n}=v,")).collect();
        assert_eq!(read(&[&format!("Bearer {distinct}")]).first().map(|one| one.parameters.len()), Some(32));
    }

    #[test]
    fn no_line_of_pieces_makes_it_panic_or_invent_text_std_50() {
        const PIECES: [&str; 16] = [
            "Bearer",
            "error",
            "=",
            "\"",
            "\\",
            ",",
            " ",
            "\t",
            "é",
            "a",
            "==",
            "/",
            "\"x\"",
            "scope=\"a b\"",
            "\u{0}",
            "(",
        ];
        // A linear congruential generator: the same lines in every run.
        let mut state = 1u32;
        for _ in 0..20_000 {
            let mut line = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                line.push_str(PIECES[(state >> 28) as usize]);
            }
            for found in read(&[&line, &line]) {
                assert!(line.to_ascii_lowercase().contains(&found.scheme), "{line:?}");
                let names = found.parameters.iter().map(|(name, _)| name).collect::<Vec<_>>();
                let mut unique = names.clone();
                unique.sort();
                unique.dedup();
                assert_eq!(names.len(), unique.len(), "{line:?}");
            }
        }
    }
}
