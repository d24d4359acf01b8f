//! Just enough of URLs: absolute endpoints and origins. Resolution of relative URLs is the host's.
//!
//! What is accepted is less than what browsers accept, on purpose: every text that two URL parsers could
//! read as two hosts (`https://good@evil`, `https:\\evil`, `https://127.1`) is refused, not interpreted.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::{Ipv4Addr, Ipv6Addr};

/// An absolute `https:` URL without user information or fragment; `http:` for loopback where that was asked for by name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointUrl {
    text: String,
    origin: Origin,
}

/// A scheme, host and port (RFC 6454), in lower case, the default port left out: `https://api.example.com`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin(String);

impl EndpointUrl {
    /// Checks an endpoint's URL.
    ///
    /// # Errors
    /// Says in a few words what is wrong with it.
    pub fn parse(text: &str, allow_loopback_http: bool) -> Result<Self, String> {
        let (origin, rest) = split(text, allow_loopback_http)?;
        if rest.contains('#') {
            return Err("an endpoint has no fragment (`#…`): leave it out".into());
        }
        if !rest.bytes().all(is_uri_char) {
            return Err("a URL has no blanks, control characters, quotes, backslashes or characters outside ASCII: \
                        percent-encode them"
                .into());
        }
        Ok(Self { text: text.into(), origin })
    }

    /// The URL's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL with form-encoded parameters added to its query, what was there kept (STD-11).
    #[must_use]
    pub fn with_query(&self, parameters: &str) -> String {
        let separator = match self.text.split_once('?') {
            _ if parameters.is_empty() => "",
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        [&self.text, separator, parameters].concat()
    }

    /// Its origin.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin.clone()
    }
}

impl Origin {
    /// Checks an origin: a scheme, a host, perhaps a port, and nothing else.
    ///
    /// # Errors
    /// Says in a few words what is wrong with it.
    pub fn parse(text: &str, allow_loopback_http: bool) -> Result<Self, String> {
        match split(text, allow_loopback_http)? {
            (origin, "") => Ok(origin),
            (origin, _) => Err(format!("an origin ends after the host and port: write `{}`", origin.0)),
        }
    }

    /// The origin of a URL that a request goes to, whatever its path, query and fragment are.
    ///
    /// # Errors
    /// Says in a few words what is wrong with it: a text that could be taken for a URL of another host has
    /// no origin.
    pub fn of_request(url: &str, allow_loopback_http: bool) -> Result<Self, String> {
        let (origin, rest) = split(url, allow_loopback_http)?;
        if rest.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("a URL has no control characters: percent-encode them".into());
        }
        Ok(origin)
    }

    /// The origin's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The origin of an absolute URL, and what follows it.
fn split(text: &str, allow_loopback_http: bool) -> Result<(Origin, &str), String> {
    let (scheme, rest) =
        text.split_once("://").ok_or("a URL is absolute: it starts with `https://`, without blanks before it")?;
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return Err("a URL starts with `https://`".into());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("a URL holds no user name or password (`user@…`): credentials are options of their own".into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => literal.split_once(']').ok_or("an IPv6 address ends with `]`")?,
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len())).unwrap_or((authority, "")),
    };
    let host = if authority.starts_with('[') { ipv6(host)? } else { Host::named(host)? };
    let port = match port.strip_prefix(':') {
        Some(number) => Some(port_number(number).ok_or("a port is a number from 1 to 65535")?),
        None if port.is_empty() => None,
        None => return Err("only a port may follow an IPv6 address".into()),
    };
    if !(secure || allow_loopback_http && host.is_loopback) {
        return Err(if host.is_loopback {
            "plain `http://` is not allowed: use `https://`, or set `allow_loopback_http` for a server on this machine"
        } else {
            "plain `http://` would show secrets to the network: use `https://`"
        }
        .into());
    }
    let (scheme, default_port) = if secure { ("https", 443) } else { ("http", 80) };
    let origin = match port {
        Some(port) if port != default_port => format!("{scheme}://{}:{port}", host.text),
        _ => format!("{scheme}://{}", host.text),
    };
    Ok((Origin(origin), rest))
}

/// A host as origins have it.
struct Host {
    text: String,
    is_loopback: bool,
}

impl Host {
    fn named(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a URL names a host after `https://`".into());
        }
        if !text.is_ascii() {
            return Err("a host is ASCII: write an international name in its `xn--` form".into());
        }
        if text.len() > 253 || !text.split('.').all(is_label) {
            return Err("a host has only letters, digits, `-`, `_` and single dots between".into());
        }
        let last = text.rsplit('.').next().unwrap_or(text);
        // Some parsers read `127.1`, `0x7f.1` and `2130706433` as IPv4 addresses, others as names.
        if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X") {
            let address: Ipv4Addr = text.parse().map_err(|_| "an IPv4 address has four decimal numbers")?;
            return Ok(Self { text: address.to_string(), is_loopback: address.is_loopback() });
        }
        let text = text.to_ascii_lowercase();
        let is_loopback = text == "localhost";
        Ok(Self { text, is_loopback })
    }
}

fn ipv6(text: &str) -> Result<Host, String> {
    let address: Ipv6Addr = text.parse().map_err(|_| "what is in brackets is not an IPv6 address")?;
    Ok(Host { text: format!("[{address}]"), is_loopback: address.is_loopback() })
}

fn is_label(label: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn port_number(text: &str) -> Option<u16> {
    let port = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok()? } else { 0 };
    (port != 0).then_some(port)
}

/// The characters of RFC 3986 section 2.
fn is_uri_char(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !b"\"<>\\^`{|}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::{EndpointUrl, Origin};

    fn endpoint(text: &str) -> Result<EndpointUrl, alloc::string::String> {
        EndpointUrl::parse(text, false)
    }

    #[test]
    fn an_endpoint_keeps_its_text() {
        for text in [
            "https://as.example.com",
            "https://as.example.com/token?a=b&c",
            "HTTPS://AS.example.com:443/%7Eme/",
            "https://my_host.internal:8443/token",
            "https://xn--bcher-kva.example/token",
        ] {
            assert_eq!(endpoint(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_fragment_in_an_endpoint_is_refused_std_11() {
        assert!(endpoint("https://as.example.com/token#").unwrap_err().contains("fragment"));
        assert!(endpoint("https://as.example.com#a").unwrap_err().contains("fragment"));
    }

    #[test]
    fn parameters_are_added_to_the_query_that_is_there_std_11() {
        let with = |text: &str| endpoint(text).unwrap().with_query("a+b=%C3%BC%26%3D&c=");
        assert_eq!(with("https://h.example/t"), "https://h.example/t?a+b=%C3%BC%26%3D&c=");
        assert_eq!(with("https://h.example/t?"), "https://h.example/t?a+b=%C3%BC%26%3D&c=");
        assert_eq!(with("https://h.example/t?x=1"), "https://h.example/t?x=1&a+b=%C3%BC%26%3D&c=");
        assert_eq!(with("https://h.example"), "https://h.example?a+b=%C3%BC%26%3D&c=");
        assert_eq!(endpoint("https://h.example/t").unwrap().with_query(""), "https://h.example/t");
    }

    #[test]
    fn an_origin_is_in_lower_case_without_the_default_port() {
        for (text, origin) in [
            ("https://API.Example.com", "https://api.example.com"),
            ("hTTps://api.example.com:443", "https://api.example.com"),
            ("https://api.example.com:8443", "https://api.example.com:8443"),
            ("https://[2001:DB8:0:0::1]:0443", "https://[2001:db8::1]"),
            ("https://127.0.0.1", "https://127.0.0.1"),
        ] {
            assert_eq!(Origin::parse(text, false).unwrap().as_str(), origin);
            assert_eq!(endpoint(text).unwrap().origin().as_str(), origin);
            let request = alloc::format!("{text}/a b/ü?c=[d]#e@f");
            assert_eq!(Origin::of_request(&request, false).unwrap().as_str(), origin);
        }
    }

    #[test]
    fn an_origin_has_nothing_after_the_port() {
        for rest in ["/", "/a", "?a", "#a"] {
            let error = Origin::parse(&alloc::format!("https://Api.example.com{rest}"), false).unwrap_err();
            assert!(error.ends_with("write `https://api.example.com`"), "{error}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_and_only_when_asked_for() {
        for text in ["http://127.0.0.1:8080", "http://127.255.0.9", "http://[::1]:80", "HTTP://LocalHost"] {
            assert!(Origin::parse(text, true).is_ok(), "{text}");
            assert!(Origin::parse(text, false).unwrap_err().contains("allow_loopback_http"), "{text}");
        }
        assert_eq!(Origin::parse("http://[::1]:80", true).unwrap().as_str(), "http://[::1]");
        for text in [
            "http://example.com",
            "http://128.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::2]",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0",
        ] {
            assert!(Origin::parse(text, true).unwrap_err().contains("https"), "{text}");
        }
    }

    #[test]
    fn a_text_that_parsers_disagree_about_has_no_origin() {
        for text in [
            "",
            "https:",
            "https://",
            "https:///evil.example",
            "https:/evil.example",
            "https:evil.example",
            "//evil.example",
            "evil.example/https://good.example",
            " https://good.example",
            "\thttps://good.example",
            "ht\ntps://good.example",
            "https\t://good.example",
            "https:/\t/good.example",
            "https:\\\\evil.example",
            "https:/\\evil.example",
            "https://good.example\\@evil.example",
            "https://good.example\\.evil.example",
            "https://good.example@evil.example",
            "https://good.example:443@evil.example",
            "https://user:password@good.example",
            "https://@good.example",
            "https://good.example%2eevil.example",
            "https://good.example%00.evil.example",
            "https://good.example\t.evil.example",
            "https://good.example\n",
            "https://good.example\r\n/x",
            "https://good.example/a\tb",
            "https://good.example/\0",
            "https://good.example ",
            "https://good.example:",
            "https://good.example:/",
            "https://good.example:0",
            "https://good.example:65536",
            "https://good.example:+443",
            "https://good.example:443:443",
            "https://good.example:４４３",
            "https://good.example.",
            "https://good..example",
            "https://.good.example",
            "https://-good.example",
            "https://good-.example",
            "https://good.example;x",
            "https://good,example",
            "https://*.good.example",
            "https://go{od}.example",
            "https://bücher.example",
            "https://good。example",
            "https://good.example\u{200b}",
            "https://127.1",
            "https://0x7f.0.0.1",
            "https://127.0.0.0x1",
            "https://2130706433",
            "https://0177.0.0.1",
            "https://1.2.3.4.5",
            "https://[::1",
            "https://[::1]x",
            "https://[::1]443",
            "https://[::1%25eth0]",
            "https://[127.0.0.1]",
            "https://[]",
            "https://::1",
            "ftp://good.example",
            "httpss://good.example",
            "javascript://good.example/%0aalert(1)",
            "file:///etc/passwd",
        ] {
            assert!(Origin::of_request(text, true).is_err(), "{text:?}");
            assert!(EndpointUrl::parse(text, true).is_err(), "{text:?}");
            assert!(Origin::parse(text, true).is_err(), "{text:?}");
        }
    }

    #[test]
    fn another_host_is_another_origin() {
        let good = Origin::parse("https://good.example", false).unwrap();
        for url in [
            "https://good.example.evil.example/",
            "https://good.example:8443/",
            "https://evil.example/https://good.example",
            "https://evil.example?@good.example",
            "https://evil.example#@good.example",
            "https://evil.example/\\@good.example",
        ] {
            assert_ne!(Origin::of_request(url, false).unwrap(), good, "{url}");
        }
        for url in ["https://good.example?@evil.example", "https://good.example#@evil.example"] {
            assert_eq!(Origin::of_request(url, false).unwrap(), good, "{url}");
        }
    }

    #[test]
    fn an_endpoint_has_only_characters_of_a_uri() {
        for rest in ["a b", "ü", "a\"b", "a\\b", "<", "{tenant}", "a\r\nb", "`"] {
            assert!(endpoint(&alloc::format!("https://h.example/{rest}")).is_err(), "{rest:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_the_url_p_1() {
        for text in ["https://hunter2@h.example", "ftp://hunter2", "https://h.example/#hunter2", "https://hunter2.:1"] {
            assert!(!endpoint(text).unwrap_err().contains("hunter2"), "{text}");
        }
    }
}
