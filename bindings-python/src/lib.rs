//! The native half of the Python package `remint`: it turns Python values into the core's, and back.
//!
//! `core` guards the step machine, `lease` holds the token that the hot path hands out, `exchange` is one
//! request to the token endpoint without the cache, `registration` one about a client, `convert` knows how values look on either side.
//! Decisions about protocol, expiry and errors live in the crate `remint`; waiting and I/O in `python/remint`.

mod clock;
mod convert;
mod core;
mod exchange;
mod lease;
mod registration;

/// The interpreter's view of this crate. State is behind mutexes that are never held while Python code runs,
/// so free-threaded interpreters need no GIL for it.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::clock::now;
    #[pymodule_export]
    use crate::core::Core;
    #[pymodule_export]
    use crate::exchange::Exchange;
    #[pymodule_export]
    use crate::lease::{LeaseCell, Token};
    #[pymodule_export]
    use crate::registration::{Registrar, Registration};

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name that Python code looks for")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
