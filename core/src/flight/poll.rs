//! Waiting for a person who answers somewhere else (RFC 8628 sections 3.4 and 3.5, CIBA section 11).

use crate::error::{Error, ErrorCode};
use crate::exchange::TokenRequest;
use crate::machine::{Core, Turn};
use crate::response::{Refusal, Verdict};
use crate::step::{FlightId, Operation};

/// One person's answer that is waited for. Times are milliseconds.
pub(crate) struct Polling {
    request: TokenRequest,
    /// The pause before every poll, the first one too (STD-97).
    pub(crate) interval: i64,
    /// When the code or request has run out, on the boot clock.
    pub(crate) expires: i64,
}

impl Polling {
    pub(crate) fn new(request: TokenRequest, interval: i64, expires: i64) -> Self {
        Self { request, interval, expires }
    }

    pub(super) fn request(&self) -> TokenRequest {
        self.request.clone()
    }
}

impl Core {
    /// A poll brought no token: wait on, more slowly if asked to, or end.
    pub(super) fn poll_refused(&mut self, id: FlightId, refusal: Refusal, turn: &mut Turn<'_>) {
        let Some(poll) = self.flights.get_mut(&id).and_then(|flight| flight.work.poll.as_mut()) else { return };
        match refusal.error.oauth_error() {
            Some("authorization_pending") => {}
            // For good, and every time anew (STD-98).
            Some("slow_down") => poll.interval = poll.interval.saturating_add(SLOWER),
            Some("expired_token") => {
                self.fail(id, terminal(expired().with_oauth_error("expired_token")), turn);
                return;
            }
            // Fewer polls for a server that can't keep up (STD-100).
            _ if refusal.verdict == Verdict::Transient => {
                poll.interval = poll.interval.saturating_mul(2).min(SLOWEST.max(poll.interval));
            }
            _ => {
                self.fail(id, refusal, turn);
                return;
            }
        }
        let pause = refusal.retry_after.unwrap_or(0).min(self.config.policy.retry_after_max);
        let next = turn.now.boot.saturating_add(poll.interval.max(pause));
        if next >= poll.expires {
            // Nothing comes of a code that has run out (STD-101).
            self.fail(id, terminal(expired()), turn);
            return;
        }
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.asleep_until = Some(next);
            // Each poll may be refused once for its proof.
            flight.proven_again = false;
        }
        turn.step.operations.push(Operation::Sleep { flight: id, until: next });
    }
}

pub(crate) fn expired() -> Error {
    Error::new(
        ErrorCode::AuthorizationExpired,
        "nobody answered in time: begin again if the person wants to (RFC 8628 section 3.5)",
    )
}

fn terminal(error: Error) -> Refusal {
    Refusal { verdict: Verdict::Terminal, error, retry_after: None, refresh_token: None }
}

/// What `slow_down` adds to the pause.
const SLOWER: i64 = 5_000;
/// No pause grows beyond this by doubling.
const SLOWEST: i64 = 60_000;
