//! A store that several processes share: what a user's own looks like, and how a client speaks to it.

use core::error::Error;
use core::fmt;
use core::future::{Future, poll_fn, ready};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::clock::{Time, millis};
use super::driver::Boxed;
use crate::cache::Key;
use crate::event::StoreResult;
use crate::secret::Secret;
use crate::step::StoreCommand;

/// A store that several processes share: a file system, a key-value server, a database's table. Three functions.
///
/// Records are opaque text of one line. They hold tokens, unless the client has
/// [`store_keys`](crate::Builder::store_keys): keep them like passwords. `key` is the name of one record, and no secret.
///
/// A blocking [`Client`](crate::Client) calls it on the thread that renews, an [`AsyncClient`](crate::AsyncClient) on a
/// thread of its own. No call should take longer than the policy's `store_timeout`: then its answer counts as lost.
pub trait Store: Send + Sync + 'static {
    /// The record; `None` if there is none.
    ///
    /// # Errors
    /// Why it could not be read.
    fn load(&self, key: &str) -> Result<Option<Secret>, StoreError>;

    /// Takes the lock of one record for `ttl`, unless another owner holds it, and reads the record. Repeated by its owner, it
    /// extends the lock. A `ttl` of zero gives it back, if `owner` still holds it, and is always [`Lock::Locked`].
    ///
    /// # Errors
    /// [`StoreError::down`] if surely nothing was written, [`StoreError::unknown`] if the lock may have been taken: it is given back
    /// then.
    fn lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lock, StoreError>;

    /// Writes `record` and keeps it for `ttl`, if the text that is stored is exactly `expect`; with `None`, if there is none.
    /// All at once: between the comparison and the writing, nobody else writes. If it wrote, the lock of `unlock` ends, should
    /// that owner still hold it.
    ///
    /// # Errors
    /// [`StoreError::down`] if surely nothing was written, [`StoreError::unknown`] if it may have been.
    fn save(
        &self,
        key: &str,
        expect: Option<&Secret>,
        record: &Secret,
        ttl: Duration,
        unlock: Option<&str>,
    ) -> Result<Save, StoreError>;

    /// Tells of what other processes write, for as long as [`Changes::is_over`] says no; it is called on a thread of its own.
    /// Without it, records are looked at as often as the policy's `store_check` says.
    ///
    /// # Errors
    /// Why no news come any more: it is called again a second later.
    fn subscribe(&self, changes: &Changes) -> Result<(), StoreError> {
        let _ = changes;
        Ok(())
    }

    /// How long a token may be used without a look at the store, if the policy's `store_check` does not say.
    fn check_every(&self) -> Option<Duration> {
        None
    }
}

/// A [`Store`] that has to wait, for [`AsyncClient`](crate::AsyncClient).
pub trait AsyncStore: Send + Sync + 'static {
    /// See [`Store::load`].
    fn load(&self, key: &str) -> impl Future<Output = Result<Option<Secret>, StoreError>> + Send;

    /// See [`Store::lock`].
    fn lock(&self, key: &str, owner: &str, ttl: Duration) -> impl Future<Output = Result<Lock, StoreError>> + Send;

    /// See [`Store::save`].
    fn save(
        &self,
        key: &str,
        expect: Option<&Secret>,
        record: &Secret,
        ttl: Duration,
        unlock: Option<&str>,
    ) -> impl Future<Output = Result<Save, StoreError>> + Send;

    /// Like [`Store::subscribe`], in a task of its own, which is dropped when it is over.
    fn subscribe(&self, changes: &Changes) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = changes;
        ready(Ok(()))
    }

    /// See [`Store::check_every`].
    fn check_every(&self) -> Option<Duration> {
        None
    }
}

/// What became of a lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lock {
    /// It is the asker's.
    Locked {
        /// What is stored there.
        record: Option<Secret>,
    },
    /// It is somebody else's.
    Held {
        /// When it ends, if nothing else ends it.
        retry_in: Duration,
        /// What is stored there.
        record: Option<Secret>,
    },
}

/// What became of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Save {
    /// It is stored.
    Saved,
    /// Something else is stored than was expected.
    Conflict {
        /// What.
        record: Option<Secret>,
    },
}

/// A store that did not do what it was asked. Its own reason is the [`source`](Error::source): keep secrets out of it.
#[derive(Debug)]
pub struct StoreError {
    is_down: bool,
    source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// Surely nothing was written.
    pub fn down(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { is_down: true, source: reason.into() }
    }

    /// A record may have been written, or not.
    pub fn unknown(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { is_down: false, source: reason.into() }
    }

    /// Whether surely nothing was written.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is_down
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.is_down { "the store wrote nothing" } else { "whether the store wrote is not known" };
        write!(f, "{text}: {}", self.source)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// A key that records are encrypted with: 32 bytes, or the base64url text of as many.
#[derive(Clone, Debug)]
pub struct StoreKey(pub(super) Secret);

impl From<[u8; 32]> for StoreKey {
    fn from(key: [u8; 32]) -> Self {
        Self(Secret::new(URL_SAFE_NO_PAD.encode(key)))
    }
}

impl From<Secret> for StoreKey {
    fn from(text: Secret) -> Self {
        Self(text)
    }
}

impl From<&str> for StoreKey {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for StoreKey {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Where a store tells its client what other processes did.
pub struct Changes {
    ear: Weak<dyn Ear>,
    over: Arc<Over>,
    had_begun: AtomicBool,
}

/// A client, to its store.
pub(super) trait Ear: Send + Sync {
    fn changed(self: Arc<Self>, key: Option<Key>);
}

impl Changes {
    pub(super) fn new(ear: Weak<dyn Ear>, over: Arc<Over>) -> Self {
        Self { ear, over, had_begun: AtomicBool::new(false) }
    }

    /// From now on, nothing is missed. The client then looks at its records again, but for the first time.
    pub fn subscribed(&self) {
        if self.had_begun.swap(true, Ordering::AcqRel) {
            self.changed(None);
        }
    }

    /// Somebody else wrote this record; with `None`, any may have been written. What is no record's name is ignored.
    pub fn changed(&self, key: Option<&str>) {
        let key = match key.map(str::parse) {
            Some(Ok(key)) => Some(key),
            Some(Err(())) => return,
            None => None,
        };
        if let Some(ear) = self.ear.upgrade().filter(|_| !self.over.is_over()) {
            ear.changed(key);
        }
    }

    /// Whether nobody wants to hear more: the client was closed or dropped.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.is_over()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// The end of a subscription.
#[derive(Default)]
pub(super) struct Over {
    is_over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Over {
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// The future's output, unless the end comes first.
    pub(super) async fn or<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| {
            *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            // Looked at after the waker is in its place: one of the two finds the other.
            if self.is_over() { Poll::Ready(None) } else { future.as_mut().poll(context).map(Some) }
        })
        .await
    }
}

/// Either kind of store, as the driver has it.
pub(super) trait AnyStore: Send + Sync {
    /// `in_place`: a call that blocks may block this thread.
    fn carry_out(
        self: Arc<Self>,
        key: Key,
        command: StoreCommand,
        time: Time,
        in_place: bool,
    ) -> Boxed<Result<StoreResult, StoreError>>;
    fn subscribe(self: Arc<Self>, changes: Arc<Changes>, in_place: bool) -> Boxed<Result<(), StoreError>>;
    fn check_every(&self) -> Option<Duration>;
}

pub(super) struct Blocking<S>(pub(super) S);
pub(super) struct Waiting<S>(pub(super) S);

impl<S: Store> AnyStore for Blocking<S> {
    fn carry_out(
        self: Arc<Self>,
        key: Key,
        command: StoreCommand,
        time: Time,
        in_place: bool,
    ) -> Boxed<Result<StoreResult, StoreError>> {
        let work = move || {
            let (store, key) = (&self.0, &*key.to_string());
            Ok(match command {
                StoreCommand::Load => loaded(store.load(key)?),
                StoreCommand::Lock { owner, ttl } => locked(store.lock(key, &owner, duration(ttl))?, ttl, &time),
                StoreCommand::Save { expect, record, ttl, unlock } => {
                    saved(store.save(key, expect.as_ref(), &record, duration(ttl), unlock.as_deref())?)
                }
            })
        };
        run(work, in_place)
    }

    fn subscribe(self: Arc<Self>, changes: Arc<Changes>, in_place: bool) -> Boxed<Result<(), StoreError>> {
        run(move || self.0.subscribe(&changes), in_place)
    }

    fn check_every(&self) -> Option<Duration> {
        self.0.check_every()
    }
}

impl<S: AsyncStore> AnyStore for Waiting<S> {
    fn carry_out(
        self: Arc<Self>,
        key: Key,
        command: StoreCommand,
        time: Time,
        _: bool,
    ) -> Boxed<Result<StoreResult, StoreError>> {
        Box::pin(async move {
            let (store, key) = (&self.0, &*key.to_string());
            Ok(match command {
                StoreCommand::Load => loaded(store.load(key).await?),
                StoreCommand::Lock { owner, ttl } => locked(store.lock(key, &owner, duration(ttl)).await?, ttl, &time),
                StoreCommand::Save { expect, record, ttl, unlock } => {
                    saved(store.save(key, expect.as_ref(), &record, duration(ttl), unlock.as_deref()).await?)
                }
            })
        })
    }

    fn subscribe(self: Arc<Self>, changes: Arc<Changes>, _: bool) -> Boxed<Result<(), StoreError>> {
        Box::pin(async move { self.0.subscribe(&changes).await })
    }

    fn check_every(&self) -> Option<Duration> {
        self.0.check_every()
    }
}

fn loaded(record: Option<Secret>) -> StoreResult {
    record.map_or(StoreResult::None, StoreResult::Record)
}

fn locked(lock: Lock, ttl: i64, time: &Time) -> StoreResult {
    match lock {
        _ if ttl == 0 => StoreResult::Ok,
        Lock::Locked { record } => StoreResult::Locked { record },
        Lock::Held { retry_in, record } => {
            StoreResult::Held { retry_at: time.now().boot.saturating_add(millis(retry_in)), record }
        }
    }
}

fn saved(save: Save) -> StoreResult {
    match save {
        Save::Saved => StoreResult::Ok,
        Save::Conflict { record } => StoreResult::Conflict { record },
    }
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// Blocking work as a future: on the thread that polls it, or on another.
fn run<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, StoreError> + Send + 'static,
    in_place: bool,
) -> Boxed<Result<R, StoreError>> {
    if in_place {
        return Box::pin(async move { work() });
    }
    Box::pin(async move {
        let seat = Arc::new(Mutex::new(Seat { outcome: None, is_empty: false, waker: None }));
        let theirs = Occupant(seat.clone());
        let work = move || {
            let outcome = work();
            lock(&theirs.0).outcome = Some(outcome);
        };
        thread::Builder::new().name("remint-store".to_owned()).spawn(work).map_err(StoreError::down)?;
        poll_fn(|context| {
            let mut seat = lock(&seat);
            if seat.is_empty {
                let outcome = seat.outcome.take();
                return Poll::Ready(outcome.unwrap_or_else(|| Err(StoreError::unknown("the store panicked"))));
            }
            seat.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    })
}

/// Where a thread leaves what it was started for.
struct Seat<R> {
    outcome: Option<R>,
    is_empty: bool,
    waker: Option<Waker>,
}

/// The thread's end of it: dropped when the thread is through, however that came about.
struct Occupant<R>(Arc<Mutex<Seat<R>>>);

impl<R> Drop for Occupant<R> {
    fn drop(&mut self) {
        let mut seat = lock(&self.0);
        seat.is_empty = true;
        let waker = seat.waker.take();
        drop(seat);
        waker.into_iter().for_each(Waker::wake);
    }
}

fn lock<R>(seat: &Mutex<Seat<R>>) -> MutexGuard<'_, Seat<R>> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}
