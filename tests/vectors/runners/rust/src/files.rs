//! Finding vector files: every `.json` below a directory but the index and the schema.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file's name, and its vectors or what is wrong with it.
pub(crate) type File = (String, Result<Vec<Value>, String>);

/// Reads all vector files below `directory`, in the order of their names.
pub(crate) fn read(directory: &Path) -> Result<Vec<File>, String> {
    let mut paths = Vec::new();
    collect(directory, &mut paths)?;
    paths.sort();
    if paths.is_empty() {
        return Err(format!("`{}` holds no vector file", directory.display()));
    }
    Ok(paths
        .iter()
        .map(|path| (path.strip_prefix(directory).unwrap_or(path).display().to_string(), vectors(path)))
        .collect())
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) -> Result<(), String> {
    let fault = |error| format!("`{}` cannot be read: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // The runners live beside the vectors; what they bring along is no vector.
            if name != "runners" && name != "node_modules" && !name.starts_with('.') {
                collect(&path, into)?;
            }
        } else if name.ends_with(".json") && name != "index.json" && name != "schema.json" {
            into.push(path);
        }
    }
    Ok(())
}

/// A file holds one vector, a list of them, or an object whose member `vectors` is the list.
fn vectors(path: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("  cannot be read: {error}"))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("  is not JSON: {error}"))?;
    match value {
        Value::Array(vectors) => Ok(vectors),
        Value::Object(mut object) => match object.remove("vectors") {
            Some(Value::Array(vectors)) => match object.keys().find(|name| *name != "about" && *name != "$schema") {
                Some(name) => Err(format!("  `{name}` is not understood beside `vectors`")),
                None => Ok(vectors),
            },
            Some(_) => Err("  `vectors` must be a list".to_owned()),
            None => Ok(vec![Value::Object(object)]),
        },
        _ => Err("  holds neither a vector nor a list of vectors".to_owned()),
    }
}
