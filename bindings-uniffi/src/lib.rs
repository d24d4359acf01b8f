//! The core for Kotlin and Swift. Records and enums go in and come out; every decision is made in the crate `remint`.
//!
//! `event.rs` and `step.rs` mirror the modules of the same names, as flat as those languages like it. Integers are
//! signed, since unsigned ones mangle names on the JVM; what is secret crosses as [`Secret`] or [`SecretBytes`],
//! which the foreign side wraps in a type that prints nothing.

#![expect(clippy::result_large_err, reason = "an error crosses through a buffer, once")]

mod event;
mod failure;
mod registration;
mod step;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use remint::{Config, Now, Secret, TokenRequest};

use crate::{
    event::{Event, Header},
    failure::CoreError,
    step::{Answer, HttpRequest, Step, TokenSet},
};

uniffi::setup_scaffolding!();

// A token, credential, code or refresh token.
uniffi::custom_type!(Secret, String, {
    remote,
    lower: |secret| secret.expose().to_owned(),
    try_lift: |text| Ok(Secret::new(text)),
});

/// A body that may hold one.
#[derive(Debug)]
pub struct SecretBytes(Vec<u8>);

uniffi::custom_type!(SecretBytes, Vec<u8>, {
    lower: |bytes| bytes.0,
    try_lift: |bytes| Ok(SecretBytes(bytes)),
});

/// The step machine: what every client of this package drives, for those who drive it themselves.
///
/// It does no I/O and has no clock of its own. Not covered by semantic versioning.
#[derive(Debug, uniffi::Object)]
pub struct Core(Mutex<remint::Core>);

#[uniffi::export]
impl Core {
    /// Checks the options, one JSON object with the names that the README lists and durations in seconds, and starts
    /// with an empty cache.
    ///
    /// Throws if an option is missing, unknown or not allowed; the failure names it.
    #[uniffi::constructor]
    pub fn new(options: Secret) -> Result<Self, CoreError> {
        Ok(Self(Mutex::new(remint::Core::new(Config::new(options.expose())?))))
    }

    /// Takes one event, and says all that follows from it. Never throws: what cannot be taken is answered with `Fail`.
    ///
    /// `entropy` is 32 bytes, fresh for every event.
    pub fn handle(&self, event: Event, now: Now, entropy: &[u8]) -> Step {
        let step = entropy
            .try_into()
            .map_err(|_| failure::invalid_event("`entropy` must be 32 bytes"))
            .and_then(|entropy| Ok(self.lock().handle(event.try_into()?, now, entropy)));
        match step {
            Ok(step) => step.into(),
            Err(error) => Step { answer: Some(Answer::Fail { failure: error.into() }), ..Step::default() },
        }
    }

    /// Builds one request to the token endpoint outside of the cache, and what alone can read its answer.
    pub fn build(&self, request: TokenRequest) -> Result<Arc<Exchange>, CoreError> {
        let config = self.lock().config().clone();
        let (request, exchange) = config.build(request)?;
        Ok(Arc::new(Exchange { request: request.into(), exchange: Mutex::new(Some(exchange)) }))
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, remint::Core> {
        // The core does not panic, so nothing half-changed can be behind a poisoned lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One token request outside of the cache, and what alone can read its answer.
#[derive(Debug, uniffi::Object)]
pub struct Exchange {
    request: HttpRequest,
    exchange: Mutex<Option<remint::Exchange>>,
}

#[uniffi::export]
impl Exchange {
    /// The request, to be sent exactly once with redirects off.
    pub fn request(&self) -> HttpRequest {
        self.request.clone()
    }

    /// Reads the answer, once. `started` is what both clocks showed when the request was started: the lifetime counts
    /// from there.
    pub fn finish(
        &self,
        status: i32,
        headers: Vec<Header>,
        body: SecretBytes,
        started: Now,
    ) -> Result<TokenSet, CoreError> {
        let exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner).take();
        let exchange = exchange.ok_or_else(|| failure::invalid_event("an exchange reads one answer: build another"))?;
        let headers = event::pairs(headers);
        let response = remint::HttpResponse { status: event::status(status)?, headers: &headers, body: &body.0 };
        Ok(exchange.finish(response, started)?.into())
    }
}
