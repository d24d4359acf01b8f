//! Bounded reading of the JSON objects that servers answer with.
//!
//! One pass checks the syntax and finds where values are; they are kept as their text until somebody asks for them. So nothing
//! is converted that is not needed, and no error text, which would repeat values, ever comes into being.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Deref;

use crate::grammar::is_b64token;

/// The members of one object, in their order.
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Raw<'a>)>);

/// The value of a member. `null` is not among them: it counts as absent (STD-37).
pub(crate) enum Value<'a> {
    Bool(bool),
    /// The number's text.
    Number(&'a str),
    Text(Text<'a>),
    /// The texts of an array; none if it holds anything but texts.
    Texts(Option<Vec<Cow<'a, str>>>),
    Object,
}

/// A text. It derefs to `str`.
pub(crate) struct Text<'a> {
    text: Cow<'a, str>,
    is_b64token: bool,
}

/// Why an object cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It is not one JSON object.
    NotAnObject,
    /// It ends in the middle.
    CutShort,
    /// It is nested more than 16 levels deep.
    TooDeep,
    /// It has more than 256 members, those of inner objects counted.
    TooManyMembers,
    /// A member that matters is there twice: parsers disagree about which one counts (STD-38).
    Repeated,
    /// Where a path leads through, there is no object.
    NoObjectOnPath,
}

impl<'a> Object<'a> {
    /// Reads an object within the bounds, members that nobody asks for included.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Fault> {
        let mut scanner = Scanner { rest: text, members: 0 };
        let mut members = Vec::with_capacity(8);
        if scanner.peek()? != b'{' {
            return Err(Fault::NotAnObject);
        }
        scanner.object(1, |name, value| {
            members.push((name.read()?.text, value));
            Ok(())
        })?;
        match scanner.peek() {
            Ok(_) => Err(Fault::NotAnObject),
            Err(_) => Ok(Self(members)),
        }
    }

    /// The member that a path of names leads to, if it is there and not `null`.
    pub(crate) fn find(&self, path: &[impl AsRef<str>]) -> Result<Option<Value<'a>>, Fault> {
        let Some((name, rest)) = path.split_first() else { return Ok(None) };
        let mut found = None;
        for (known, value) in &self.0 {
            if known == name.as_ref() && found.replace(*value).is_some() {
                return Err(Fault::Repeated);
            }
        }
        match found.unwrap_or(Raw::Null) {
            Raw::Null => Ok(None),
            value if rest.is_empty() => value.read().map(Some),
            Raw::Object(inner) => Self::parse(inner)?.find(rest),
            _ => Err(Fault::NoObjectOnPath),
        }
    }
}

impl<'a> Object<'a> {
    /// Its text without these members.
    pub(crate) fn without(&self, names: &[&str]) -> String {
        let others = self.0.iter().filter(|(name, _)| !names.contains(&&**name));
        let written = others.map(|(name, value)| {
            let mut member = serde_json::to_string(name).unwrap_or_default();
            member.push(':');
            member.push_str(match value {
                Raw::Null => "null",
                Raw::Bool(true) => "true",
                Raw::Bool(false) => "false",
                Raw::Number(text) | Raw::Array(text) | Raw::Object(text) => text,
                Raw::Text(quoted) => quoted.text,
            });
            member
        });
        let mut text = String::from("{");
        text.push_str(&written.collect::<Vec<_>>().join(","));
        text.push('}');
        text
    }

    /// The objects of an array. Anything else in it is an error.
    pub(crate) fn objects(&self, name: &str) -> Result<Option<Vec<Self>>, Fault> {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| *value);
        let (text, None) = (
            match found.next() {
                Some(Raw::Array(text)) => text,
                Some(_) => return Err(Fault::NoObjectOnPath),
                None => return Ok(None),
            },
            found.next(),
        ) else {
            return Err(Fault::Repeated);
        };
        let mut texts = Vec::new();
        Scanner { rest: text, members: 0 }.array(1, |item| texts.push(item))?;
        let read = |item| match item {
            Raw::Object(text) => Self::parse(text),
            _ => Err(Fault::NoObjectOnPath),
        };
        texts.into_iter().map(read).collect::<Result<_, _>>().map(Some)
    }
}

/// A value whose syntax was checked.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Quoted<'a>),
    Array(&'a str),
    Object(&'a str),
}

/// A text in its quotes.
#[derive(Clone, Copy)]
struct Quoted<'a> {
    text: &'a str,
    has_escapes: bool,
    is_b64token: bool,
}

impl<'a> Text<'a> {
    /// Whether it was seen on the way that it has no byte that a bearer token may not have.
    pub(crate) fn is_b64token(&self) -> bool {
        self.is_b64token
    }

    pub(crate) fn into_owned(self) -> String {
        self.text.into_owned()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self { text: text.into(), is_b64token: text.bytes().all(is_b64token) }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<'a> Raw<'a> {
    /// What it stands for; [`Raw::Null`] is dealt with before.
    fn read(self) -> Result<Value<'a>, Fault> {
        Ok(match self {
            Self::Null => return Err(Fault::NotAnObject),
            Self::Bool(value) => Value::Bool(value),
            Self::Number(text) => Value::Number(text),
            Self::Text(quoted) => Value::Text(quoted.read()?),
            Self::Object(_) => Value::Object,
            Self::Array(text) => {
                let mut texts = Some(Vec::new());
                Scanner { rest: text, members: 0 }.array(1, |item| match (&mut texts, item) {
                    (Some(texts), Self::Text(quoted)) => texts.push(quoted),
                    _ => texts = None,
                })?;
                Value::Texts(
                    texts.and_then(|texts| texts.into_iter().map(|quoted| Some(quoted.read().ok()?.text)).collect()),
                )
            }
        })
    }
}

impl<'a> Quoted<'a> {
    /// The text, borrowed if it has no escapes. A lone surrogate is none.
    fn read(self) -> Result<Text<'a>, Fault> {
        if self.has_escapes {
            let text = serde_json::from_str::<String>(self.text).map_err(|_| Fault::NotAnObject)?;
            return Ok(Text { is_b64token: text.bytes().all(is_b64token), text: text.into() });
        }
        let inner = self.text.get(1..self.text.len().saturating_sub(1)).ok_or(Fault::NotAnObject)?;
        Ok(Text { text: inner.into(), is_b64token: self.is_b64token })
    }
}

/// What is still to be read, and how many members were seen.
struct Scanner<'a> {
    rest: &'a str,
    members: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is no blank.
    fn peek(&mut self) -> Result<u8, Fault> {
        loop {
            match self.rest.as_bytes() {
                [b' ' | b'\t' | b'\n' | b'\r', ..] => self.skip(1),
                [byte, ..] => return Ok(*byte),
                [] => return Err(Fault::CutShort),
            }
        }
    }

    /// Goes past ASCII that was looked at.
    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    /// The text from `start` to here.
    fn since(&self, start: &'a str) -> &'a str {
        start.get(..start.len().saturating_sub(self.rest.len())).unwrap_or_default()
    }

    /// An object, whose bracket is the next byte.
    fn object(
        &mut self,
        depth: usize,
        mut found: impl FnMut(Quoted<'a>, Raw<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.list(depth, b'}', |scanner| {
            scanner.members = scanner.members.saturating_add(1);
            if scanner.members > MAX_MEMBERS {
                return Err(Fault::TooManyMembers);
            }
            if scanner.peek()? != b'"' {
                return Err(Fault::NotAnObject);
            }
            let name = scanner.quoted()?;
            if scanner.peek()? != b':' {
                return Err(Fault::NotAnObject);
            }
            scanner.skip(1);
            let value = scanner.value(depth)?;
            found(name, value)
        })
    }

    /// An array, whose bracket is the next byte.
    fn array(&mut self, depth: usize, mut found: impl FnMut(Raw<'a>)) -> Result<(), Fault> {
        self.list(depth, b']', |scanner| {
            found(scanner.value(depth)?);
            Ok(())
        })
    }

    /// What stands between brackets, with commas between each two.
    fn list(
        &mut self,
        depth: usize,
        end: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.skip(1);
        if self.peek()? != end {
            loop {
                item(self)?;
                match self.peek()? {
                    b',' => self.skip(1),
                    byte if byte == end => break,
                    _ => return Err(Fault::NotAnObject),
                }
            }
        }
        self.skip(1);
        Ok(())
    }

    /// A value inside of `depth` brackets.
    fn value(&mut self, depth: usize) -> Result<Raw<'a>, Fault> {
        let first = self.peek()?;
        let start = self.rest;
        let inner = depth.saturating_add(1);
        match first {
            b'"' => Ok(Raw::Text(self.quoted()?)),
            b'{' => {
                self.object(inner, |_, _| Ok(()))?;
                Ok(Raw::Object(self.since(start)))
            }
            b'[' => {
                self.array(inner, |_| ())?;
                Ok(Raw::Array(self.since(start)))
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Ok(Raw::Number(self.since(start)))
            }
            b't' => self.word("true", Raw::Bool(true)),
            b'f' => self.word("false", Raw::Bool(false)),
            b'n' => self.word("null", Raw::Null),
            _ => Err(Fault::NotAnObject),
        }
    }

    fn word(&mut self, word: &str, value: Raw<'a>) -> Result<Raw<'a>, Fault> {
        if self.rest.starts_with(word) {
            self.skip(word.len());
            return Ok(value);
        }
        Err(if word.starts_with(self.rest) { Fault::CutShort } else { Fault::NotAnObject })
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.rest.starts_with('-') {
            self.skip(1);
        }
        if self.rest.starts_with('0') {
            self.skip(1);
            if self.rest.starts_with(|next: char| next.is_ascii_digit()) {
                return Err(Fault::NotAnObject);
            }
        } else {
            self.digits()?;
        }
        if self.rest.starts_with('.') {
            self.skip(1);
            self.digits()?;
        }
        if self.rest.starts_with(['e', 'E']) {
            self.skip(1);
            if self.rest.starts_with(['+', '-']) {
                self.skip(1);
            }
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Fault> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        self.skip(length);
        match (length, self.rest) {
            (0, "") => Err(Fault::CutShort),
            (0, _) => Err(Fault::NotAnObject),
            _ => Ok(()),
        }
    }

    /// A text, whose quote is the next byte.
    fn quoted(&mut self) -> Result<Quoted<'a>, Fault> {
        let start = self.rest;
        let (mut has_escapes, mut is_b64token) = (false, true);
        self.skip(1);
        loop {
            let (length, classes) = run(self.rest.as_bytes());
            is_b64token &= classes & OTHER == 0;
            self.skip(length);
            match self.rest.as_bytes() {
                [b'"', ..] => {
                    self.skip(1);
                    return Ok(Quoted { text: self.since(start), has_escapes, is_b64token });
                }
                [b'\\', b'u', digits @ ..] => {
                    let count = digits.iter().take(4).take_while(|digit| digit.is_ascii_hexdigit()).count();
                    if count < 4 {
                        return Err(if count == digits.len() { Fault::CutShort } else { Fault::NotAnObject });
                    }
                    self.skip(6);
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.skip(2),
                [] | [b'\\'] => return Err(Fault::CutShort),
                _ => return Err(Fault::NotAnObject),
            }
            has_escapes = true;
        }
    }
}

/// How many bytes there are before the first quote, backslash or control character, and what they are. Tokens are long, so
/// this is where the time goes.
fn run(bytes: &[u8]) -> (usize, u8) {
    let steps = bytes.chunks_exact(STEP).take_while(|step| step.first_chunk().is_some_and(is_like_most_tokens));
    let (mut length, mut seen) = (steps.count().saturating_mul(STEP), 0);
    for byte in bytes.get(length..).unwrap_or_default() {
        let class = class(*byte);
        if class & STOP != 0 {
            break;
        }
        seen |= class;
        length = length.saturating_add(1);
    }
    (length, seen)
}

/// Whether all bytes are letters, digits or one of `-./_`, eight at a time.
fn is_like_most_tokens(step: &[u8; STEP]) -> bool {
    let (mut is_fit, mut bytes) = (TOP_BITS, 0);
    for word in step.chunks_exact(8).filter_map(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        // In each top bit: whether that byte is at least this one. That is so for ASCII, where no sum carries into the next byte.
        let from = |word: u64, byte: u8| word.wrapping_add(EVERY_BYTE * u64::from(0x80 - byte));
        let folded = word | (EVERY_BYTE * 0x20);
        let letter = from(folded, b'a') ^ from(folded, b'z' + 1);
        let digit = from(word, b'-') ^ from(word, b'9' + 1);
        let underscore = TOP_BITS.wrapping_sub(word ^ (EVERY_BYTE * 0x5f));
        is_fit &= letter | digit | underscore;
        bytes |= word;
    }
    is_fit & TOP_BITS & !bytes == TOP_BITS
}

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(STOP)
}

const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;
const TOP_BITS: u64 = EVERY_BYTE * 0x80;
const STEP: usize = 32;

/// Ends a run inside of a text: a quote, a backslash, a control character.
const STOP: u8 = 1;
/// May not stand in a bearer token.
const OTHER: u8 = 2;
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = u8::MAX;
    loop {
        let class = match byte {
            0..0x20 | b'"' | b'\\' => STOP,
            _ if is_b64token(byte) => 0,
            _ => OTHER,
        };
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256, and this runs in the compiler")]
        {
            classes[byte as usize] = class;
        }
        if byte == 0 {
            break classes;
        }
        byte -= 1;
    }
};
const MAX_DEPTH: usize = 16;
const MAX_MEMBERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::{Fault, Object, Value};
    use crate::grammar::is_b64token;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::String;
    use serde::de::IgnoredAny;

    fn number<'a>(text: &'a str, path: &[&str]) -> Result<Option<&'a str>, Fault> {
        Ok(match Object::parse(text)?.find(path)? {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        })
    }

    #[test]
    fn a_path_leads_through_inner_objects() {
        assert_eq!(number(r#"{"a": 1}"#, &["a"]), Ok(Some("1")));
        assert_eq!(number(r#" {"a": {"b": {"c" : -1.5e3 }}} "#, &["a", "b", "c"]), Ok(Some("-1.5e3")));
        assert_eq!(number(r#"{"a": {"b": 1}}"#, &["a", "c"]), Ok(None));
        assert_eq!(number(r#"{"a": null}"#, &["a", "b"]), Ok(None));
        assert_eq!(number(r#"{"a": 5}"#, &["a", "b"]), Err(Fault::NoObjectOnPath));
        assert_eq!(number(r#"{"a": 5}"#, &[]), Ok(None));
    }

    #[test]
    fn a_repeated_member_is_refused_where_it_matters_std_38_p_5() {
        assert_eq!(number(r#"{"a": 1, "a": 1}"#, &["a"]), Err(Fault::Repeated));
        assert_eq!(number(r#"{"a": 1, "\u0061": 1}"#, &["a"]), Err(Fault::Repeated));
        assert_eq!(number(r#"{"a": 1, "a": null}"#, &["a"]), Err(Fault::Repeated));
        assert_eq!(number(r#"{"d": {"a": 1}, "d": {}}"#, &["d", "a"]), Err(Fault::Repeated));
        assert_eq!(number(r#"{"d": {"a": 1, "a": 2}}"#, &["d", "a"]), Err(Fault::Repeated));
        assert_eq!(number(r#"{"a": 1, "b": 2, "b": 3}"#, &["a"]), Ok(Some("1")));
    }

    #[test]
    fn depth_is_bounded_in_members_that_nobody_asks_for_p_4() {
        let nested = |levels: usize| format!("{{\"x\": {}{}, \"a\": 1}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(number(&nested(15), &["a"]), Ok(Some("1")));
        assert_eq!(number(&nested(16), &["a"]), Err(Fault::TooDeep));
        assert_eq!(number(&nested(100_000), &["a"]), Err(Fault::TooDeep));
        assert_eq!(number(r#"{"x": ["[[[[[[[[[[[[[[[[[[\"["], "a": 1}"#, &["a"]), Ok(Some("1")));
    }

    #[test]
    fn the_number_of_members_is_bounded_p_4() {
        let many = |count: usize| (0..count).map(|n| format!("\"m{n}\": 0, ")).collect::<String>();
        assert_eq!(number(&format!("{{{}\"a\": 1}}", many(255)), &["a"]), Ok(Some("1")));
        assert_eq!(number(&format!("{{{}\"a\": 1}}", many(256)), &["a"]), Err(Fault::TooManyMembers));
        assert_eq!(number(&format!("{{\"x\": {{{}\"y\": 1}}, \"a\": 1}}", many(253)), &["a"]), Ok(Some("1")));
        assert_eq!(
            number(&format!("{{\"x\": {{{}\"y\": 1}}, \"a\": 1}}", many(254)), &["a"]),
            Err(Fault::TooManyMembers)
        );
        assert_eq!(number(r#"{"x": ["::::", ":\\\":"], "a": 1}"#, &["a"]), Ok(Some("1")));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in [
            "",
            " ",
            "[5]",
            "5",
            "null",
            "\"a\"",
            "{} {}",
            "{}]",
            "{\"a\": 1,}",
            "{'a': 1}",
            "{\"a\": 01}",
            "{\"a\": NaN}",
            "{\"a\": \"\t\"}",
            "{\"\\ud800\": 1}",
            "\u{feff}{\"a\": 1}",
        ] {
            assert!(matches!(number(text, &["a"]), Err(Fault::NotAnObject | Fault::CutShort)), "{text:?}");
        }
        for text in ["{", "{\"a\"", "{\"a\": \"b", "{\"a\": {\"b\": 1}"] {
            assert_eq!(number(text, &["a"]), Err(Fault::CutShort), "{text:?}");
        }
    }

    #[test]
    fn what_is_json_is_not_a_matter_of_opinion() {
        let sample = r#"{"a" : [0, -1.5e+3, true,false ,null, {"b\"": "\ud83d\ude00 \/ /_~ü"}, []],"x":"eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.a-b_c"}"#;
        let agree = |text: &str| {
            let others = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text).is_ok();
            assert_eq!(Object::parse(text).is_ok(), others, "{text}");
        };
        for at in 0..sample.len() {
            agree(sample.get(..at).unwrap_or_default());
            for byte in 0..=0x7f {
                let mut text = sample.as_bytes().to_vec();
                text[at] = byte;
                if let Ok(text) = String::from_utf8(text) {
                    agree(&text);
                }
            }
        }
    }

    #[test]
    fn a_token_is_known_for_one_wherever_its_odd_byte_is() {
        for at in 0..80 {
            for byte in 0..=0x7f {
                let mut token = "aZ09-._/".repeat(10).into_bytes();
                token[at] = byte;
                let token = String::from_utf8(token).unwrap();
                let quoted = serde_json::to_string(&token).unwrap();
                let text = format!("{{\"a\":{quoted}}}");
                let Ok(Some(Value::Text(read))) = Object::parse(&text).and_then(|object| object.find(&["a"])) else {
                    panic!("{text}")
                };
                assert_eq!(read.is_b64token(), token.bytes().all(is_b64token), "{text}");
                assert_eq!(read.into_owned(), token);
            }
        }
    }

    #[test]
    fn escapes_are_undone_and_lone_surrogates_refused() {
        let text = |text: &str| match Object::parse(text).and_then(|object| object.find(&["a"])) {
            Ok(Some(Value::Text(text))) => Ok(text.into_owned()),
            Ok(_) => Ok(String::new()),
            Err(fault) => Err(fault),
        };
        assert_eq!(text(r#"{"a": "x\/\u00fc\ud83d\ude00\n"}"#), Ok("x/ü😀\n".into()));
        assert_eq!(text(r#"{"a": "\\"}"#), Ok("\\".into()));
        assert_eq!(text(r#"{"a": "\ud800"}"#), Err(Fault::NotAnObject));
    }

    #[test]
    fn an_array_is_texts_or_nothing() {
        let texts = |text: &str| match Object::parse(text).unwrap().find(&["a"]) {
            Ok(Some(Value::Texts(texts))) => texts.map(|texts| texts.join(" ")),
            _ => panic!("not an array"),
        };
        assert_eq!(texts(r#"{"a": ["x", "\u0079"]}"#), Some("x y".into()));
        assert_eq!(texts(r#"{"a": []}"#), Some("".into()));
        assert_eq!(texts(r#"{"a": ["x", 1]}"#), None);
        assert_eq!(texts(r#"{"a": [["x"]]}"#), None);
    }
}
