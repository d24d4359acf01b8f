//! The client for tasks.

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::boxed::Box;
use std::string::String;

use super::builder::Hooks;
use super::clock::Time;
use super::driver::{Host, Job, LONGEST_SLEEP, Shared};
use super::lease::Token;
use super::transport::{AsyncTransport, Incoming, Outgoing, SendError, Task};
use super::view::{Authorization, Headers, InsecureUrl, Introspection, Reply, TokenOptions, View, rejected};
use crate::config::Config;
use crate::error::Error;
use crate::event::{Adopt, AuthorizationUrl, BackchannelRequest, DeviceRequest, Renewed, Want};
use crate::secret::Secret;
use crate::step::{Pending, Verdict};

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
    ///
    /// # Errors
    /// See there.
    pub fn reject(
        &self,
        token: &Token,
        _method: &str,
        url: &str,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<Verdict, Error> {
        rejected(self.0.judge(token.call, url, status, headers))
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
        let adopt = Adopt { refresh_token: refresh_token.into(), ..Adopt::default() };
        self.0.with_subject(subject.into(), adopt).map(Self)
    }

    /// See [`Client::with_subject_token`](crate::Client::with_subject_token).
    ///
    /// # Errors
    /// See there.
    pub fn with_subject_token(
        &self,
        subject: impl Into<String>,
        subject_token: impl Into<Secret>,
        actor_token: impl Into<Option<Secret>>,
    ) -> Result<Self, Error> {
        let (subject_token, actor_token) = (Some(subject_token.into()), actor_token.into());
        self.0.with_subject(subject.into(), Adopt { subject_token, actor_token, ..Adopt::default() }).map(Self)
    }

    /// See [`Client::with_resource`](crate::Client::with_resource).
    ///
    /// # Errors
    /// See there.
    pub fn with_resource<S: Into<String>>(&self, resource: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        self.0.with_resource(resource.into_iter().map(Into::into).collect()).map(Self)
    }

    /// See [`Client::authorization_url`](crate::Client::authorization_url).
    ///
    /// # Errors
    /// See there.
    pub async fn authorization_url(&self, request: AuthorizationUrl) -> Result<Authorization, Error> {
        self.0.authorization_url(request).await
    }

    /// See [`Client::device_authorization`](crate::Client::device_authorization).
    ///
    /// # Errors
    /// See there.
    pub async fn device_authorization(&self, request: DeviceRequest) -> Result<Pending, Error> {
        self.0.device_authorization(request).await
    }

    /// See [`Client::backchannel_authentication`](crate::Client::backchannel_authentication).
    ///
    /// # Errors
    /// See there.
    pub async fn backchannel_authentication(&self, request: BackchannelRequest) -> Result<Pending, Error> {
        self.0.backchannel_authentication(request).await
    }

    /// See [`Client::poll`](crate::Client::poll). Dropping the future ends the polling.
    ///
    /// # Errors
    /// See there.
    pub async fn poll(
        &self,
        session: impl Into<Secret>,
        subject: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Token, Error> {
        self.0.poll(session.into(), subject.map(Into::into), timeout).await
    }

    /// See [`Client::introspect`](crate::Client::introspect).
    ///
    /// # Errors
    /// See there.
    pub async fn introspect(&self, token: impl Into<Secret>, hint: Option<&str>) -> Result<Introspection, Error> {
        self.0.introspect(token.into(), hint.map(Into::into)).await
    }

    /// See [`Client::revoke`](crate::Client::revoke).
    ///
    /// # Errors
    /// See there.
    pub async fn revoke(&self, token: impl Into<Option<Secret>>, hint: Option<&str>) -> Result<(), Error> {
        self.0.revoke(token.into(), hint.map(Into::into)).await
    }

    /// See [`Client::renewed`](crate::Client::renewed). It has nothing to wait for.
    ///
    /// # Errors
    /// See there.
    pub fn renewed(&self, renewed: Renewed) -> Result<(), Error> {
        self.0.renewed(renewed)
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
    const MAY_BLOCK: bool = false;

    fn spawn(shared: &Shared<Self>, task: Task) {
        shared.host.0.spawn(task);
    }

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
