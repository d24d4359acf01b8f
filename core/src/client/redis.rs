//! A store in Redis or Valkey, through the `redis` crate. One hash for each record, and scripts that touch no other key: so a
//! cluster will do, and so will a server that sentinels watch.

#[cfg(feature = "redis-tokio")]
mod asynchronous;

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::format;
use std::process;
use std::string::String;
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use redis::{Client, ConnectionAddr, ConnectionLike, ErrorKind, RedisError, RedisResult, Script, ScriptInvocation};

use super::store::{Changes, Lock, Save, Store, StoreError};
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
#[cfg(feature = "redis-tokio")]
pub use asynchronous::AsyncRedisStore;

/// A [`Store`] in Redis (6.2 or later) or Valkey, for [`Client`](crate::Client).
///
/// Its commands go through connections of their own, which are made when they are needed and kept. It hears of what other
/// processes write through one more, on the channel `remint:changed`. An ACL needs `~remint:*`, `&remint:changed`, `+hget`,
/// `+evalsha`, `+script|load`, `+subscribe`, and what the scripts do: `+hmget +hset +hdel +pexpire +pttl +publish +time`.
///
/// Without [`store_keys`](crate::Builder::store_keys), whoever may read the database may read the tokens.
pub struct RedisStore<C = redis::Connection> {
    connect: Box<dyn Fn(Duration) -> RedisResult<C> + Send + Sync>,
    idle: Mutex<Vec<C>>,
    /// Where messages come from.
    notifier: Option<Box<Notifier>>,
    shared: Common,
}

type Notifier = dyn Fn() -> RedisResult<Client> + Send + Sync;

/// What the two kinds of store have in common.
struct Common {
    prefix: String,
    timeout: Duration,
    /// By which a store knows its own messages.
    writer: String,
    lock: Script,
    save: Script,
}

/// More connections than these are not kept.
const IDLE: usize = 8;
/// How often a subscription that nothing comes through looks up.
const ROUND: Duration = Duration::from_millis(500);

impl RedisStore {
    /// A store on the server that a client names.
    ///
    /// # Errors
    /// `invalid_option` for a server elsewhere without TLS.
    pub fn new(client: Client) -> Result<Self, Error> {
        guarded(&client)?;
        Self::insecure_plaintext(client)
    }

    /// A store on a server elsewhere without TLS. Whoever is on the way reads records, and the server's password; tokens
    /// too, without [`store_keys`](crate::Builder::store_keys).
    ///
    /// # Errors
    /// `host_error` if the operating system gives no randomness.
    pub fn insecure_plaintext(client: Client) -> Result<Self, Error> {
        let notifier = client.clone();
        let notifier: Box<Notifier> = Box::new(move || Ok(notifier.clone()));
        let connect = move |timeout| {
            let connection = client.get_connection_with_timeout(timeout)?;
            connection.set_read_timeout(Some(timeout))?;
            connection.set_write_timeout(Some(timeout))?;
            Ok(connection)
        };
        Ok(Self {
            connect: Box::new(connect),
            idle: Mutex::default(),
            notifier: Some(notifier),
            shared: Common::new()?,
        })
    }
}

impl<C: ConnectionLike + Send + 'static> RedisStore<C> {
    /// A store over connections of another kind: to a cluster, from a pool, to the master that sentinels name. `connect` is
    /// given the time that it and each command of the connection may take. Without [`notifications`](Self::notifications) or
    /// [`notifications_by`](Self::notifications_by), other processes' changes are noticed as the policy's `store_check` says.
    ///
    /// # Errors
    /// `host_error` if the operating system gives no randomness.
    pub fn over(connect: impl Fn(Duration) -> RedisResult<C> + Send + Sync + 'static) -> Result<Self, Error> {
        Ok(Self { connect: Box::new(connect), idle: Mutex::default(), notifier: None, shared: Common::new()? })
    }

    /// Hears of other processes' changes through this client. In a cluster, any node will do.
    ///
    /// # Errors
    /// Like [`RedisStore::new`].
    pub fn notifications(mut self, client: Client) -> Result<Self, Error> {
        guarded(&client)?;
        self.notifier = Some(Box::new(move || Ok(client.clone())));
        Ok(self)
    }

    /// Hears of other processes' changes through the client that `find` gives, which is asked for each connection: the master that
    /// sentinels name, say. That there is TLS is yours to see to, as with [`over`](Self::over).
    #[must_use]
    pub fn notifications_by(mut self, find: impl Fn() -> RedisResult<Client> + Send + Sync + 'static) -> Self {
        self.notifier = Some(Box::new(find));
        self
    }

    /// What the names of keys and of the channel begin with: `remint:` unless told.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.shared.prefix = prefix.into();
        self
    }

    /// How long connecting and each command may take: a second unless told, which is the policy's `store_timeout`, too.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.shared.timeout = timeout;
        self
    }

    fn run<R>(&self, writes: bool, command: impl Fn(&mut C) -> RedisResult<R>) -> Result<R, StoreError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut is_kept = kept.is_some();
        let connect = || (self.connect)(self.shared.timeout).map_err(StoreError::down);
        let mut connection = kept.map_or_else(connect, Ok)?;
        loop {
            match command(&mut connection) {
                Ok(answer) => {
                    let mut idle = idle();
                    if idle.len() < IDLE {
                        idle.push(connection);
                    }
                    return Ok(answer);
                }
                // The server may have closed it long ago.
                Err(error) if is_kept && !writes && error.is_connection_dropped() => {
                    idle().clear();
                    is_kept = false;
                    connection = connect()?;
                }
                // What else comes through this connection may belong to this command.
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl<C: ConnectionLike + Send + 'static> Store for RedisStore<C> {
    fn load(&self, key: &str) -> Result<Option<Secret>, StoreError> {
        let record: Option<String> = self.run(false, |connection| self.shared.load(key).query(connection))?;
        Ok(record.map(Secret::new))
    }

    fn lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lock, StoreError> {
        locked(self.run(false, |connection| self.shared.lock(key, owner, ttl).invoke(connection))?)
    }

    fn save(
        &self,
        key: &str,
        expect: Option<&Secret>,
        record: &Secret,
        ttl: Duration,
        unlock: Option<&str>,
    ) -> Result<Save, StoreError> {
        let save = |connection: &mut C| self.shared.save(key, expect, record, ttl, unlock).invoke(connection);
        saved(self.run(true, save)?)
    }

    fn subscribe(&self, changes: &Changes) -> Result<(), StoreError> {
        let Some(notifier) = &self.notifier else { return Ok(()) };
        let listen = || -> RedisResult<()> {
            let mut connection = notifier()?.get_connection_with_timeout(self.shared.timeout)?;
            let mut messages = connection.as_pubsub();
            messages.subscribe(self.shared.channel())?;
            messages.set_read_timeout(Some(ROUND))?;
            changes.subscribed();
            while !changes.is_over() {
                match messages.get_message() {
                    Ok(message) => self.shared.tell(message.get_payload_bytes(), changes),
                    Err(error) if error.is_timeout() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        listen().map_err(StoreError::down)
    }
}

impl Common {
    fn new() -> Result<Self, Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|_| Error::new(ErrorCode::HostError, "the operating system gave no randomness"))?;
        Ok(Self {
            prefix: String::from("remint:"),
            timeout: Duration::from_secs(1),
            writer: format!("{:016x}", u64::from_be_bytes(random)),
            lock: Script::new(include_str!("redis/lock.lua")),
            save: Script::new(include_str!("redis/save.lua")),
        })
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn channel(&self) -> String {
        self.name("changed")
    }

    /// A fork's child is another one.
    fn writer(&self) -> String {
        format!("{}-{}", self.writer, process::id())
    }

    fn load(&self, key: &str) -> redis::Cmd {
        let mut command = redis::cmd("HGET");
        command.arg(self.name(key)).arg("r");
        command
    }

    fn lock(&self, key: &str, owner: &str, ttl: Duration) -> ScriptInvocation<'_> {
        let mut script = self.lock.key(self.name(key));
        script.arg(owner).arg(whole(ttl));
        script
    }

    fn save(
        &self,
        key: &str,
        expect: Option<&Secret>,
        record: &Secret,
        ttl: Duration,
        unlock: Option<&str>,
    ) -> ScriptInvocation<'_> {
        let mut script = self.save.key(self.name(key));
        script.arg(expect.map_or("", Secret::expose)).arg(record.expose()).arg(whole(ttl));
        script.arg(unlock.unwrap_or_default()).arg(self.channel()).arg(format!("{key} {}", self.writer()));
        script
    }

    /// A message is a key, and who wrote it.
    fn tell(&self, message: &[u8], changes: &Changes) {
        let text = core::str::from_utf8(message).unwrap_or_default();
        if let Some((key, _)) = text.split_once(' ').filter(|(_, writer)| *writer != self.writer()) {
            changes.changed(Some(key));
        }
    }
}

/// Records are nobody's to read on the way.
fn guarded(client: &Client) -> Result<(), Error> {
    let ConnectionAddr::Tcp(host, _) = client.get_connection_info().addr() else { return Ok(()) };
    let host = host.trim_matches(['[', ']']);
    let address: Option<core::net::IpAddr> = host.parse().ok();
    if host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidOption,
        "the store's server is elsewhere, and the connection to it has no TLS: use a `rediss:` URL, or \
         `RedisStore::insecure_plaintext` where the network itself is encrypted",
    ))
}

/// What the script said: whether the lock was taken, for how long it is somebody else's, and what is stored.
fn locked((is_ours, left, record): (bool, u64, Option<String>)) -> Result<Lock, StoreError> {
    let record = record.map(Secret::new);
    Ok(if is_ours { Lock::Locked { record } } else { Lock::Held { retry_in: Duration::from_millis(left), record } })
}

/// What the script said: whether it wrote, or what is stored.
fn saved(answer: Vec<Option<String>>) -> Result<Save, StoreError> {
    let mut answer = answer.into_iter();
    match answer.next().flatten().as_deref() {
        Some("1") => Ok(Save::Saved),
        Some("0") => Ok(Save::Conflict { record: answer.next().flatten().map(Secret::new) }),
        _ => Err(StoreError::unknown("the script gave an answer that it can't give")),
    }
}

/// A server that answers has carried nothing out. A connection that broke, or a late answer, tells nothing.
fn failed(error: RedisError) -> StoreError {
    let answered =
        matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed);
    if answered || error.is_connection_refusal() { StoreError::down(error) } else { StoreError::unknown(error) }
}

fn whole(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.shared.prefix).finish_non_exhaustive()
    }
}
