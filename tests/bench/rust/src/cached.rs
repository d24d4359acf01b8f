//! A cached token, handed out.

use std::error::Error;
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use oauth2::basic::{BasicTokenResponse, BasicTokenType};
use oauth2::{AccessToken, EmptyExtraTokenFields, TokenResponse};
use remint::Client;
use remint::client::{Incoming, Outgoing, SendError};
use rustix::time::{ClockId, clock_gettime};

use crate::exchange::{ID, SCOPE, SECRET, answer, token};
use crate::measure::{Work, compare};

pub fn run() -> Result<(), Box<dyn Error>> {
    let send = |_: Outgoing| -> Result<Incoming, SendError> {
        Ok(Incoming { status: 200, headers: Vec::new(), body: answer().into_bytes() })
    };
    let client =
        Client::builder("phoenix-wallet").client_id(ID).client_secret(SECRET).scope(SCOPE.split(' ')).build(send)?;
    client.token()?;
    client.peek().ok_or("nothing is cached")?;

    let behind_a_lock = ByHand::new(Mutex::new);
    let behind_a_rwlock = ByHand::new(RwLock::new);
    compare(
        "Cached token",
        50_000,
        Work::new("`client.peek()`", || client.peek()),
        vec![
            // At most twice that.
            Work::new("one read of the coarse clock", || clock_gettime(ClockId::RealtimeCoarse)).target(0.5),
            Work::new("`Instant::now()`", Instant::now),
            Work::new("oauth2-rs, cached by hand behind a `Mutex`", || {
                behind_a_lock.0.lock().ok().and_then(|held| held.access_token())
            }),
            Work::new("oauth2-rs, cached by hand behind an `RwLock`", || {
                behind_a_rwlock.0.read().ok().and_then(|held| held.access_token())
            }),
            Work::new("our `client.token()`", || client.token()),
        ],
    );
    Ok(())
}

/// What people write around oauth2-rs, which has no cache.
struct ByHand<L>(L);

struct Held {
    answer: BasicTokenResponse,
    expires: Instant,
}

impl<L> ByHand<L> {
    fn new(lock: impl Fn(Held) -> L) -> Self {
        let life = Duration::from_secs(3_600);
        let token = AccessToken::new(token());
        let mut answer = BasicTokenResponse::new(token, BasicTokenType::Bearer, EmptyExtraTokenFields {});
        answer.set_expires_in(Some(&life));
        Self(lock(Held { expires: Instant::now() + life - Duration::from_secs(60), answer }))
    }
}

impl Held {
    fn access_token(&self) -> Option<AccessToken> {
        (Instant::now() < self.expires).then(|| self.answer.access_token().clone())
    }
}
