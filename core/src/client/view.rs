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
use crate::event::{Adopt, Answered, Ask, Attach, AuthorizationUrl, CodeExchange, Event, Flow, Start, Want};
use crate::secret::Secret;
use crate::step::{Call, Done, FlightId, Verdict};

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

    pub(crate) fn with_subject(&self, subject: String, refresh_token: Option<Secret>) -> Result<Self, Error> {
        let want = Want { subject: Some(subject), ..self.want.clone() };
        if let Some(refresh_token) = refresh_token {
            let on_rotated = self.shared.hooks.wants_rotated();
            let refresh_token = Some(refresh_token);
            self.start(Flow::Adopt(Adopt { want: want.clone(), refresh_token, on_rotated, ..Adopt::default() }))?;
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

    pub(crate) async fn headers(&self, method: &str, url: &str, call: Option<Call>) -> Result<Headers, Error> {
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
        call: Option<Call>,
        insecure_query: bool,
    ) -> Result<(Token, Answer), Error> {
        // Asked before there is a token, too: none is fetched for a URL that may not have it. Later it may be withdrawn between
        // the two questions: then there is another.
        let mut token = self.fresh().filter(|_| call.is_none());
        for _ in 0..=3 {
            let call_of = token.as_ref().map_or(Call::new(0, false, false), |token| token.call);
            let (want, method, url) = (self.want.clone(), method.into(), url.into());
            let attach = Attach { want, call: call_of, method, url, insecure_query, after: None };
            let answer = self.ask(Event::Attach(attach))?;
            match (answer, token) {
                (Answer::Verdict(_), _) => token = Some(self.acquire(TokenOptions::default(), call, None).await?),
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
        let mut call = None;
        loop {
            let headers = self.headers(method, url, call).await?;
            let used = headers.token.call;
            let reply = send(headers).await?;
            if self.judge(used, url, reply.status, &reply.headers) != Verdict::Retry {
                return Ok(reply.value);
            }
            call = Some(used);
        }
    }

    /// What an API's answer says about the token that was on the request.
    pub(crate) fn judge(&self, call: Call, url: &str, status: u16, headers: &[(String, String)]) -> Verdict {
        // The core wants to hear of every refusal, and of the first answer that ends a row of them.
        let is_refused = status == 401;
        if !self.slot.is_refused.swap(is_refused, Ordering::AcqRel) && !is_refused {
            return Verdict::Pass;
        }
        let (want, url, headers) = (self.want.clone(), Some(url.into()), headers.to_vec());
        match self.ask(Event::Answered(Answered { want, call, url, status, headers })) {
            Ok(Answer::Verdict(verdict)) => verdict,
            _ => Verdict::Pass,
        }
    }

    pub(crate) fn authorization_url(&self, mut ask: AuthorizationUrl) -> Result<Authorization, Error> {
        ask.scope = ask.scope.or_else(|| self.want.scope.clone());
        match self.start(Flow::AuthorizationUrl(ask))? {
            Answer::Done(Done::Authorization { url, session }) => Ok(Authorization { url, session }),
            _ => Err(unexpected()),
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
        match view.start(Flow::Exchange(CodeExchange { callback, session, subject, on_rotated }))? {
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
    }

    fn ask(&self, event: Event) -> Result<Answer, Error> {
        self.shared.ask(event, Some((self.key, &self.slot)), &self.shared.entropy().unwrap_or_default())
    }

    /// Begins a flow. Where a person is behind it, what is drawn must not be foreseeable.
    fn start(&self, flow: Flow) -> Result<Answer, Error> {
        let start = Start { flow, deadline: None, after: None };
        self.shared.ask(Event::Start(start), Some((self.key, &self.slot)), &self.shared.entropy()?)
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
