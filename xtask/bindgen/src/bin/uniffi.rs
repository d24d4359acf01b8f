//! Writes the Kotlin or the Swift side of one compiled library.

use std::env;

use anyhow::{Result, bail};
use uniffi::{GenerateOptions, TargetLanguage};

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [library, language, out] = arguments.as_slice() else {
        bail!("usage: uniffi LIBRARY kotlin|swift OUT_DIR");
    };
    let language = match language.as_str() {
        "kotlin" => TargetLanguage::Kotlin,
        "swift" => TargetLanguage::Swift,
        other => bail!("no language `{other}`; there are kotlin and swift"),
    };
    uniffi::generate(GenerateOptions {
        languages: vec![language],
        // Unstripped: what crosses the boundary is described in the library's symbols.
        source: library.into(),
        out_dir: out.into(),
        format: false,
        config_override: None,
        crate_filter: None,
        metadata_no_deps: false,
    })
}
