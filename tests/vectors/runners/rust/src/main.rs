//! Runs behaviour vectors against the Rust host: `vectors-rust DIR`.
//!
//! Every vector runs on the step machine; those about callers run once more through the client. The
//! format is described in `tests/vectors/README.md`. What a vector says and this runner does not
//! understand is a failure, never a skip.

mod client;
mod compare;
mod fields;
mod files;
mod keep;
mod machine;
mod outcome;
mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

fn main() -> ExitCode {
    let mut directory = None;
    for argument in std::env::args_os().skip(1) {
        if directory.replace(PathBuf::from(argument)).is_some() {
            eprintln!("one directory is expected: vectors-rust DIR");
            return ExitCode::from(2);
        }
    }
    let Some(directory) = directory else {
        eprintln!("a directory is expected: vectors-rust DIR");
        return ExitCode::from(2);
    };
    let files = match files::read(&directory) {
        Ok(files) => files,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let (mut passed, mut failed) = (0, 0);
    let mut count = |name: &str, result: Result<(), String>| match result {
        Ok(()) => passed += 1,
        Err(problem) => {
            failed += 1;
            println!("FAILED {name}\n{problem}\n");
        }
    };
    for (file, vectors) in files {
        match vectors {
            Err(problem) => count(&file, Err(problem)),
            Ok(vectors) => {
                for (number, vector) in vectors.iter().enumerate() {
                    let name = name(&file, number, vector);
                    count(&name, machine::run(vector));
                    if client::is_about_callers(vector) {
                        through::<client::Threads>(&name, vector, &mut count);
                        through::<client::Tasks>(&name, vector, &mut count);
                    }
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn through<S: client::Shell>(name: &str, vector: &Value, count: &mut impl FnMut(&str, Result<(), String>)) {
    count(&format!("{name} (through {})", S::TITLE), client::run::<S>(vector));
}

fn name(file: &str, number: usize, vector: &Value) -> String {
    let title = vector.get("title").and_then(Value::as_str).unwrap_or("without a title");
    match vector.get("id").and_then(Value::as_str) {
        Some(id) => format!("{file}: {id}: {title}"),
        None => format!("{file} #{}: {title}", number + 1),
    }
}
