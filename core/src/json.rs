//! Bounded reading of the JSON objects that servers answer with.
//!
//! Values are kept as their text until somebody asks for them. So nothing is converted that is not needed,
//! numbers mean the same whatever features of `serde_json` another crate turns on, and no error text of
//! its own, which would repeat values, ever comes into being.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one object, in their order.
pub(crate) struct Object<'a>(Vec<(Key<'a>, &'a RawValue)>);

/// The value of a member. `null` is not among them: it counts as absent (STD-37).
pub(crate) enum Value<'a> {
    Bool(bool),
    /// The number's text.
    Number(&'a str),
    Text(Cow<'a, str>),
    /// The texts of an array; none if it holds anything but texts.
    Texts(Option<Vec<Cow<'a, str>>>),
    /// The object's text.
    Object(&'a str),
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
        let object = Self::members(text)?;
        let mut bounds = Bounds { depth: 1, members: object.0.len() };
        for (_, value) in &object.0 {
            bounds.check(value.get())?;
        }
        Ok(object)
    }

    /// The member that a path of names leads to, if it is there and not `null`.
    pub(crate) fn find(&self, path: &[impl AsRef<str>]) -> Result<Option<Value<'a>>, Fault> {
        let Some((name, rest)) = path.split_first() else { return Ok(None) };
        let mut found = None;
        for (key, value) in &self.0 {
            if key.0 == name.as_ref() {
                if found.is_some() {
                    return Err(Fault::Repeated);
                }
                found = Some(value.get());
            }
        }
        let Some(value) = found else { return Ok(None) };
        let value = Value::read(value)?;
        match value {
            _ if rest.is_empty() => Ok(value),
            None => Ok(None),
            Some(Value::Object(inner)) => Self::members(inner)?.find(rest),
            Some(_) => Err(Fault::NoObjectOnPath),
        }
    }

    fn members(text: &'a str) -> Result<Self, Fault> {
        let mut members = Vec::with_capacity(8);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(Members(&mut members)).and_then(|()| deserializer.end());
        match read {
            Ok(()) => Ok(Self(members)),
            Err(_) if members.len() == MAX_MEMBERS => Err(Fault::TooManyMembers),
            Err(error) if error.is_eof() => Err(Fault::CutShort),
            Err(_) => Err(Fault::NotAnObject),
        }
    }
}

impl<'a> Value<'a> {
    /// Reads the text of a value that is known to be JSON.
    fn read(text: &'a str) -> Result<Option<Self>, Fault> {
        Ok(Some(match text.as_bytes().first() {
            Some(b'n') => return Ok(None),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::Text(string(text)?),
            Some(b'{') => Self::Object(text),
            Some(b'[') => {
                let texts = serde_json::from_str::<Vec<Key<'_>>>(text);
                Self::Texts(texts.ok().map(|texts| texts.into_iter().map(|text| text.0).collect()))
            }
            _ => Self::Number(text),
        }))
    }
}

/// A text, borrowed if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'m, 'a>(&'m mut Vec<(Key<'a>, &'a RawValue)>);

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_entry()? {
            if self.0.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            self.0.push(member);
        }
        Ok(())
    }
}

/// What has been seen of an object so far.
struct Bounds {
    depth: usize,
    members: usize,
}

impl Bounds {
    /// Goes over the text of one member. It is known to be JSON, so brackets match, and colons outside
    /// strings are members.
    fn check(&mut self, text: &str) -> Result<(), Fault> {
        if !text.starts_with(['{', '[']) {
            return Ok(());
        }
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b':' => self.members = self.members.saturating_add(1),
                b'"' => skip_string(&mut bytes),
                _ => {}
            }
            if self.depth > MAX_DEPTH {
                return Err(Fault::TooDeep);
            }
            if self.members > MAX_MEMBERS {
                return Err(Fault::TooManyMembers);
            }
        }
        Ok(())
    }
}

fn skip_string(bytes: &mut core::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

fn string(quoted: &str) -> Result<Cow<'_, str>, Fault> {
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(Fault::NotAnObject)?;
    if !inner.as_bytes().contains(&b'\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(quoted).map(Cow::Owned).map_err(|_| Fault::NotAnObject)
}

const MAX_DEPTH: usize = 16;
const MAX_MEMBERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::{Fault, Object, Value};
    use alloc::format;
    use alloc::string::String;

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
    fn escapes_are_undone_and_lone_surrogates_refused() {
        let text = |text: &str| match Object::parse(text).and_then(|object| object.find(&["a"])) {
            Ok(Some(Value::Text(text))) => Ok(String::from(text)),
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
