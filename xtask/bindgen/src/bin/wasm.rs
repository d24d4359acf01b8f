//! Writes the JavaScript glue for one compiled wasm module.
//!
//! A program of its own: `cargo xtask` starts at once and builds this one only when it packages something.

use std::{env, path::PathBuf};

use anyhow::{Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [input, name, out] = arguments.as_slice() else {
        bail!("usage: wasm INPUT.wasm OUT_NAME OUT_DIR");
    };
    let Some(name) = name.to_str() else {
        bail!("OUT_NAME must be UTF-8");
    };
    // `web` is the one target whose glue survives a bundler: it takes the bytes from its caller.
    Bindgen::new()
        .input_path(PathBuf::from(input))
        .out_name(name)
        .web(true)?
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(PathBuf::from(out))
}
