//! One of a client's tokens, and all that can be done with it. Threads and tasks share this.

use core::fmt;
use core::future::Future;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::clock::millis;
use super::driver::{Answer, Host, Shared};
use super::lease::{Slot, Token};
use crate::cache::Key;
use crate::error::{Error, ErrorCode};
use crate::event::{
    Adopt, Answered, Ask, Attach, AuthorizationUrl, BackchannelRequest, CodeExchange, DeviceRequest, Event, Flow,
    Introspect, Poll, Renewed, Revoke, Start, Want,
};
use crate::secret::Secret;
use crate::step::{Call, Done, FlightId, Pending, Verdict};

/// How a token is wanted. The default is any that is valid.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TokenOptions {
    /// How much life it must have left.
    pub min_ttl: Duration,
    /// Whether the cached token won't do.
    pub force: bool,
    /// How long the caller waits: thirty seconds unless told, here or by the policy's `caller_timeout`.
    pub timeout: Option<Duration>,
}

/// What goes on one API request: names and values. Printing it shows no value.
#[derive(Clone)]
pub struct Headers {
    token: Token,
    lines: Vec<(String, String)>,
}

/// An API request's answer, as far as a client has to see it, and the whole of it for the caller.
#[derive(Clone, Debug)]
pub struct Reply<R> {
    /// The HTTP status.
    pub status: u16,
    /// The lines of `WWW-Authenticate`, or all headers.
    pub headers: Vec<(String, String)>,
    /// What the caller gets.
    pub value: R,
}

/// Where to send the browser, and what the web session keeps until it is back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authorization {
    /// The URL.
    pub url: String,
    /// Opaque and secret: it belongs into the web session, as it is.
    pub session: Secret,
}

/// What a server knows about a token (RFC 7662 section 2.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Introspection {
    /// Whether it is good, says the server.
    pub active: bool,
    /// The whole answer as JSON text: it is about a person, perhaps.
    pub claims: Secret,
}

/// A URL with the token in its query, which logs and histories keep.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InsecureUrl {
    /// The URL.
    pub url: Secret,
    /// Headers for the answer that carries the URL: they keep it out of caches and referrers.
    pub headers: Vec<(String, String)>,
}

/// A handle: whose token, and of which client.
pub(crate) struct View<H: Host> {
    pub(crate) shared: Arc<Shared<H>>,
    want: Want,
    key: Key,
    slot: Arc<Slot>,
}

impl<H: Host> View<H> {
    pub(crate) fn new(shared: Arc<Shared<H>>, want: Want) -> Self {
        let mut state = shared.lock();
        let key = state.core().key(&want);
        let slot = state.slot(key);
        drop(state);
        Self { shared, want, key, slot }
    }

    pub(crate) fn with_scope(&self, scope: Vec<String>) -> Result<Self, Error> {
        let scope = self.shared.config.check_scope(&scope)?;
        Ok(Self::new(self.shared.clone(), Want { scope: Some(scope), ..self.want.clone() }))
    }

    pub(crate) fn with_resource(&self, resource: Vec<String>) -> Result<Self, Error> {
        self.shared.config.check_resource(&resource)?;
        Ok(Self::new(self.shared.clone(), Want { resource: Some(resource), ..self.want.clone() }))
    }

    /// Another user, with what the program's database has for them, if anything.
    pub(crate) fn with_subject(&self, subject: String, adopt: Adopt) -> Result<Self, Error> {
        let want = Want { subject: Some(subject), ..self.want.clone() };
        if adopt.refresh_token.is_some() || adopt.subject_token.is_some() {
            let on_rotated = self.shared.hooks.wants_rotated();
            self.start(Flow::Adopt(Adopt { want: want.clone(), on_rotated, ..adopt }), None)?;
        }
        Ok(Self::new(self.shared.clone(), want))
    }

    /// The hot path: a token without a question.
    pub(crate) fn fresh(&self) -> Option<Token> {
        self.slot.fresh()
    }

    pub(crate) fn peek(&self) -> Option<Token> {
        self.slot.alive().unwrap_or_else(|| {
            // Whoever writes there has the lock.
            let _lock = self.shared.lock();
            self.slot.alive().flatten()
        })
    }

    pub(crate) async fn token(&self, options: TokenOptions) -> Result<Token, Error> {
        match self.fresh().filter(|_| options.min_ttl.is_zero() && !options.force) {
            Some(token) => Ok(token),
            None => self.acquire(options, None, None).await,
        }
    }

    async fn acquire(
        &self,
        options: TokenOptions,
        call: Option<Call>,
        mut after: Option<FlightId>,
    ) -> Result<Token, Error> {
        let timeout = options.timeout.map_or(self.shared.config.policy.caller_timeout, millis);
        let deadline = self.shared.time.now().boot.saturating_add(timeout);
        loop {
            let (min_ttl, force) = (millis(options.min_ttl), options.force);
            let ask = Ask { want: self.want.clone(), min_ttl, force, deadline: Some(deadline), after, call };
            match self.ask(Event::Ask(ask))? {
                Answer::Token(token) => return Ok(token),
                Answer::Wait(wait) => {
                    wait.over(&self.shared).await;
                    after = Some(wait.id);
                }
                _ => return Err(unexpected()),
            }
        }
    }

    pub(crate) async fn headers(&self, method: &str, url: &str, call: Option<Repeat>) -> Result<Headers, Error> {
        let (token, answer) = self.attach(method, url, call, false).await?;
        match answer {
            Answer::Headers(lines) => Ok(Headers { token, lines }),
            _ => Err(unexpected()),
        }
    }

    pub(crate) async fn insecure_url(&self, url: &str) -> Result<InsecureUrl, Error> {
        match self.attach("GET", url, None, true).await? {
            (_, Answer::Done(Done::InsecureUrl { url, headers })) => Ok(InsecureUrl { url, headers }),
            _ => Err(unexpected()),
        }
    }

    async fn attach(
        &self,
        method: &str,
        url: &str,
        repeat: Option<Repeat>,
        insecure_query: bool,
    ) -> Result<(Token, Answer), Error> {
        // Asked before there is a token, too: none is fetched for a URL that may not have it. Later it may be withdrawn between
        // the two questions: then there is another.
        let (call, mut token) = match repeat {
            None => (None, self.fresh()),
            Some(Repeat::Token(call)) => (Some(call), None),
            Some(Repeat::Proof(token, call)) => (None, Some(token.with_call(call))),
        };
        let mut after = None;
        let mut withdrawn = 0;
        loop {
            let call_of = token.as_ref().map_or(Call::new(0, false, false), |token| token.call);
            let (want, method, url) = (self.want.clone(), method.into(), url.into());
            let attach = Attach { want, call: call_of, method, url, insecure_query, after };
            match (self.ask(Event::Attach(attach))?, token.take()) {
                (Answer::Wait(wait), same) => {
                    wait.over(&self.shared).await;
                    (after, token) = (Some(wait.id), same);
                }
                (Answer::Verdict(_), _) if withdrawn < 3 => {
                    token = Some(self.acquire(TokenOptions::default(), call, None).await?);
                    withdrawn += 1;
                }
                (Answer::Verdict(_), _) => break,
                (answer, Some(token)) => return Ok((token, answer)),
                (_, None) => return Err(unexpected()),
            }
        }
        Err(Error::new(
            ErrorCode::TransportFailed,
            "the token was withdrawn three times while the request was prepared: send it again",
        ))
    }

    pub(crate) async fn call<R, E, F, Sent>(&self, method: &str, url: &str, mut send: F) -> Result<R, E>
    where
        E: From<Error>,
        F: FnMut(Headers) -> Sent,
        Sent: Future<Output = Result<Reply<R>, E>>,
    {
        let mut repeat = None;
        loop {
            let headers = self.headers(method, url, repeat).await?;
            let token = headers.token.clone();
            let reply = send(headers).await?;
            repeat = match self.judge(token.call, url, reply.status, &reply.headers)? {
                Judgement::Verdict(Verdict::Retry) => Some(Repeat::Token(token.call)),
                Judgement::Again(call) => Some(Repeat::Proof(token, call)),
                Judgement::Verdict(_) => return Ok(reply.value),
            };
        }
    }

    /// What an API's answer says about the token that was on the request.
    pub(crate) fn judge(
        &self,
        call: Call,
        url: &str,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<Judgement, Error> {
        // The core wants to hear of every refusal, of the first answer that ends a row of them, and of each nonce.
        let is_refused = status == 401;
        let tells_more = status == 403 || headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("dpop-nonce"));
        if !self.slot.is_refused.swap(is_refused, Ordering::AcqRel) && !is_refused && !tells_more {
            return Ok(Judgement::Verdict(Verdict::Pass));
        }
        let (want, url, headers) = (self.want.clone(), Some(url.into()), headers.to_vec());
        match self.ask(Event::Answered(Answered { want, call, url, status, headers }))? {
            Answer::Verdict(verdict) => Ok(Judgement::Verdict(verdict)),
            Answer::Again(call) => Ok(Judgement::Again(call)),
            _ => Err(unexpected()),
        }
    }

    pub(crate) async fn authorization_url(&self, mut ask: AuthorizationUrl) -> Result<Authorization, Error> {
        ask.scope = ask.scope.or_else(|| self.want.scope.clone());
        match self.run(Flow::AuthorizationUrl(ask)).await? {
            Done::Authorization { url, session } => Ok(Authorization { url, session }),
            _ => Err(unexpected()),
        }
    }

    pub(crate) async fn device_authorization(&self, mut ask: DeviceRequest) -> Result<Pending, Error> {
        ask.scope = ask.scope.or_else(|| self.want.scope.clone());
        self.pending(Flow::Device(ask)).await
    }

    pub(crate) async fn backchannel_authentication(&self, mut ask: BackchannelRequest) -> Result<Pending, Error> {
        ask.scope = ask.scope.or_else(|| self.want.scope.clone());
        self.pending(Flow::Backchannel(ask)).await
    }

    async fn pending(&self, flow: Flow) -> Result<Pending, Error> {
        match self.run(flow).await? {
            Done::Pending(pending) => Ok(pending),
            _ => Err(unexpected()),
        }
    }

    /// Waits for a person's answer. A caller who gives up ends the polling: nobody else waits for it.
    pub(crate) async fn poll(
        &self,
        session: Secret,
        subject: Option<String>,
        timeout: Option<Duration>,
    ) -> Result<Token, Error> {
        let view = Self::new(self.shared.clone(), Want { subject: subject.clone(), ..Want::default() });
        let on_rotated = self.shared.hooks.wants_rotated();
        let deadline = timeout.map(|timeout| self.shared.time.now().boot.saturating_add(millis(timeout)));
        let Answer::Wait(wait) = view.start(Flow::Poll(Poll { session, subject, on_rotated }), deadline)? else {
            return Err(unexpected());
        };
        let mut polling = Polling { shared: &self.shared, flight: Some(wait.id) };
        wait.over(&self.shared).await;
        let options = TokenOptions { timeout: Some(self.shared.time.until(wait.until())), ..TokenOptions::default() };
        let outcome = view.acquire(options, None, Some(wait.id)).await;
        if !matches!(&outcome, Err(error) if error.code() == ErrorCode::Timeout) {
            polling.flight = None;
        }
        outcome
    }

    pub(crate) async fn introspect(&self, token: Secret, hint: Option<String>) -> Result<Introspection, Error> {
        match self.run(Flow::Introspect(Introspect { token, hint })).await? {
            Done::Introspection { active, introspection: claims } => Ok(Introspection { active, claims }),
            _ => Err(unexpected()),
        }
    }

    pub(crate) async fn revoke(&self, token: Option<Secret>, hint: Option<String>) -> Result<(), Error> {
        self.run(Flow::Revoke(Revoke { want: self.want.clone(), token, hint })).await.map(drop)
    }

    /// A certificate or key was replaced.
    pub(crate) fn renewed(&self, renewed: Renewed) -> Result<(), Error> {
        let entropy = self.shared.entropy()?;
        let (answer, _) = self.shared.handle(Event::Renewed(renewed), None, None, &entropy);
        match answer {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) async fn exchange(
        &self,
        callback: Secret,
        session: Secret,
        subject: Option<String>,
    ) -> Result<Token, Error> {
        let view = Self::new(self.shared.clone(), Want { subject: subject.clone(), ..Want::default() });
        let on_rotated = self.shared.hooks.wants_rotated();
        match view.start(Flow::Exchange(CodeExchange { callback, session, subject, on_rotated }), None)? {
            Answer::Wait(wait) => {
                wait.over(&self.shared).await;
                view.acquire(TokenOptions::default(), None, Some(wait.id)).await
            }
            _ => Err(unexpected()),
        }
    }

    pub(crate) fn invalidate(&self) {
        self.shared.tell(Event::Invalidate { want: self.want.clone() });
    }

    /// No new work; over when what was under way has ended.
    pub(crate) async fn close(&self) {
        self.shared.tell(Event::Close {});
        let flights = self.shared.lock().flights();
        for flight in flights {
            flight.landed(&self.shared).await;
        }
        self.shared.stop_hearing();
    }

    fn ask(&self, event: Event) -> Result<Answer, Error> {
        self.shared.ask(event, Some((self.key, &self.slot)), &self.shared.entropy().unwrap_or_default())
    }

    /// Begins a flow. Where a person is behind it, what is drawn must not be foreseeable.
    fn start(&self, flow: Flow, deadline: Option<i64>) -> Result<Answer, Error> {
        self.begin(Start { flow, deadline, after: None })
    }

    fn begin(&self, start: Start) -> Result<Answer, Error> {
        self.shared.ask(Event::Start(start), Some((self.key, &self.slot)), &self.shared.entropy()?)
    }

    /// A flow from its beginning to its value.
    async fn run(&self, flow: Flow) -> Result<Done, Error> {
        let timeout = self.shared.config.policy.caller_timeout;
        let deadline = Some(self.shared.time.now().boot.saturating_add(timeout));
        let mut after = None;
        loop {
            match self.begin(Start { flow: flow.clone(), deadline, after })? {
                Answer::Done(done) => return Ok(done),
                Answer::Wait(wait) => {
                    wait.over(&self.shared).await;
                    after = Some(wait.id);
                }
                _ => return Err(unexpected()),
            }
        }
    }
}

/// A request that is sent a second time: with another token, or with the same and another proof.
pub(crate) enum Repeat {
    Token(Call),
    Proof(Token, Call),
}

/// What to do about an API's answer.
pub(crate) enum Judgement {
    Verdict(Verdict),
    Again(Call),
}

/// The verdict for programs that send requests themselves: another proof comes with the next headers.
pub(crate) fn rejected(judgement: Result<Judgement, Error>) -> Result<Verdict, Error> {
    judgement.map(|judgement| match judgement {
        Judgement::Verdict(verdict) => verdict,
        Judgement::Again(_) => Verdict::Retry,
    })
}

/// A person's answer that is waited for. Dropped before its end, it ends the polling.
struct Polling<'a, H: Host> {
    shared: &'a Arc<Shared<H>>,
    /// None: it is over.
    flight: Option<FlightId>,
}

impl<H: Host> Drop for Polling<'_, H> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.shared.tell(Event::Cancel { flight });
        }
    }
}

impl<H: Host> Clone for View<H> {
    fn clone(&self) -> Self {
        let Self { shared, want, key, slot } = self;
        Self { shared: shared.clone(), want: want.clone(), key: *key, slot: slot.clone() }
    }
}

impl<H: Host> fmt::Debug for View<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("profile", &self.shared.config.profile)
            .field("want", &self.want)
            .finish_non_exhaustive()
    }
}

impl Headers {
    /// The token that they carry.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl<R> Reply<R> {
    /// An answer without the headers: enough for an API that sends no challenges. With `WWW-Authenticate` in `headers`, an
    /// answer that wants more scope is not mistaken for a token that has run out.
    pub fn new(status: u16, headers: Vec<(String, String)>, value: R) -> Self {
        Self { status, headers, value }
    }
}

fn unexpected() -> Error {
    Error::new(ErrorCode::InvalidEvent, "the core gave an answer that does not fit the question: this is a bug")
}
