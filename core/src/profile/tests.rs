use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::*;
use crate::error::ErrorCode;
use crate::response::TimeUnit;

const SCHEMA: &str = include_str!("../../profiles/schema.json");

const EXAMPLES: &[(&str, &str)] = &[
    ("api-key", include_str!("../../../examples/profiles/api-key.json")),
    ("code-forge", include_str!("../../../examples/profiles/code-forge.json")),
    ("nested-expiry", include_str!("../../../examples/profiles/nested-expiry.json")),
];

#[test]
fn every_built_in_profile_loads_under_its_own_name() {
    for name in Profile::built_in_names() {
        let profile = Profile::parse(Profile::built_in(name).unwrap()).unwrap();
        assert_eq!(profile.name(), name);
        assert!(!profile.title().is_empty());
        assert!(!profile.notes().is_empty(), "{name} has nothing to say");
    }
    assert!(Profile::built_in_names().is_sorted());
    assert!(Profile::built_in("phoenix").is_none());
}

/// Those whose documentation came with the project, and has no address.
const HANDED_OVER: &[&str] = &["personify", "phoenix-market", "phoenix-security", "phoenix-wallet", "rapidomize"];

#[test]
fn every_built_in_profile_names_its_public_sources_and_when_they_were_read() {
    for name in Profile::built_in_names().filter(|name| !HANDED_OVER.contains(name)) {
        let document = written(name);
        let sources = document["documentation"].as_array().unwrap();
        assert!(!sources.is_empty(), "{name} has no source");
        for source in sources {
            assert!(source["url"].as_str().unwrap().starts_with("https://"), "{name}: {source}");
            let read: Vec<_> = source["read"].as_str().unwrap().split('-').map(|part| (part.len(), part)).collect();
            assert!(matches!(read[..], [(4, _), (2, _), (2, _)]), "{name}: {source}");
        }
    }
    assert!(BUILT_IN.len() >= HANDED_OVER.len() + 25);
}

#[test]
fn what_is_built_in_is_what_is_written_but_for_its_sources() {
    for (name, text) in BUILT_IN {
        let mut document = written(name);
        document.as_object_mut().unwrap().retain(|member, _| member != "documentation" && member != "$schema");
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), document);
    }
}

/// The profile's document as it was written.
fn written(name: &str) -> Value {
    let path = format!("{}/profiles/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_examples_of_users_own_profiles_load_as_they_are() {
    for (name, text) in EXAMPLES {
        assert_eq!(Profile::parse(text).unwrap().name(), *name);
    }
}

#[test]
fn no_profile_says_what_the_schema_does_not() {
    let schema = schema();
    for (name, text) in BUILT_IN.iter().chain(EXAMPLES) {
        let document: Value = serde_json::from_str(text).unwrap();
        visit(&schema, &schema, &document, "", &mut |node, value, place| {
            let (Some(known), Some(members)) = (node.get("properties"), value.as_object()) else {
                return;
            };
            for member in members.keys() {
                assert!(known.get(member).is_some(), "{name}: `{place}/{member}` is not in the schema");
            }
        });
    }
}

#[test]
fn the_parser_and_the_schema_know_the_same_members() {
    let (schema, full) = (schema(), full());
    let mut places = 0;
    visit(&schema, &schema, &full, "", &mut |node, value, place| {
        let (Some(known), Some(_)) = (node.get("properties"), value.as_object()) else {
            return;
        };
        assert_eq!(node.get("additionalProperties"), Some(&json!(false)), "{place} is open");
        let mut document = full.clone();
        document.pointer_mut(place).unwrap().as_object_mut().unwrap().insert("~~~".to_owned(), json!(1));
        let error = refused(&document);
        assert_eq!(error.pointer(), Some(&*format!("{place}/~0~0~0")));
        let mut told: Vec<_> = error.message().split('`').skip(3).step_by(2).collect();
        let mut expected: Vec<_> = known.as_object().unwrap().keys().map(|name| &**name).collect();
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected, "at `{place}`");
        places += 1;
    });
    assert!(places >= 12, "only {places} objects were visited");
}

#[test]
fn the_parser_and_the_schema_allow_the_same_types() {
    let (schema, full) = (schema(), full());
    let mut places = 0;
    visit(&schema, &schema, &full, "", &mut |node, value, place| {
        for wrong in [json!(true), json!(-5), json!("\u{7f}{"), json!([]), json!({}), Value::Null] {
            if place.is_empty() || is_allowed(&schema, node, &wrong) {
                continue;
            }
            let mut document = full.clone();
            *document.pointer_mut(place).unwrap() = wrong.clone();
            let error = refused(&document);
            let pointer = error.pointer().unwrap();
            assert!(pointer.starts_with(place), "`{place}` as {wrong} was blamed on `{pointer}`: {error}");
            places += 1;
        }
        let _ = value;
    });
    assert!(places >= 200, "only {places} changes were tried");
}

#[test]
fn the_parser_and_the_schema_know_the_same_words() {
    let (schema, full) = (schema(), full());
    let mut places = 0;
    visit(&schema, &schema, &full, "", &mut |node, _, place| {
        let Some(words) = node.get("enum").and_then(Value::as_array) else {
            return;
        };
        let mut document = full.clone();
        *document.pointer_mut(place).unwrap() = json!("nonsense");
        let error = refused(&document);
        assert_eq!(error.pointer(), Some(place));
        let told: Vec<_> = error.message().split('`').skip(5).step_by(2).collect();
        let expected: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(told, expected, "at `{place}`");
        places += 1;
    });
    assert!(places >= 8, "only {places} lists of words were visited");
}

#[test]
fn the_parser_and_the_schema_require_the_same_members() {
    let (schema, full) = (schema(), full());
    visit(&schema, &schema, &full, "", &mut |node, value, place| {
        let Some(members) = value.as_object().filter(|_| node.get("properties").is_some()) else {
            return;
        };
        let required = node.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for member in members.keys() {
            let mut document = full.clone();
            document.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(member);
            let missing = format!("{place}/{member}");
            match Profile::parse(&document.to_string()) {
                Err(error) if required.contains(&json!(member)) => {
                    assert_eq!(error.pointer(), Some(&*missing));
                    assert_eq!(error.message(), format!("`{missing}` is missing"));
                }
                // Another member of the full document may need it, and says so.
                Err(error) => assert_ne!(error.message(), format!("`{missing}` is missing")),
                Ok(_) => assert!(!required.contains(&json!(member)), "`{missing}` was not missed"),
            }
        }
    });
}

#[test]
fn the_schema_refuses_the_parameters_that_the_parser_refuses() {
    let schema = schema();
    let reserved = schema.pointer("/$defs/parameters/propertyNames/not/enum").and_then(Value::as_array).unwrap();
    for name in reserved {
        let name = name.as_str().unwrap();
        let mut document = full();
        put(&mut document, &format!("/token/parameters/{name}"), json!("x"));
        assert_eq!(refused(&document).pointer(), Some(&*format!("/token/parameters/{name}")));
        assert!(grammar::check_parameter(name).is_err());
    }
    let reserved_here = |name: &str| reserved.iter().any(|known| known == name);
    for name in ["login_hint", "access_type", "tenant"] {
        assert!(!reserved_here(name) && grammar::check_parameter(name).is_ok());
    }
    assert_eq!(reserved.len(), grammar::RESERVED.len());
}

#[test]
fn a_wrong_document_is_refused_with_pointer_finding_and_what_is_allowed() {
    for (place, value, pointer, message) in [
        ("/token/method", json!("PUT"), "/token/method", "`/token/method` is `PUT`: `GET` or `POST` is allowed"),
        ("/token/method", json!(7), "/token/method", "`/token/method` is `7`: `GET` or `POST` is allowed"),
        // STD-1: OAuth token requests are POSTs.
        (
            "/token/method",
            json!("GET"),
            "/token/method",
            "`/token/method` is `GET`: only `POST` is allowed unless `/grants` is [`basic_get`]",
        ),
        (
            "/grants",
            json!(["basic_get", "client_credentials"]),
            "/token",
            "`/token` cannot serve both `basic_get` and an OAuth grant, which differ in method: write two profiles",
        ),
        (
            "/grants",
            json!([]),
            "/grants",
            "`/grants` is empty: `client_credentials`, `authorization_code`, `device_code`, `ciba`, `token_exchange`, \
             `jwt_bearer`, `basic_get` or `api_token` is allowed in it",
        ),
        (
            "/grants",
            json!(["api_token", "api_token"]),
            "/grants/1",
            "`/grants/1` stands there twice: keep one of the two",
        ),
        ("/token/endpont", json!("x"), "/token/endpont", "`/token/endpont` is not known: did you mean `endpoint`?"),
        (
            "/token/clientAuth",
            json!([]),
            "/token/clientAuth",
            "`/token/clientAuth` is not known: did you mean `client_auth`?",
        ),
        ("/token/endpoint", json!(5), "/token/endpoint", "`/token/endpoint` is a number: a string is allowed"),
        (
            "/token/endpoint",
            json!("ftp://a.example/"),
            "/token/endpoint",
            "`/token/endpoint` is not accepted: it must begin with `https://` or a variable that holds a URL",
        ),
        (
            "/token/endpoint",
            json!("{base_ulr}/token"),
            "/token/endpoint",
            "`/token/endpoint` names the variable `base_ulr`, which is not declared: did you mean `base_url`?",
        ),
        ("/token/endpoint", json!("{base_url/token"), "/token/endpoint", "`/token/endpoint` has a `{` without its `}`"),
        (
            "/token/endpoint",
            json!("{tenant}/token"),
            "/token/endpoint",
            "`/token/endpoint` has the variable `tenant` where only one of format `base_url` is allowed",
        ),
        (
            "/token/endpoint",
            json!("https://a.example/{tenant}"),
            "/token/endpoint",
            "`/token/endpoint` has the variable `tenant` where only one of format `segment` is allowed",
        ),
        (
            "/token/endpoint",
            json!("https://a.example/{text}"),
            "/token/endpoint",
            "`/token/endpoint` has the variable `text` where only one of format `segment` is allowed",
        ),
        (
            "/attach/headers/X-Text",
            json!("{text}"),
            "/attach/headers/X-Text",
            "`/attach/headers/X-Text` has the variable `text` where only one of format `header_value` is allowed",
        ),
        (
            "/attach/headers/Host",
            json!("a"),
            "/attach/headers/Host",
            "`/attach/headers/Host` belongs to the connection: the HTTP client sets it",
        ),
        (
            "/attach/headers/x-TENANT",
            json!("a"),
            "/attach/headers/x-TENANT",
            "`/attach/headers/x-TENANT` stands there twice: keep one of the two",
        ),
        (
            "/attach/headers/authorization",
            json!("a"),
            "/attach/headers/authorization",
            "`/attach/headers/authorization` stands there twice: keep one of the two",
        ),
        (
            "/token/answer/access_token",
            json!("token"),
            "/token/answer/access_token",
            "`/token/answer/access_token` is no JSON pointer: `/` and a member's name are expected, as in `/data/token`",
        ),
        (
            "/token/answer/expires_at/unit",
            json!("hours"),
            "/token/answer/expires_at/unit",
            "`/token/answer/expires_at/unit` is `hours`: `s`, `ms` or `iso8601` is allowed",
        ),
        (
            "/token/missing_lifetime",
            json!(0),
            "/token/missing_lifetime",
            "`/token/missing_lifetime` is `0`: a number of seconds from 1 to 315360000 is allowed",
        ),
        (
            "/token/missing_lifetime",
            json!("forever"),
            "/token/missing_lifetime",
            "`/token/missing_lifetime` is `forever`: `do_not_cache` is allowed",
        ),
        (
            "/token/soft_margin",
            json!(-1),
            "/token/soft_margin",
            "`/token/soft_margin` is `-1`: a number of seconds from 0 to 86400 is allowed",
        ),
        (
            "/token/parameters/scope",
            json!("a"),
            "/token/parameters/scope",
            "`/token/parameters/scope` is reserved: use the option `scope`",
        ),
        (
            "/token/scope/default",
            json!(["b"]),
            "/token/scope/default",
            "`/token/scope/default` names `b`, which `known` doesn't list",
        ),
        (
            "/token/scope/default",
            json!(["a b"]),
            "/token/scope/default/0",
            "`/token/scope/default/0` holds a space at character 2 of 3: printable ASCII without spaces, `\"` and `\\` is allowed in a scope (RFC 6749 section 3.3)",
        ),
        ("/api_origins/0", json!("https://a.example/path"), "/api_origins/0", ""),
        ("/variables/base_url/default", json!("http://a.example"), "/variables/base_url/default", ""),
        (
            "/variables/unused",
            json!({"description": "x", "format": "text"}),
            "/variables/unused",
            "`/variables/unused` is used nowhere: put `{unused}` where its value belongs, or remove it",
        ),
        (
            "/variables/scope",
            json!({"description": "x", "format": "text"}),
            "/variables/scope",
            "`/variables/scope` is the name of an option that every client has: take another",
        ),
        (
            "/variables/Tenant",
            json!({"description": "x", "format": "text"}),
            "/variables/Tenant",
            "`/variables/Tenant` is no variable's name: lower-case letters, digits and `_` are allowed, a letter first",
        ),
        (
            "/name",
            json!("Phoenix Wallet"),
            "/name",
            "`/name` is no profile's name: lower-case letters, digits and `-` are allowed, a letter first, at most 64",
        ),
        ("/title", json!(""), "/title", "`/title` is empty: give it a value, or leave it out"),
    ] {
        let mut document = full();
        put(&mut document, place, value);
        let error = refused(&document);
        assert_eq!(error.pointer(), Some(pointer), "{error}");
        if message.is_empty() {
            assert!(error.message().starts_with(&format!("`{pointer}` ")), "{error}");
        } else {
            assert_eq!(error.message(), message);
        }
    }
}

#[test]
fn a_section_that_a_grant_needs_is_missed() {
    let mut document = full();
    // Metadata would tell what is missing.
    document.as_object_mut().unwrap().remove("discovery");
    document["grants"] = json!(["authorization_code", "device_code", "api_token"]);
    for (section, pointer) in [
        ("token", "/token"),
        ("authorization", "/authorization"),
        ("endpoints", "/endpoints/device_authorization"),
        ("api_token", "/api_token"),
    ] {
        let mut document = document.clone();
        document.as_object_mut().unwrap().remove(section);
        // The variables that stand in the section are not what is wrong.
        let error = refused(&document);
        assert_eq!(error.pointer(), Some(pointer), "{error}");
        assert!(error.message().contains("needs it"), "{error}");
    }
    for section in ["token", "authorization"] {
        let mut document = document.clone();
        document[section].as_object_mut().unwrap().remove("endpoint");
        assert_eq!(refused(&document).message(), format!("`/{section}/endpoint` is missing"));
    }
}

#[test]
fn text_that_is_not_json_is_refused_with_line_and_column_and_without_an_echo() {
    for (text, place) in [
        ("", "ends too early at line 1, column 0"),
        ("{\n  \"name\": hunter2\n}", "is not JSON at line 2, column 11"),
        ("{\"name\": \"hunter2\"", "ends too early at line 1, column 18"),
        ("{\"name\": \"hunter2\"} x", "is not JSON at line 1, column 21"),
    ] {
        let error = Profile::parse(text).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidProfile);
        assert_eq!(error.message(), format!("the profile {place}"));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(error.hint().is_some());
    }
}

#[test]
fn odd_json_is_refused_and_a_byte_order_mark_is_not() {
    let twice =
        r#"{"name": "a", "title": "b", "token": {"endpoint": "https://a.example", "endpoint": "https://b.example"}}"#;
    let error = Profile::parse(twice).unwrap_err();
    assert_eq!(
        (error.message(), error.pointer()),
        ("`/token/endpoint` stands there twice: keep one of the two", Some("/token/endpoint"))
    );

    let error = Profile::parse(r#"{"name": "\ud800"}"#).unwrap_err();
    assert_eq!(error.message(), "`/name` holds an escape that is no character");

    let deep = format!("{{\"notes\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Profile::parse(&deep).unwrap_err().message().ends_with("is nested too deep: 16 levels are allowed"));

    for text in ["[]", "5", "null", "\"phoenix-wallet\""] {
        assert_eq!(Profile::parse(text).unwrap_err().pointer(), Some(""));
    }
    assert!(Profile::parse(&format!("\u{feff}{}", Profile::built_in("personify").unwrap())).is_ok());
}

#[test]
fn a_key_of_the_document_with_a_slash_is_escaped_in_the_pointer() {
    let mut document = full();
    document["errors"]["a/b~c"] = json!({"meaning": 5});
    assert_eq!(refused(&document).pointer(), Some("/errors/a~1b~0c/meaning"));
}

/// A document with every member that there is.
fn full() -> Value {
    json!({
        "$schema": "schema.json",
        "name": "full",
        "title": "Full",
        "documentation": [{"title": "Page", "url": "https://docs.example", "dated": "2026-01-01", "read": "2026-01-02"}],
        "variables": {
            "base_url": {"description": "base", "format": "base_url", "default": "https://a.example"},
            "tenant": {"description": "tenant", "format": "header_value", "required": false},
            "text": {"description": "text", "format": "text", "default": "x"},
            "auth_header": {"description": "header", "values": ["Authorization", "x-auth"], "default": "Authorization"},
        },
        "grants": ["authorization_code", "client_credentials", "api_token"],
        "token": {
            "endpoint": "{base_url}/token",
            "method": "POST",
            "client_auth": ["client_secret_basic", "client_secret_post"],
            "scope": {"default": ["a"], "known": {"a": "all"}, "closed": true},
            "parameters": {"flavour": "{text}"},
            "answer": {
                "access_token": "/data/token",
                "token_type": "/data/type",
                "assume_token_type": "Bearer",
                "expires_in": "/data/in",
                "expires_at": {"pointer": "/data/at", "unit": "ms"},
                "refresh_token": "/data/refresh",
                "scope": "/data/scope",
                "ok": "/ok",
                "form": true,
            },
            "missing_lifetime": 60,
            "soft_margin": 30,
            "rotation_grace": 5,
            "assertion": {
                "issuer": "{text}",
                "subject": "x",
                "audience": "{base_url}",
                "scope": true,
                "claims": {"box_sub_type": "user"},
            },
        },
        "discovery": {"issuer": "{base_url}", "forms": ["oauth-authorization-server", "openid-configuration"]},
        "endpoints": {
            "device_authorization": "{base_url}/device",
            "backchannel_authentication": "{base_url}/ciba",
            "pushed_authorization_request": "{base_url}/par",
            "introspection": "{base_url}/introspect",
            "revocation": "{base_url}/revoke",
            "registration": "{base_url}/register",
            "jwks": "{base_url}/jwks",
        },
        "authorization": {
            "endpoint": "{base_url}/authorize",
            "issuer": "{base_url}",
            "iss_required": true,
            "response_mode": "form_post.jwt",
            "parameters": {"access_type": "offline"},
        },
        "attach": {"header": "{auth_header}", "scheme": "Bearer", "headers": {"X-Tenant": "{tenant}"}, "insecure_query": "token"},
        "api_token": {"scheme": "Basic", "insecure_query": "key"},
        "api_origins": ["{base_url}"],
        "errors": {"odd": {"meaning": "means", "hint": "do", "verdict": "terminal"}},
        "notes": ["note"],
    })
}

#[test]
fn the_full_document_is_accepted_and_understood() {
    let profile = Profile::parse(&full().to_string()).unwrap();
    let token = profile.token.unwrap();
    assert_eq!(token.answer.access_token, ["data", "token"]);
    assert_eq!(token.answer.expires_in.unwrap(), ["data", "in"]);
    assert_eq!(
        token.answer.expires_at.unwrap(),
        (["data".to_owned(), "at".to_owned()].to_vec(), TimeUnit::Milliseconds)
    );
    assert_eq!(token.missing_lifetime, Some(MissingLifetime::Assume(60_000)));
    assert_eq!((token.soft_margin, token.rotation_grace), (Some(30_000), Some(5_000)));
    assert_eq!(profile.errors["odd"].verdict, Some(Verdict::Terminal));
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn refused(document: &Value) -> Error {
    let error = Profile::parse(&document.to_string()).expect_err("the document was accepted");
    assert_eq!(error.code(), ErrorCode::InvalidProfile);
    error
}

/// Writes a value, making the object's member if it is not there.
fn put(document: &mut Value, place: &str, value: Value) {
    let (parent, member) = place.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.insert(member.to_owned(), value)),
        Value::Array(items) => items[member.parse::<usize>().unwrap()] = value,
        other => panic!("{parent} is {other}"),
    }
}

/// Calls back for each schema that applies to each part of the document.
fn visit(root: &Value, node: &Value, value: &Value, place: &str, see: &mut dyn FnMut(&Value, &Value, &str)) {
    let merged = resolve(root, node);
    let node = &merged;
    see(node, value, place);
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let place = format!("{place}/{name}");
                if let Some(node) = node.pointer(&format!("/properties/{name}")) {
                    visit(root, node, value, &place, see);
                } else if let Some(node) = node.get("additionalProperties").filter(|node| node.is_object()) {
                    visit(root, node, value, &place, see);
                }
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                if let Some(node) = node.get("items") {
                    visit(root, node, value, &format!("{place}/{at}"), see);
                }
            }
        }
        _ => {}
    }
}

/// A schema with what it refers to put in.
fn resolve(root: &Value, node: &Value) -> Value {
    let mut merged: Map<String, Value> = node.as_object().unwrap().clone();
    if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        for (name, value) in resolve(root, target).as_object().unwrap() {
            merged.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    Value::Object(merged)
}

/// As much of JSON Schema as it takes to tell values of a wrong type.
fn is_allowed(root: &Value, node: &Value, value: &Value) -> bool {
    let node = resolve(root, node);
    if let Some(choices) = node.get("anyOf").or_else(|| node.get("oneOf").filter(|_| node.get("type").is_none())) {
        return choices.as_array().unwrap().iter().any(|choice| is_allowed(root, choice, value));
    }
    if let Some(words) = node.get("enum") {
        return words.as_array().unwrap().contains(value);
    }
    if let Some(word) = node.get("const") {
        return word == value;
    }
    match (node.get("type").and_then(Value::as_str).unwrap(), value) {
        ("string", Value::String(_)) => node.get("pattern").is_none(),
        ("number", Value::Number(number)) => number.as_f64() >= node["minimum"].as_f64(),
        ("array", Value::Array(_)) => node.get("minItems").is_none(),
        ("object", Value::Object(_)) => node.get("required").is_none(),
        ("boolean", Value::Bool(_)) | ("null", Value::Null) => true,
        _ => false,
    }
}
