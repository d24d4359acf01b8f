//! JSON that people write, profiles and options: read so that an error can say where it is and what is allowed.
//!
//! serde's derived errors echo values, and a secret could be one; they don't say where; and they take the last of
//! two members with one name. So documents are first read into [`Value`], and fields are taken out of that one by one.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorCode};
use crate::secret::Secret;

/// Any JSON value. Strings are [`Secret`]s as long as nobody knows which field they are.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    /// The number's own text: no conversion that a feature of serde_json could change.
    Number(&'a str),
    Text(Secret),
    List(Vec<Self>),
    Members(Vec<(String, Self)>),
}

/// What is being read: it decides the error's code and how a place is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Options,
    Profile,
}

/// Where in a document: a JSON pointer (RFC 6901).
#[derive(Clone, Debug)]
pub(crate) struct Place {
    kind: Kind,
    pointer: String,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) place: Place,
    pub(crate) value: Value<'a>,
}

/// An object whose members are taken one by one. Those that nobody asked for are refused at the [`end`](Self::end).
#[derive(Debug)]
pub(crate) struct Object<'a> {
    pub(crate) place: Place,
    members: Vec<(String, Value<'a>)>,
    known: Vec<String>,
}

/// Reads a document.
pub(crate) fn parse(text: &str, kind: Kind) -> Result<Field<'_>, Error> {
    let place = Place::root(kind);
    // A byte order mark is no JSON, but editors write one (RFC 8259 section 8.1).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let what = if error.is_eof() { "ends too early" } else { "is not JSON" };
        place
            .error(format!("{what} at line {}, column {}", error.line(), error.column()))
            .with_hint("look for a missing or extra comma, quote or bracket just before that place")
    })?;
    let value = read(raw.get(), &place, MAX_DEPTH)?;
    Ok(Field { place, value })
}

/// The one of `known` that somebody who wrote `name` may have meant.
pub(crate) fn near<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let wanted = plain(name);
    let allowed = (wanted.len() / 3).min(3);
    known
        .into_iter()
        .map(|candidate| (distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "`a`, `b` or `c`".
pub(crate) fn alternatives<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// Milliseconds as people write seconds: `0.5`.
pub(crate) fn seconds(millis: i64) -> String {
    match (millis / 1000, millis % 1000) {
        (whole, 0) => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    }
}

impl Value<'_> {
    /// The value as JSON text, without blanks.
    pub(crate) fn to_json(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Number(text) => (*text).to_owned(),
            Self::Text(text) => quoted(text.expose()),
            Self::List(items) => format!("[{}]", items.iter().map(Self::to_json).collect::<Vec<_>>().join(",")),
            Self::Members(members) => {
                let members = members.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.to_json()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// What it is, for a message. A string is shown only where `show` says that it can't be a secret.
    fn describe(&self, show: bool) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Number(text) if show && text.len() <= 24 => format!("`{text}`"),
            Self::Number(_) => "a number".to_owned(),
            Self::Text(text) if text.expose().is_empty() => "empty".to_owned(),
            Self::Text(text) if show && is_showable(text.expose()) => format!("`{}`", text.expose()),
            Self::Text(_) => "a string".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Members(_) => "an object".to_owned(),
        }
    }
}

impl Place {
    pub(crate) fn root(kind: Kind) -> Self {
        Self { kind, pointer: String::new() }
    }

    pub(crate) fn option(name: &str) -> Self {
        Self::root(Kind::Options).member(name)
    }

    pub(crate) fn member(&self, name: &str) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        Self { kind: self.kind, pointer: format!("{}/{name}", self.pointer) }
    }

    /// An error that begins with this place's name: "`/token/method` …" in a profile, "option `policy.jitter` …" in options.
    pub(crate) fn error(&self, what: impl fmt::Display) -> Error {
        match self.kind {
            Kind::Options if self.pointer.is_empty() => {
                Error::new(ErrorCode::InvalidOption, format!("the options' text {what}"))
            }
            Kind::Options => {
                let name = self.pointer.trim_start_matches('/').replace('/', ".");
                Error::new(ErrorCode::InvalidOption, format!("option `{name}` {what}"))
            }
            Kind::Profile if self.pointer.is_empty() => {
                Error::new(ErrorCode::InvalidProfile, format!("the profile {what}")).with_pointer("")
            }
            Kind::Profile => Error::new(ErrorCode::InvalidProfile, format!("`{}` {what}", self.pointer))
                .with_pointer(self.pointer.clone()),
        }
    }
}

impl<'a> Field<'a> {
    /// A string that is not secret.
    pub(crate) fn text(self) -> Result<String, Error> {
        self.secret().map(|text| text.expose().to_owned())
    }

    /// A string that is not empty.
    pub(crate) fn filled(self) -> Result<String, Error> {
        let place = self.place.clone();
        let text = self.text()?;
        if text.is_empty() {
            return Err(place.error("is empty: give it a value, or leave it out"));
        }
        Ok(text)
    }

    /// A string that may be secret.
    pub(crate) fn secret(self) -> Result<Secret, Error> {
        match self.value {
            Value::Text(text) => Ok(text),
            other => Err(expected(&self.place, &other, "a string")),
        }
    }

    pub(crate) fn boolean(self) -> Result<bool, Error> {
        match self.value {
            Value::Boolean(value) => Ok(value),
            other => Err(expected(&self.place, &other, "`true` or `false`")),
        }
    }

    /// One of a closed list of strings.
    pub(crate) fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Result<T, Error> {
        let found = match &self.value {
            Value::Text(text) => choices.iter().find(|(name, _)| *name == text.expose()),
            _ => None,
        };
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let allowed = alternatives(choices.iter().map(|(name, _)| *name));
            self.place.error(format!("is {}: {allowed} is allowed", self.value.describe(true)))
        })
    }

    /// A whole number.
    pub(crate) fn whole(self, least: i64, most: i64) -> Result<i64, Error> {
        let number = self.number().filter(|number| *number as i64 as f64 == *number).map(|number| number as i64);
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            self.place
                .error(format!("is {}: a whole number from {least} to {most} is allowed", self.value.describe(true)))
        })
    }

    /// A duration that is written in seconds, in milliseconds.
    pub(crate) fn duration(self, least: i64, most: i64) -> Result<i64, Error> {
        let millis = self.number().map(|number| (number * 1000.0 + if number < 0.0 { -0.5 } else { 0.5 }) as i64);
        millis.filter(|millis| (least..=most).contains(millis)).ok_or_else(|| {
            self.place.error(format!(
                "is {}: a number of seconds from {} to {} is allowed",
                self.value.describe(true),
                seconds(least),
                seconds(most)
            ))
        })
    }

    pub(crate) fn list(self) -> Result<Vec<Self>, Error> {
        match self.value {
            Value::List(items) => {
                let place = self.place;
                let items = items.into_iter().enumerate();
                Ok(items.map(|(at, value)| Field { place: place.member(&at.to_string()), value }).collect())
            }
            other => Err(expected(&self.place, &other, "a list")),
        }
    }

    /// The members of an object whose names are the user's to choose, in their order.
    pub(crate) fn entries(self) -> Result<Vec<(String, Self)>, Error> {
        let Object { place, members, .. } = self.object()?;
        Ok(members
            .into_iter()
            .map(|(name, value)| {
                let place = place.member(&name);
                (name, Field { place, value })
            })
            .collect())
    }

    /// An object with known members.
    pub(crate) fn object(self) -> Result<Object<'a>, Error> {
        match self.value {
            Value::Members(members) => Ok(Object { place: self.place, members, known: Vec::new() }),
            other => Err(expected(&self.place, &other, "an object")),
        }
    }

    /// Whether it is an object with this member.
    pub(crate) fn names(&self, name: &str) -> bool {
        match &self.value {
            Value::Members(members) => {
                members.iter().any(|(known, value)| known == name && !matches!(value, Value::Null))
            }
            _ => false,
        }
    }

    fn number(&self) -> Option<f64> {
        match self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl<'a> Object<'a> {
    /// A member, if it is there. In options `null` is as good as absent: that is how other languages leave one out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field<'a>> {
        self.known.push(name.to_owned());
        let at = self.members.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.members.remove(at);
        if matches!(value, Value::Null) && self.place.kind == Kind::Options {
            return None;
        }
        Some(Field { place: self.place.member(name), value })
    }

    /// A member that must be there.
    pub(crate) fn require(&mut self, name: &str) -> Result<Field<'a>, Error> {
        self.take(name).ok_or_else(|| self.place.member(name).error("is missing"))
    }

    /// Refuses what nobody asked for.
    pub(crate) fn end(self) -> Result<(), Error> {
        let Some((name, _)) = self.members.first() else {
            return Ok(());
        };
        let place = self.place.member(if is_showable(name) { name } else { "…" });
        let known = || self.known.iter().map(|name| &**name);
        Err(match near(name, known()) {
            Some(meant) => place.error(format!("is not known: did you mean `{meant}`?")),
            None => place.error(format!("is not known: {} is allowed there", alternatives(known()))),
        })
    }
}

/// The members of an object, none lost: not even the second of two with one name.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn read<'a>(text: &'a str, place: &Place, depth: usize) -> Result<Value<'a>, Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(place.error(format!("is nested too deep: {MAX_DEPTH} levels are allowed")));
    };
    // The text is known to be JSON; what serde_json had not looked into yet are escapes.
    let odd = |_| place.error("holds an escape that is no character");
    match text.as_bytes().first() {
        Some(b'{') => {
            let Members(raw) = serde_json::from_str(text).map_err(odd)?;
            let mut members: Vec<(String, Value<'a>)> = Vec::with_capacity(raw.len());
            for (name, raw) in raw {
                let place = place.member(&name);
                if members.iter().any(|(known, _)| *known == name) {
                    return Err(place.error("stands there twice: keep one of the two"));
                }
                let value = read(raw.get(), &place, depth)?;
                members.push((name, value));
            }
            Ok(Value::Members(members))
        }
        Some(b'[') => {
            let raw: Vec<&RawValue> = serde_json::from_str(text).map_err(odd)?;
            let items = raw.iter().enumerate();
            let items = items.map(|(at, raw)| read(raw.get(), &place.member(&at.to_string()), depth));
            items.collect::<Result<_, _>>().map(Value::List)
        }
        Some(b'"') => serde_json::from_str(text).map(Value::Text).map_err(odd),
        Some(b't') => Ok(Value::Boolean(true)),
        Some(b'f') => Ok(Value::Boolean(false)),
        Some(b'n') => Ok(Value::Null),
        _ => Ok(Value::Number(text)),
    }
}

fn expected(place: &Place, found: &Value<'_>, allowed: &str) -> Error {
    place.error(format!("is {}: {allowed} is allowed", found.describe(false)))
}

/// Short, printable, and without what would end the quotation.
fn is_showable(text: &str) -> bool {
    !text.is_empty() && text.len() <= 48 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'`')
}

/// How many letters have to be put in, taken out, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

/// Deep enough for every profile, shallow enough for every stack.
const MAX_DEPTH: usize = 16;
