//! The client for threads.

use core::cell::Cell;
use core::fmt;
use core::future::{Future, poll_fn, ready};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::thread::{self, Thread};

use serde_json::Value;

use super::builder::{Builder, Hooks};
use super::clock::Time;
use super::driver::{Host, Job, LONGEST_SLEEP, Shared};
use super::lease::Token;
use super::transport::{Incoming, Outgoing, SendError, Task, Transport};
use super::view::{Authorization, Headers, InsecureUrl, Introspection, Reply, TokenOptions, View, rejected};
use crate::config::Config;
use crate::error::Error;
use crate::event::{Adopt, AuthorizationUrl, BackchannelRequest, DeviceRequest, Renewed, Want};
use crate::secret::Secret;
use crate::step::{Pending, Verdict};

/// A provider's tokens for the threads of a program: got once, renewed before they end, shared by all.
///
/// Make one for each set of credentials, keep it, and clone it freely: clones share everything. A token request runs on a
/// short-lived thread of its own, so that a caller that gives up takes nobody along.
pub struct Client<T: Transport>(View<Threads<T>>);

/// Runs flights on threads.
pub(crate) struct Threads<T>(T);

impl<T: Transport> Client<T> {
    pub(super) fn new(transport: T, config: Config, hooks: Hooks, time: Time) -> Self {
        Self(View::new(Shared::new(Threads(transport), time, config, hooks), Want::default()))
    }
}

impl Client<fn(Outgoing) -> Result<Incoming, SendError>> {
    /// The options for a provider: a built-in profile's name, or a profile document as text or as parsed JSON.
    pub fn builder(profile: impl Into<Value>) -> Builder {
        Builder::new(profile)
    }

    /// The options of a client that has this token and requests none, for tests of your own.
    pub fn static_token(token: impl Into<Secret>) -> Builder {
        Builder::new(STATIC).api_token(token)
    }
}

impl<T: Transport> Client<T> {
    /// A token with life left: the cached one, or the one that is fetched now.
    ///
    /// # Errors
    /// What the server or the transport made of the request, if there is no valid token at hand.
    pub fn token(&self) -> Result<Token, Error> {
        match self.0.fresh() {
            Some(token) => Ok(token),
            None => self.token_with(TokenOptions::default()),
        }
    }

    /// A token that meets further conditions.
    ///
    /// # Errors
    /// Like [`Client::token`]; `min_ttl_unavailable` if the server's tokens live shorter than `min_ttl`.
    pub fn token_with(&self, options: TokenOptions) -> Result<Token, Error> {
        self.wait(self.0.token(options))
    }

    /// The cached token, if it is valid. Never a request.
    #[must_use]
    pub fn peek(&self) -> Option<Token> {
        self.0.peek()
    }

    /// What to put on this API request.
    ///
    /// # Errors
    /// Like [`Client::token`]; `origin_not_allowed` if neither profile nor `api_origins` names the URL's origin.
    pub fn headers(&self, method: &str, url: &str) -> Result<Headers, Error> {
        self.wait(self.0.headers(method, url, None))
    }

    /// One API call: `send` is given what to put on the request; if the answer says that the token is no good, it is called
    /// once more with another. It must make the request anew each time, body included, and must not follow redirects to
    /// another origin with these headers on.
    ///
    /// # Errors
    /// Those of [`Client::headers`], and those of `send`.
    pub fn call<R, E: From<Error>>(
        &self,
        method: &str,
        url: &str,
        mut send: impl FnMut(&Headers) -> Result<Reply<R>, E>,
    ) -> Result<R, E> {
        self.wait(self.0.call(method, url, |headers| ready(send(&headers))))
    }

    /// What the answer to an API request says about the token that was on it, for programs that send requests themselves. On
    /// [`Verdict::Retry`], ask for headers again and send the request once more.
    ///
    /// # Errors
    /// `insufficient_user_authentication` if the API wants a person who signed in more strongly or more recently
    /// (RFC 9470 section 3), with `acr_values` and `max_age`.
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

    /// The same client with another scope set: a token and a flight of its own.
    ///
    /// # Errors
    /// `invalid_option` if a scope is not one.
    pub fn with_scope<S: Into<String>>(&self, scope: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        self.0.with_scope(scope.into_iter().map(Into::into).collect()).map(Self)
    }

    /// The same client on behalf of a user: a token and a flight of its own. The refresh token is the one that the program's
    /// database holds; `None` if this client has it, from an exchange or from before.
    ///
    /// # Errors
    /// `invalid_option` if the profile has no refresh tokens, or this is none.
    pub fn with_subject(
        &self,
        subject: impl Into<String>,
        refresh_token: impl Into<Option<Secret>>,
    ) -> Result<Self, Error> {
        let adopt = Adopt { refresh_token: refresh_token.into(), ..Adopt::default() };
        self.0.with_subject(subject.into(), adopt).map(Self)
    }

    /// The same client on behalf of a user whose token is exchanged (RFC 8693): a token and a flight of its own. The subject's
    /// token is kept until another one is given, and so is that of who acts for them.
    ///
    /// # Errors
    /// `invalid_option` if the grant is not `token_exchange`, or a token is none.
    pub fn with_subject_token(
        &self,
        subject: impl Into<String>,
        subject_token: impl Into<Secret>,
        actor_token: impl Into<Option<Secret>>,
    ) -> Result<Self, Error> {
        let (subject_token, actor_token) = (Some(subject_token.into()), actor_token.into());
        self.0.with_subject(subject.into(), Adopt { subject_token, actor_token, ..Adopt::default() }).map(Self)
    }

    /// The same client for other resources (RFC 8707 section 2): a token and a flight of its own. Each is an absolute URI
    /// without a fragment.
    ///
    /// # Errors
    /// `invalid_option` if a resource is not one.
    pub fn with_resource<S: Into<String>>(&self, resource: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        self.0.with_resource(resource.into_iter().map(Into::into).collect()).map(Self)
    }

    /// Where to send the browser (RFC 6749 section 4.1.1), with `state` and PKCE always.
    ///
    /// # Errors
    /// `invalid_option` if the profile sends no browser anywhere, or the redirect URI is missing or not absolute.
    pub fn authorization_url(&self, request: AuthorizationUrl) -> Result<Authorization, Error> {
        self.wait(self.0.authorization_url(request))
    }

    /// Asks for a code that a person types in on another device (RFC 8628 section 3.1): show them what comes back, and go on
    /// with [`Client::poll`].
    ///
    /// # Errors
    /// Like [`Client::token`]; `invalid_option` if the profile has no device authorization endpoint.
    pub fn device_authorization(&self, request: DeviceRequest) -> Result<Pending, Error> {
        self.wait(self.0.device_authorization(request))
    }

    /// Has the server ask a person on a device of their own (CIBA section 7.1); go on with [`Client::poll`].
    ///
    /// # Errors
    /// Like [`Client::token`]; `invalid_option` unless exactly one hint says who is asked.
    pub fn backchannel_authentication(&self, request: BackchannelRequest) -> Result<Pending, Error> {
        self.wait(self.0.backchannel_authentication(request))
    }

    /// Waits until the person has answered (RFC 8628 section 3.4, CIBA section 10.1): until the code runs out, unless a
    /// timeout is given, which ends the polling too.
    ///
    /// # Errors
    /// `access_denied` if the person refused, `authorization_expired` if nobody answered, `timeout` if the timeout came first.
    pub fn poll(
        &self,
        session: impl Into<Secret>,
        subject: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Token, Error> {
        self.wait(self.0.poll(session.into(), subject.map(Into::into), timeout))
    }

    /// What the server knows about a token (RFC 7662). `hint` is `access_token`, `refresh_token` or a name of the server's.
    ///
    /// # Errors
    /// `unexpected_answer` if the answer does not say whether it is good: take it for no.
    pub fn introspect(&self, token: impl Into<Secret>, hint: Option<&str>) -> Result<Introspection, Error> {
        self.wait(self.0.introspect(token.into(), hint.map(Into::into)))
    }

    /// Has the server forget a token (RFC 7009), and forgets it here. `None`: what this client holds, its refresh token if it
    /// has one, and the access token that came with it.
    ///
    /// # Errors
    /// `server_unavailable` if the token still exists: try again after `retry_after`.
    pub fn revoke(&self, token: impl Into<Option<Secret>>, hint: Option<&str>) -> Result<(), Error> {
        self.wait(self.0.revoke(token.into(), hint.map(Into::into)))
    }

    /// Tells that a client certificate or a key was replaced. Tokens that are bound to the old one are not used any more.
    ///
    /// # Errors
    /// `invalid_option` if a key is described wrongly; then nothing has changed.
    pub fn renewed(&self, renewed: Renewed) -> Result<(), Error> {
        self.0.renewed(renewed)
    }

    /// The browser came back (RFC 6749 section 4.1.2): `callback` is the URL, or its query alone.
    ///
    /// # Errors
    /// `state_mismatch` or `issuer_mismatch` if the callback is not the answer to this session's request, `access_denied` if
    /// the person refused, and what the token endpoint made of the code.
    pub fn exchange(
        &self,
        callback: impl Into<Secret>,
        session: impl Into<Secret>,
        subject: Option<&str>,
    ) -> Result<Token, Error> {
        self.wait(self.0.exchange(callback.into(), session.into(), subject.map(Into::into)))
    }

    /// A URL with the token in its query, for the providers that need it. Logs, histories and referrers keep URLs
    /// (RFC 9700 section 4.3.2).
    ///
    /// # Errors
    /// Like [`Client::headers`]; `invalid_option` if the profile takes no token in a URL.
    pub fn insecure_url(&self, url: &str) -> Result<InsecureUrl, Error> {
        self.wait(self.0.insecure_url(url))
    }

    /// Forgets the cached token.
    pub fn invalidate(&self) {
        self.0.invalidate();
    }

    /// Refuses new work, for all clones, and waits for what is under way: a new refresh token may be on its way.
    pub fn close(&self) {
        self.wait(self.0.close());
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        block_on(&self.0.shared.time, future)
    }
}

impl<T: Transport> Host for Threads<T> {
    const MAY_BLOCK: bool = true;

    fn spawn(shared: &Shared<Self>, task: Task) {
        let time = shared.time.clone();
        // Where the system has no thread to spare, the client does without.
        let _ = thread::Builder::new().name("remint-changes".into()).spawn(move || block_on(&time, task));
    }

    fn start(job: Job<Self>) {
        if !job.shared().config.aside {
            run(job);
            return;
        }
        let job = Arc::new(Mutex::new(Some(job)));
        let take = |job: &Mutex<Option<Job<Self>>>| job.lock().unwrap_or_else(PoisonError::into_inner).take();
        let theirs = job.clone();
        let spawned =
            thread::Builder::new().name("remint-flight".into()).spawn(move || take(&theirs).into_iter().for_each(run));
        if spawned.is_err() {
            // The system has no thread to spare: the caller does it.
            take(&job).into_iter().for_each(run);
        }
    }

    fn send(&self, request: Outgoing) -> impl Future<Output = Result<Incoming, SendError>> + Send {
        ready(self.0.send(request))
    }

    fn sleep(&self, time: &Time, until: i64) -> impl Future<Output = ()> + Send {
        let time = time.clone();
        poll_fn(move |_| {
            if time.now().boot >= until {
                return Poll::Ready(());
            }
            ALARM.set(ALARM.get().min(until));
            Poll::Pending
        })
    }
}

impl<T> Transport for T
where
    T: Fn(Outgoing) -> Result<Incoming, SendError> + Send + Sync + 'static,
{
    fn send(&self, request: Outgoing) -> Result<Incoming, SendError> {
        self(request)
    }
}

impl<T: Transport> Clone for Client<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Transport> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn run<T: Transport>(job: Job<Threads<T>>) {
    let time = job.shared().time.clone();
    block_on(&time, job.run());
}

/// Runs a future on this thread, which rests until somebody wakes it or a sleep of the future's is over.
fn block_on<F: Future>(time: &Time, future: F) -> F::Output {
    let parked = Arc::new(Parked { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(parked.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    // A function of the user's may block on this thread in turn.
    let outer = ALARM.get();
    let output = loop {
        ALARM.set(i64::MAX);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            break output;
        }
        if !parked.is_woken.swap(false, Ordering::AcqRel) {
            time.park(time.until(ALARM.get()).min(LONGEST_SLEEP));
        }
    };
    ALARM.set(outer);
    output
}

struct Parked {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A profile whose tokens are what the user says.
const STATIC: &str = r#"{
    "name": "static",
    "title": "A token of your own",
    "grants": ["api_token"],
    "attach": { "header": "Authorization", "scheme": "Bearer" },
    "api_token": { "scheme": "Bearer" },
    "api_origins": []
}"#;

std::thread_local! {
    /// When the future that blocks this thread wants to be polled even if nobody wakes it: a point of the boot clock.
    static ALARM: Cell<i64> = const { Cell::new(i64::MAX) };
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::time::Duration;
    use std::format;
    use std::string::ToString;
    use std::sync::{Arc, OnceLock};
    use std::thread;
    use std::vec::Vec;

    use super::{Client, Incoming, Outgoing, SendError};
    use crate::client::TokenOptions;
    use crate::error::ErrorCode;

    fn answer() -> Incoming {
        let body = br#"{"access_token": "T1", "token_type": "Bearer", "expires_in": 3600}"#.to_vec();
        Incoming { status: 200, headers: Vec::new(), body }
    }

    fn builder() -> crate::Builder {
        Client::builder("phoenix-market")
            .client_id("app")
            .client_secret("s3cret")
            .option("token_endpoint", "https://auth.example/token")
    }

    #[test]
    fn handles_that_come_and_go_leave_nothing_behind() {
        let client = builder().build(|_: Outgoing| Ok::<_, SendError>(answer())).unwrap();
        for number in 0..5_000 {
            client.with_scope([number.to_string()]).unwrap().token().unwrap();
        }
        assert!(client.0.shared.lock().kept() <= 1_025);
        assert!(client.0.shared.lock().flights().is_empty());
    }

    #[test]
    fn a_function_of_the_users_may_use_a_client_in_turn() {
        let other = builder()
            .build(|_: Outgoing| {
                thread::sleep(Duration::from_millis(20));
                Ok::<_, SendError>(answer())
            })
            .unwrap();
        let inner = other.clone();
        let client = Client::builder("phoenix-market")
            .client_id("app")
            .client_secret_fn(move || inner.token().map(|token| token.access_token.clone()))
            .option("token_endpoint", "https://auth.example/token")
            .background_refresh(false)
            .build(|_: Outgoing| Ok::<_, SendError>(answer()))
            .unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| client.token().unwrap());
            }
        });
    }

    #[test]
    fn a_notice_that_panics_harms_nobody_and_may_ask_the_client() {
        let told = Arc::new(AtomicUsize::new(0));
        let itself = Arc::new(OnceLock::<Client<fn(Outgoing) -> Result<Incoming, SendError>>>::new());
        let (count, asked) = (told.clone(), itself.clone());
        let send: fn(Outgoing) -> Result<Incoming, SendError> = |_| Ok(answer());
        let client = builder()
            .on_notice(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = asked.get().map(Client::token);
                std::panic::resume_unwind(std::boxed::Box::new("as it happens"));
            })
            .build(send)
            .unwrap();
        itself.set(client.clone()).unwrap();
        client.token().unwrap();
        client.close();
        for _ in 0..1_000 {
            if told.load(Ordering::SeqCst) > 0 {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("nothing was told");
    }

    #[test]
    fn a_secret_that_cannot_be_sent_is_refused_without_a_request() {
        let client = Client::builder("phoenix-market")
            .client_id("app")
            .client_secret_fn(|| Ok::<_, SendError>("line\nbreak"))
            .option("token_endpoint", "https://auth.example/token")
            .build(|_: Outgoing| -> Result<Incoming, SendError> { panic!("nothing may be sent") })
            .unwrap();
        let error = client.token().unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidOption);
        assert!(!format!("{error} {error:?}").contains("line\nbreak"));
    }

    #[test]
    fn patience_ends_when_it_is_told_to() {
        let client = builder()
            .build(|_: Outgoing| {
                thread::sleep(Duration::from_secs(2));
                Ok::<_, SendError>(answer())
            })
            .unwrap();
        let hasty = TokenOptions { timeout: Some(Duration::from_millis(50)), ..TokenOptions::default() };
        assert_eq!(client.token_with(hasty).unwrap_err().code(), ErrorCode::Timeout);
        assert_eq!(client.token().unwrap().generation, 1);
    }
}
