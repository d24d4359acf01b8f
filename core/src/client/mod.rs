//! The loop driven for you: [`Client`] for threads, [`AsyncClient`] for tasks.
//!
//! What lives here waits, sends, stores and wakes. What to do is decided in [`Core`](crate::Core); a branch on protocol, expiry or
//! retry does not belong here. Neither does an HTTP client or a runtime: both come through [`Transport`] and
//! [`AsyncTransport`].

mod asynchronous;
mod blocking;
mod builder;
mod clock;
mod driver;
mod file_store;
mod lease;
#[cfg(feature = "redis")]
mod redis;
mod registration;
mod store;
mod transport;
mod view;

pub use asynchronous::AsyncClient;
pub use blocking::Client;
pub use builder::{Builder, Signed};
pub use clock::Clock;
pub use file_store::FileStore;
pub use lease::Token;
#[cfg(feature = "redis-tokio")]
pub use redis::AsyncRedisStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub use store::{AsyncStore, Changes, Lock, Save, Store, StoreError, StoreKey};
pub use transport::{AsyncTransport, Incoming, Outgoing, SendError, Task, Transport};
pub use view::{Authorization, Headers, InsecureUrl, Introspection, Reply, TokenOptions};
