//! The loop driven for you: [`Client`] for threads, [`AsyncClient`] for tasks.
//!
//! What lives here waits, sends and wakes. What to do is decided in [`Core`](crate::Core); a branch on protocol, expiry or
//! retry does not belong here. Neither does an HTTP client or a runtime: both come through [`Transport`] and
//! [`AsyncTransport`].

mod asynchronous;
mod blocking;
mod builder;
mod clock;
mod driver;
mod lease;
mod transport;
mod view;

pub use asynchronous::AsyncClient;
pub use blocking::Client;
pub use builder::Builder;
pub use clock::Clock;
pub use lease::Token;
pub use transport::{AsyncTransport, Incoming, Outgoing, SendError, Task, Transport};
pub use view::{Authorization, Headers, InsecureUrl, Introspection, Reply, TokenOptions};
