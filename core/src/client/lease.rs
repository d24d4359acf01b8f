//! The hot path: a token that is handed out without asking the core.

use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use core::time::Duration;
use std::sync::{Arc, RwLock, TryLockError};
use std::time::SystemTime;

use super::clock::Time;
use crate::clock::Now;
use crate::step::Call;
use crate::token::Lease;

/// A token with life left, and what goes with it. It derefs to [`remint::Token`](crate::Token): `access_token`, `scope`,
/// `generation`, `token_type()`, `authorization()`.
///
/// Cloning it copies no secret; printing it shows none.
#[derive(Clone)]
pub struct Token {
    held: Arc<Held>,
    pub(crate) call: Call,
}

/// What is kept of a lease.
pub(crate) struct Held {
    lease: Lease,
    time: Time,
    /// The tick at which both clocks were last seen to be before `recheck`.
    checked: AtomicI64,
    standing: AtomicU8,
}

/// Everybody may be answered from it while both clocks are before `recheck`.
const GOOD: u8 = 0;
/// The token is good, but the core has news: ask it first.
const ASK: u8 = 1;
/// It was withdrawn.
const WITHDRAWN: u8 = 2;
/// How often a slot that is being read is tried.
const TRIES: usize = 1_000;
/// No tick that a clock shows.
const NEVER: i64 = i64::MIN;

/// The place that one cache key's lease is read from.
///
/// It is written only under the lock of the client's state. Nobody waits for it: in a fork's child it may be locked for ever
/// by a thread that is not there.
#[derive(Default)]
pub(crate) struct Slot {
    current: RwLock<Option<Arc<Held>>>,
    /// An API refused this key's token last.
    pub(crate) is_refused: AtomicBool,
}

impl Token {
    /// The same token in another call.
    pub(crate) fn with_call(self, call: Call) -> Self {
        Self { call, ..self }
    }

    /// When it has run out, as the system's clock has it.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        let millis = u64::try_from(self.expires.wall).unwrap_or_default();
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The life that it has left now, by whichever clock says less; zero if it has run out.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        let left = self.held.time.now().until(self.expires);
        Duration::from_millis(u64::try_from(left).unwrap_or_default())
    }
}

impl Held {
    pub(crate) fn new(lease: Lease, time: &Time) -> Arc<Self> {
        let standing = AtomicU8::new(GOOD);
        Arc::new(Self { lease, time: time.clone(), checked: AtomicI64::new(NEVER), standing })
    }

    /// The token for the one whose question was answered with it.
    pub(crate) fn own(self: &Arc<Self>) -> Token {
        Token { held: self.clone(), call: self.lease.call }
    }

    /// The token for anybody else.
    fn shared(self: &Arc<Self>) -> Token {
        Token { held: self.clone(), call: self.lease.lease_call }
    }

    pub(crate) fn is_worth_keeping(&self, now: Now) -> bool {
        now.until(self.lease.recheck) > 0
    }

    pub(crate) fn generation(&self) -> u64 {
        self.lease.token.generation
    }

    pub(crate) fn withdraw(&self) {
        self.standing.store(WITHDRAWN, Ordering::Release);
    }

    /// The core is to be asked before the next caller gets it.
    pub(crate) fn question(&self) {
        // A withdrawn one stays withdrawn.
        let _ = self.standing.compare_exchange(GOOD, ASK, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn is_fresh(&self) -> bool {
        if self.standing.load(Ordering::Acquire) != GOOD {
            return false;
        }
        let tick = self.time.tick();
        if tick.is_some_and(|tick| tick == self.checked.load(Ordering::Relaxed)) {
            return true;
        }
        if self.time.now().until(self.lease.recheck) <= 0 {
            return false;
        }
        if let Some(tick) = tick {
            self.checked.store(tick, Ordering::Relaxed);
        }
        true
    }

    fn is_alive(&self) -> bool {
        self.is_fresh()
            || self.standing.load(Ordering::Acquire) != WITHDRAWN && self.time.now().until(self.lease.token.expires) > 0
    }
}

impl Slot {
    /// The token, if anybody may have it without a question.
    pub(crate) fn fresh(&self) -> Option<Token> {
        self.read(Held::is_fresh).flatten()
    }

    /// The token, if it has life left; nothing at all if somebody is writing here.
    pub(crate) fn alive(&self) -> Option<Option<Token>> {
        self.read(Held::is_alive)
    }

    fn read(&self, is_good: impl Fn(&Held) -> bool) -> Option<Option<Token>> {
        let current = match self.current.try_read() {
            Ok(current) => current,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(current.as_ref().filter(|held| is_good(held)).map(Held::shared))
    }

    pub(crate) fn write(&self, mut held: Option<Arc<Held>>) {
        // A reader is gone after some nanoseconds. If none of the tries succeeds, what stands here is marked if it is not good
        // any more, and the next answer comes soon.
        for _ in 0..TRIES {
            match self.current.try_write() {
                Ok(mut current) => core::mem::swap(&mut *current, &mut held),
                Err(TryLockError::Poisoned(poisoned)) => core::mem::swap(&mut *poisoned.into_inner(), &mut held),
                Err(TryLockError::WouldBlock) => {
                    core::hint::spin_loop();
                    continue;
                }
            }
            // The old one is dropped here, after the lock.
            return;
        }
    }
}

impl Deref for Token {
    type Target = crate::Token;

    fn deref(&self) -> &crate::Token {
        &self.held.lease.token
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("token_type", &self.token_type())
            .field("generation", &self.generation)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
