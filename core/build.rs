//! Writes the built-in profiles as they are compiled in: without blanks, and without the pages that they were written from,
//! which only people read. That is a third of them.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=profiles");
    let mut files: Vec<_> = fs::read_dir("profiles")?.collect::<Result<_, _>>()?;
    // By name, which is not the order of file names: `-` comes before `.`.
    files.sort_by_key(|file| file.path().file_stem().map(ToOwned::to_owned));
    let mut list = String::from("[\n");
    for file in files {
        let path = file.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a profile's name is not UTF-8")?;
        if path.extension().is_none_or(|extension| extension != "json") || name == "schema" {
            continue;
        }
        let document = fs::read_to_string(&path)?;
        let document = without("$schema", &without("documentation", &packed(&document)));
        writeln!(list, "    ({name:?}, {document:?}),")?;
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("profiles.rs"), list)?;
    Ok(())
}

/// The JSON text without the blanks between its parts.
fn packed(text: &str) -> String {
    let (mut is_text, mut is_escaped) = (false, false);
    let keeps = |character: &char| {
        let is_kept = is_text || !character.is_ascii_whitespace();
        is_text ^= *character == '"' && !is_escaped;
        is_escaped = is_text && *character == '\\' && !is_escaped;
        is_kept
    };
    text.chars().filter(keeps).collect()
}

/// The object's text without one of its members, which is not the last one.
fn without(name: &str, object: &str) -> String {
    let Some((before, member)) = object.split_once(&format!("\"{name}\":")) else { return object.to_owned() };
    let (mut depth, mut is_text, mut is_escaped) = (0_u32, false, false);
    let is_end = |character: char| {
        is_text ^= character == '"' && !is_escaped;
        is_escaped = is_text && character == '\\' && !is_escaped;
        match character {
            '[' | '{' if !is_text => depth += 1,
            ']' | '}' if !is_text => depth = depth.saturating_sub(1),
            ',' if !is_text => return depth == 0,
            _ => {}
        }
        false
    };
    member.split_once(is_end).map_or_else(|| object.to_owned(), |(_, after)| format!("{before}{after}"))
}
