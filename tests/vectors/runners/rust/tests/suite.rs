//! The vectors as a suite: the schema holds, the index is complete, and every requirement has a vector or a reason.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use boon::{Compiler, Schemas};
use serde_json::Value;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> Value {
    let text = fs::read_to_string(directory().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Every vector, by the file that it is in.
fn vectors() -> BTreeMap<String, Vec<Value>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".json") && name != "index.json" && name != "schema.json" {
            let vectors = read(&name).as_array().unwrap().clone();
            files.insert(name, vectors);
        }
    }
    files
}

#[test]
fn every_file_is_what_the_schema_says() {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.add_resource("schema.json", read("schema.json")).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap();
    for (file, vectors) in vectors() {
        let vectors = Value::Array(vectors);
        if let Err(error) = schemas.validate(&vectors, schema) {
            panic!("{file}: {error}");
        }
    }
}

#[test]
fn the_index_lists_every_vector_once() {
    let index = read("index.json");
    let listed: BTreeMap<String, Vec<String>> =
        index["files"].as_object().unwrap().iter().map(|(file, ids)| (file.clone(), texts(ids))).collect();
    let mut seen = BTreeSet::new();
    for (file, vectors) in vectors() {
        let theme = file.trim_end_matches(".json");
        let ids: Vec<String> = vectors.iter().map(|vector| vector["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed.get(&file), Some(&ids), "index.json does not list what is in {file}");
        for id in ids {
            assert!(id.starts_with(&format!("{theme}/")), "`{id}` of {file} is named after another file");
            assert!(seen.insert(id.clone()), "two vectors are called `{id}`");
        }
    }
    assert_eq!(listed.len(), vectors().len(), "index.json lists files that are not there");
}

#[test]
fn every_requirement_has_a_vector_or_a_reason() {
    let index = read("index.json");
    let rows: BTreeSet<String> = texts(&index["rows"]).into_iter().collect();
    let reasons: BTreeSet<String> = index["not_visible"].as_object().unwrap().keys().cloned().collect();
    let mut covered = BTreeSet::new();
    for vector in vectors().into_values().flatten() {
        let covers = texts(&vector["covers"]);
        assert!(!covers.is_empty(), "{} covers nothing", vector["id"]);
        covered.extend(covers);
    }
    let listed = |prefix: &str, numbers: &[std::ops::RangeInclusive<u32>]| {
        for number in numbers.iter().cloned().flatten() {
            assert!(rows.contains(&format!("{prefix}-{number}")), "{prefix}-{number} is not among the rows");
        }
    };
    listed("STD", &[1..=148]);
    listed("P", &[1..=25]);
    let missing: Vec<&String> = rows.iter().filter(|row| !covered.contains(*row) && !reasons.contains(*row)).collect();
    assert!(missing.is_empty(), "neither a vector nor a reason: {missing:?}");
    let needless: Vec<&String> = reasons.iter().filter(|row| covered.contains(*row) || !rows.contains(*row)).collect();
    assert!(needless.is_empty(), "a reason for what has a vector, or for no row: {needless:?}");
    let unknown: Vec<&String> = covered.iter().filter(|row| !rows.contains(*row)).collect();
    assert!(unknown.is_empty(), "vectors cover rows that nobody listed: {unknown:?}");
}

#[test]
fn every_built_in_profile_has_a_vector() {
    let given: BTreeSet<String> = vectors()
        .into_values()
        .flatten()
        .filter(|vector| texts(&vector["covers"]).iter().any(|row| row == "contract:providers"))
        .filter_map(|vector| Some(vector["given"]["profile"].as_str()?.to_owned()))
        .collect();
    for entry in fs::read_dir(directory().join("../../core/profiles")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if let Some(name) = file.strip_suffix(".json").filter(|name| *name != "schema") {
            assert!(given.contains(name), "no vector of `{name}`");
        }
    }
}
