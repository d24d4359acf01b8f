//! The same for tasks.

use core::fmt;
use core::future::{Future, poll_fn, ready};
use core::pin::pin;
use core::time::Duration;
use std::boxed::Box;
use std::string::String;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_core::Stream as _;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, RedisResult};

use super::{Common, failed, guarded, locked, saved};
use crate::client::driver::Boxed;
use crate::client::store::{AsyncStore, Changes, Lock, Save, StoreError};
use crate::error::Error;
use crate::secret::Secret;

/// An [`AsyncStore`] in Redis (6.2 or later) or Valkey, for [`AsyncClient`](crate::AsyncClient) on tokio.
///
/// For what it asks of the server see [`RedisStore`](super::RedisStore). All commands share one connection, which is made when
/// it is needed.
pub struct AsyncRedisStore<C = MultiplexedConnection> {
    connect: Box<dyn Fn(Duration) -> Boxed<RedisResult<C>> + Send + Sync>,
    current: Mutex<Option<C>>,
    /// Where messages come from.
    notifier: Option<Box<Notifier>>,
    shared: Common,
}

type Notifier = dyn Fn() -> Boxed<RedisResult<Client>> + Send + Sync;

impl AsyncRedisStore {
    /// A store on the server that a client names.
    ///
    /// # Errors
    /// `invalid_option` for a server elsewhere without TLS.
    pub fn new(client: Client) -> Result<Self, Error> {
        guarded(&client)?;
        Self::insecure_plaintext(client)
    }

    /// See [`RedisStore::insecure_plaintext`](super::RedisStore::insecure_plaintext).
    ///
    /// # Errors
    /// See there.
    pub fn insecure_plaintext(client: Client) -> Result<Self, Error> {
        let notifier = always(client.clone());
        let connect = move |timeout| -> Boxed<_> {
            let client = client.clone();
            Box::pin(async move {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(timeout))
                    .set_response_timeout(Some(timeout));
                client.get_multiplexed_async_connection_with_config(&config).await
            })
        };
        Ok(Self {
            connect: Box::new(connect),
            current: Mutex::default(),
            notifier: Some(notifier),
            shared: Common::new()?,
        })
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> AsyncRedisStore<C> {
    /// A store over connections of another kind: to a cluster, to the master that sentinels name, a `ConnectionManager`. See
    /// [`RedisStore::over`](super::RedisStore::over); after an error, `connect` is called again.
    ///
    /// # Errors
    /// `host_error` if the operating system gives no randomness.
    pub fn over<F>(connect: impl Fn(Duration) -> F + Send + Sync + 'static) -> Result<Self, Error>
    where
        F: Future<Output = RedisResult<C>> + Send + 'static,
    {
        let connect = move |timeout| -> Boxed<_> { Box::pin(connect(timeout)) };
        Ok(Self { connect: Box::new(connect), current: Mutex::default(), notifier: None, shared: Common::new()? })
    }

    /// Hears of other processes' changes through this client. In a cluster, any node will do.
    ///
    /// # Errors
    /// Like [`AsyncRedisStore::new`].
    pub fn notifications(mut self, client: Client) -> Result<Self, Error> {
        guarded(&client)?;
        self.notifier = Some(always(client));
        Ok(self)
    }

    /// See [`RedisStore::notifications_by`](super::RedisStore::notifications_by).
    #[must_use]
    pub fn notifications_by<F>(mut self, find: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = RedisResult<Client>> + Send + 'static,
    {
        self.notifier = Some(Box::new(move || Box::pin(find())));
        self
    }

    /// What the names of keys and of the channel begin with: `remint:` unless told.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.shared.prefix = prefix.into();
        self
    }

    /// How long connecting and each command may take, of a connection that the store makes: a second unless told.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.shared.timeout = timeout;
        self
    }

    fn current(&self) -> MutexGuard<'_, Option<C>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<R>(&self, writes: bool, command: impl AsyncCommand<C, R>) -> Result<R, StoreError> {
        let kept = self.current().clone();
        let mut is_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connected().await?,
        };
        loop {
            match command.send(&mut connection).await {
                Ok(answer) => return Ok(answer),
                // The server may have closed it long ago.
                Err(error) if is_kept && !writes && error.is_connection_dropped() => {
                    is_kept = false;
                    connection = self.connected().await?;
                }
                Err(error) => {
                    // Another may lead to a server that can.
                    *self.current() = None;
                    return Err(failed(error));
                }
            }
        }
    }

    async fn connected(&self) -> Result<C, StoreError> {
        let connection = (self.connect)(self.shared.timeout).await.map_err(StoreError::down)?;
        *self.current() = Some(connection.clone());
        Ok(connection)
    }
}

fn always(client: Client) -> Box<Notifier> {
    Box::new(move || Box::pin(ready(Ok(client.clone()))))
}

/// One command, which may have to be sent twice.
trait AsyncCommand<C, R>: Send + Sync {
    fn send<'a>(&'a self, connection: &'a mut C) -> impl Future<Output = RedisResult<R>> + Send + 'a;
}

impl<C: ConnectionLike + Send> AsyncCommand<C, Option<String>> for redis::Cmd {
    fn send<'a>(&'a self, connection: &'a mut C) -> impl Future<Output = RedisResult<Option<String>>> + Send + 'a {
        self.query_async(connection)
    }
}

impl<C: ConnectionLike + Send, R: redis::FromRedisValue + Send + 'static> AsyncCommand<C, R>
    for redis::ScriptInvocation<'_>
{
    fn send<'a>(&'a self, connection: &'a mut C) -> impl Future<Output = RedisResult<R>> + Send + 'a {
        self.invoke_async(connection)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> AsyncStore for AsyncRedisStore<C> {
    async fn load(&self, key: &str) -> Result<Option<Secret>, StoreError> {
        Ok(self.run(false, self.shared.load(key)).await?.map(Secret::new))
    }

    async fn lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lock, StoreError> {
        locked(self.run(false, self.shared.lock(key, owner, ttl)).await?)
    }

    async fn save(
        &self,
        key: &str,
        expect: Option<&Secret>,
        record: &Secret,
        ttl: Duration,
        unlock: Option<&str>,
    ) -> Result<Save, StoreError> {
        saved(self.run(true, self.shared.save(key, expect, record, ttl, unlock)).await?)
    }

    async fn subscribe(&self, changes: &Changes) -> Result<(), StoreError> {
        let Some(notifier) = &self.notifier else { return Ok(()) };
        let client = notifier().await.map_err(StoreError::down)?;
        let mut pubsub = client.get_async_pubsub().await.map_err(StoreError::down)?;
        pubsub.subscribe(self.shared.channel()).await.map_err(StoreError::down)?;
        changes.subscribed();
        let mut messages = pin!(pubsub.into_on_message());
        while let Some(message) = poll_fn(|context| messages.as_mut().poll_next(context)).await {
            self.shared.tell(message.get_payload_bytes(), changes);
        }
        Err(StoreError::down("the connection for messages was closed"))
    }
}

impl<C> fmt::Debug for AsyncRedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRedisStore").field("prefix", &self.shared.prefix).finish_non_exhaustive()
    }
}
