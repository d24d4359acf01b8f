//! Text with holes for variables: `{base_url}/v1/auth/access_token`.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// A text with holes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    /// Says in a few words what is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err("has a `{` without its `}`".to_owned());
            };
            if literal.contains('}') {
                return Err("has a `}` without its `{`".to_owned());
            }
            if !is_name(name) {
                return Err("has braces around something that is no variable's name".to_owned());
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err("has a `}` without its `{`".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        if parts.is_empty() {
            return Err("is empty".to_owned());
        }
        Ok(Self(parts))
    }

    pub(crate) fn literal(text: &str) -> Self {
        Self([Part::Literal(text.to_owned())].into())
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(&**name),
            Part::Literal(_) => None,
        })
    }

    /// The text with its holes filled, or the name of the first variable that has no value.
    pub(crate) fn fill(&self, values: &BTreeMap<String, String>) -> Result<String, &str> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(name) => text.push_str(values.get(name).ok_or(&**name)?),
            }
        }
        Ok(text)
    }
}

/// Lower-case letters, digits and `_`, a letter first: an option's name in every language.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_with_the_variables_values() {
        let values = BTreeMap::from([("base_url".to_owned(), "https://a.example".to_owned())]);
        let template = Template::parse("{base_url}/v1/token").unwrap();
        assert_eq!(template.fill(&values).unwrap(), "https://a.example/v1/token");
        assert_eq!(Template::parse("{tenant}").unwrap().fill(&values), Err("tenant"));
    }

    #[test]
    fn unbalanced_braces_and_odd_names_are_refused() {
        for text in ["", "{", "}", "a}b{c}", "{a", "{A}", "{}", "{1a}", "{a b}", "{a}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
