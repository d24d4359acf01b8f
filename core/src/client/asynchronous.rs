//! The client for tasks.

use core::fmt;
use core::future::Future;
use std::boxed::Box;
use std::string::String;

use super::builder::Hooks;
use super::clock::Time;
use super::driver::{Host, Job, LONGEST_SLEEP, Shared};
use super::lease::Token;
use super::transport::{AsyncTransport, Incoming, Outgoing, SendError};
use super::view::{Authorization, Headers, InsecureUrl, Reply, TokenOptions, View};
use crate::config::Config;
use crate::error::Error;
use crate::event::{AuthorizationUrl, Want};
use crate::secret::Secret;
use crate::step::Verdict;

/// A provider's tokens for the tasks of a program, on any runtime: like [`Client`](crate::Client), with the same verbs.
///
/// A token request is spawned on the transport's runtime, so that a task that is dropped takes nobody along.
pub struct AsyncClient<T: AsyncTransport>(View<Tasks<T>>);

/// Runs flights as tasks.
pub(crate) struct Tasks<T>(T);

impl<T: AsyncTransport> AsyncClient<T> {
    pub(super) fn new(transport: T, config: Config, hooks: Hooks, time: Time) -> Self {
        Self(View::new(Shared::new(Tasks(transport), time, config, hooks), Want::default()))
    }

    /// See [`Client::token`](crate::Client::token).
    ///
    /// # Errors
    /// See there.
    pub async fn token(&self) -> Result<Token, Error> {
        match self.0.fresh() {
            Some(token) => Ok(token),
            None => self.token_with(TokenOptions::default()).await,
        }
    }

    /// See [`Client::token_with`](crate::Client::token_with).
    ///
    /// # Errors
    /// See there.
    pub async fn token_with(&self, options: TokenOptions) -> Result<Token, Error> {
        self.0.token(options).await
    }

    /// The cached token, if it is valid. Never a request.
    #[must_use]
    pub fn peek(&self) -> Option<Token> {
        self.0.peek()
    }

    /// See [`Client::headers`](crate::Client::headers).
    ///
    /// # Errors
    /// See there.
    pub async fn headers(&self, method: &str, url: &str) -> Result<Headers, Error> {
        self.0.headers(method, url, None).await
    }

    /// See [`Client::call`](crate::Client::call).
    ///
    /// # Errors
    /// See there.
    pub async fn call<R, E, Sent>(&self, method: &str, url: &str, send: impl FnMut(Headers) -> Sent) -> Result<R, E>
    where
        E: From<Error>,
        Sent: Future<Output = Result<Reply<R>, E>>,
    {
        self.0.call(method, url, send).await
    }

    /// See [`Client::reject`](crate::Client::reject). It has nothing to wait for.
    pub fn reject(
        &self,
        token: &Token,
        _method: &str,
        url: &str,
        status: u16,
        headers: &[(String, String)],
    ) -> Verdict {
        self.0.judge(token.call, url, status, headers)
    }

    /// See [`Client::with_scope`](crate::Client::with_scope).
    ///
    /// # Errors
    /// See there.
    pub fn with_scope<S: Into<String>>(&self, scope: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        self.0.with_scope(scope.into_iter().map(Into::into).collect()).map(Self)
    }

    /// See [`Client::with_subject`](crate::Client::with_subject).
    ///
    /// # Errors
    /// See there.
    pub fn with_subject(
        &self,
        subject: impl Into<String>,
        refresh_token: impl Into<Option<Secret>>,
    ) -> Result<Self, Error> {
        self.0.with_subject(subject.into(), refresh_token.into()).map(Self)
    }

    /// See [`Client::authorization_url`](crate::Client::authorization_url).
    ///
    /// # Errors
    /// See there.
    pub fn authorization_url(&self, request: AuthorizationUrl) -> Result<Authorization, Error> {
        self.0.authorization_url(request)
    }

    /// See [`Client::exchange`](crate::Client::exchange).
    ///
    /// # Errors
    /// See there.
    pub async fn exchange(
        &self,
        callback: impl Into<Secret>,
        session: impl Into<Secret>,
        subject: Option<&str>,
    ) -> Result<Token, Error> {
        self.0.exchange(callback.into(), session.into(), subject.map(Into::into)).await
    }

    /// See [`Client::insecure_url`](crate::Client::insecure_url).
    ///
    /// # Errors
    /// See there.
    pub async fn insecure_url(&self, url: &str) -> Result<InsecureUrl, Error> {
        self.0.insecure_url(url).await
    }

    /// Forgets the cached token.
    pub fn invalidate(&self) {
        self.0.invalidate();
    }

    /// See [`Client::close`](crate::Client::close).
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl<T: AsyncTransport> Host for Tasks<T> {
    fn start(job: Job<Self>) {
        let shared = job.shared().clone();
        shared.host.0.spawn(Box::pin(job.run()));
    }

    fn send(&self, request: Outgoing) -> impl Future<Output = Result<Incoming, SendError>> + Send {
        self.0.send(request)
    }

    fn sleep(&self, time: &Time, until: i64) -> impl Future<Output = ()> + Send {
        self.0.sleep(time.until(until).min(LONGEST_SLEEP))
    }
}

impl<T: AsyncTransport> Clone for AsyncClient<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: AsyncTransport> fmt::Debug for AsyncClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
