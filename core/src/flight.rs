//! Flights: one attempt each to get a token, from take-off to landing.
//!
//! The order within a flight: sleep, lock the store, gather what the request needs (the server's metadata, secrets, assertions,
//! proofs), write the intent, send, tell the host of a new refresh token, save, settle. What a configuration does not need is
//! left out.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::cache::{Held, Key, Outcome, Refresh, RefreshState};
use crate::clock::Now;
use crate::config::Grant;
use crate::discovery::MetadataRequest;
use crate::errand::Question;
use crate::error::{Error, ErrorCode};
use crate::event::{Ask, FailureKind, Received, StoreResult, Want};
use crate::exchange::{Beside, Exchange, TokenRequest};
use crate::jarm::SignedAnswer;
use crate::jwt::UnsignedJwt;
use crate::machine::{Arrived, Core, Turn, closed, make_held};
use crate::notice::{NoticeKind, Reason};
use crate::record::{fingerprint, remember};
use crate::request::HttpRequest;
use crate::response::{HttpResponse, Refusal, Verdict};
use crate::secret::Secret;
use crate::step::{FlightId, OpId, Operation, Provision, Withdraw};
use crate::token::TokenSet;
use crate::url::EndpointUrl;
use gather::{Ingredient, Ingredients};
use poll::Polling;
use store::Draft;
pub(crate) use store::{Note, StoreHealth};

pub(crate) mod gather;
pub(crate) mod poll;
mod shared;
mod store;

/// One attempt to get a token, shared by all who wait for it.
pub(crate) struct Flight {
    pub(crate) key: Key,
    pub(crate) started: Now,
    /// The life that the token in hand had left at the start.
    pub(crate) left: i64,
    /// It sleeps until then, on the boot clock.
    pub(crate) asleep_until: Option<i64>,
    work: Work,
    /// What the next request needs beside what it asks for.
    pub(crate) ingredients: Ingredients,
    /// The request was made again because its proof was refused.
    proven_again: bool,
    /// The key that has the refresh token and the record in the shared store.
    pub(crate) owner: Key,
    /// The generation of the token in hand at the start.
    generation: u64,
    /// The store's lock is ours until then, on the boot clock.
    locked_until: Option<i64>,
    /// It sleeps for a moment, because of the store: nobody asked for a pause.
    pub(crate) naps: bool,
    /// How often it has done so.
    waits: u32,
    /// How often the lock was extended.
    extensions: u32,
    /// It goes on as if there were no store.
    without_store: bool,
    /// The token arrived dead once, and was asked for again.
    redone: bool,
    /// The policy is not to keep a token like the one that arrived.
    unkept: bool,
    /// The store was read again after a refused refresh token.
    reread: bool,
    /// How often a save was repeated after a conflict.
    saves: u32,
    /// The refresh token that this flight spent.
    spent: Option<Secret>,
    /// The token that waits to be handed out until what came with it is saved.
    arrived: Option<Held>,
}

impl Flight {
    /// It only reads the store, to see whether the token in hand is still the one to use.
    pub(crate) fn looks(&self) -> bool {
        self.work.looks
    }
}

/// What a flight is for.
pub(crate) struct Work {
    subject: Option<String>,
    scope: Option<Vec<String>>,
    resource: Option<Vec<String>>,
    reason: Reason,
    /// Neither the token in hand nor the store's will do.
    insists: bool,
    /// The store is read, to see whether the token in hand is still the one to use.
    looks: bool,
    /// What a person has agreed to: it is sent once, however that ends (STD-15).
    request: Option<TokenRequest>,
    /// What a person has yet to agree to.
    poll: Option<Polling>,
    /// What the browser brought, until it is known to be the server's word: then it is `request`.
    answer: Option<Box<SignedAnswer>>,
}

impl Work {
    pub(crate) fn renew(ask: &Ask, reason: Reason) -> Self {
        Self { insists: ask.force, ..Self::new(&ask.want, reason) }
    }

    pub(crate) fn look(ask: &Ask) -> Self {
        Self { looks: true, ..Self::new(&ask.want, Reason::Cold) }
    }

    pub(crate) fn exchange(want: &Want, request: TokenRequest) -> Self {
        Self { request: Some(request), ..Self::new(want, Reason::Exchanged) }
    }

    /// The same for a signed answer.
    pub(crate) fn check(want: &Want, answer: SignedAnswer) -> Self {
        Self { answer: Some(Box::new(answer)), ..Self::new(want, Reason::Exchanged) }
    }

    pub(crate) fn poll(want: &Want, poll: Polling) -> Self {
        Self { poll: Some(poll), ..Self::new(want, Reason::Exchanged) }
    }

    fn new(want: &Want, reason: Reason) -> Self {
        Self {
            subject: want.subject.clone(),
            scope: want.scope.clone(),
            resource: want.resource.clone(),
            reason,
            insists: false,
            looks: false,
            request: None,
            poll: None,
            answer: None,
        }
    }

    fn is_consent(&self) -> bool {
        self.reason == Reason::Exchanged
    }
}

/// What is under way, by operation.
#[derive(Default)]
pub(crate) struct Operations {
    pending: BTreeMap<OpId, Pending>,
    /// The same by `until`.
    ends: BTreeSet<(i64, OpId)>,
    /// Requests whose time was up: a refresh token in a late answer must not be lost.
    late: VecDeque<(OpId, Key, Exchange, Now)>,
    count: u64,
}

struct Pending {
    flight: FlightId,
    until: i64,
    what: What,
}

/// What an operation is for.
pub(crate) enum What {
    Send {
        exchange: Exchange,
        started: Now,
    },
    /// A request that brings no token.
    Ask(Question),
    /// The server's metadata. Nobody's flight: others may wait for it too.
    Metadata(MetadataRequest),
    Given(Ingredient),
    Signature(Ingredient, UnsignedJwt),
    /// The server's keys. Nobody's flight either.
    Keys,
    /// Whether the server signed what the browser brought.
    Verification,
    Rotated,
    Look,
    Lock {
        /// When it ends, on the boot clock.
        until: i64,
    },
    Release {
        key: Key,
        /// When the lock ends by itself at the latest, on the boot clock.
        until: i64,
    },
    Intent(Draft),
    Reread,
    Save(Draft),
    /// Nobody waits for it.
    Note(Note, Draft),
    /// A lock that nobody wants any more: it is given back when it comes.
    Orphan {
        key: Key,
        until: i64,
    },
    /// A lock that was not given back, because the store did not answer: it is when the store does again.
    Unreleased {
        key: Key,
    },
}

/// How many unanswered requests are remembered for the sake of a late answer.
const LATE: usize = 64;

impl Operations {
    pub(crate) fn add(&mut self, flight: FlightId, until: i64, what: What) -> OpId {
        self.count = self.count.saturating_add(1);
        let op = OpId(self.count);
        self.put(op, flight, until, what);
        op
    }

    fn take(&mut self, op: OpId) -> Option<Pending> {
        let pending = self.pending.remove(&op)?;
        self.ends.remove(&(pending.until, op));
        Some(pending)
    }

    /// Drops what is under way. Names are not given out twice: a late answer to the parent's request is not ours.
    pub(crate) fn forget(&mut self) {
        *self = Self { count: self.count, ..Self::default() };
    }

    /// What is under way for a flight alone: the server's metadata is everybody's.
    fn of(&self, flight: FlightId) -> Vec<OpId> {
        let is_its_own =
            |pending: &Pending| pending.flight == flight && !matches!(pending.what, What::Metadata(_) | What::Keys);
        self.pending.iter().filter(|(_, pending)| is_its_own(pending)).map(|(op, _)| *op).collect()
    }

    fn overdue(&self, now: Now, but: Option<OpId>) -> Option<OpId> {
        self.ends.iter().take_while(|(until, _)| *until <= now.boot).map(|(_, op)| *op).find(|op| Some(*op) != but)
    }

    /// Keeps something in mind until then, by the name of an operation that was taken.
    fn put(&mut self, op: OpId, flight: FlightId, until: i64, what: What) {
        self.ends.insert((until, op));
        self.pending.insert(op, Pending { flight, until, what });
    }

    /// The locks that are still to be given back, now that the store is there again.
    fn take_unreleased(&mut self) -> Vec<(FlightId, Key)> {
        let mut unreleased = Vec::new();
        let ends = &mut self.ends;
        self.pending.retain(|op, pending| match pending.what {
            What::Unreleased { key } => {
                unreleased.push((pending.flight, key));
                ends.remove(&(pending.until, *op));
                false
            }
            _ => true,
        });
        unreleased
    }

    fn remember(&mut self, op: OpId, key: Key, exchange: Exchange, started: Now) {
        if self.late.len() >= LATE {
            self.late.pop_front();
        }
        self.late.push_back((op, key, exchange, started));
    }

    fn recall(&mut self, op: OpId) -> Option<(Key, Exchange, Now)> {
        let at = self.late.iter().position(|(late, ..)| *late == op)?;
        self.late.remove(at).map(|(_, key, exchange, started)| (key, exchange, started))
    }
}

/// Starting, and going on from one operation to the next.
impl Core {
    /// Starts a flight, at once or after a sleep.
    pub(crate) fn take_off(&mut self, key: Key, work: Work, sleep: Option<i64>, turn: &mut Turn<'_>) -> FlightId {
        let id = self.next_flight();
        let left = self.cache.find(&key).and_then(|entry| entry.held.as_ref()).map_or(0, |held| held.left(turn.now));
        let asleep_until = sleep.filter(|until| *until > turn.now.boot);
        let flight = Flight {
            key,
            started: turn.now,
            left: left.max(0),
            asleep_until,
            work,
            ingredients: Ingredients::default(),
            proven_again: false,
            owner: self.cache.owner(&key),
            generation: self.cache.find(&key).map_or(0, |entry| entry.generation),
            locked_until: None,
            naps: false,
            waits: 0,
            extensions: 0,
            without_store: false,
            redone: false,
            unkept: false,
            reread: false,
            saves: 0,
            spent: None,
            arrived: None,
        };
        self.flights.insert(id, flight);
        if let Some(entry) = self.cache.find_mut(&key) {
            entry.flight = Some(id);
        }
        match asleep_until {
            Some(until) => turn.step.operations.push(Operation::Sleep { flight: id, until }),
            None => self.begin(id, turn),
        }
        id
    }

    pub(crate) fn tick(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        match flight.asleep_until {
            Some(until) if until > turn.now.boot => {
                turn.step.operations.push(Operation::Sleep { flight: id, until });
            }
            Some(_) => self.wake(id, turn),
            None => {}
        }
    }

    /// Ends a flight's sleep.
    pub(crate) fn wake(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.asleep_until = None;
            flight.naps = false;
            self.begin(id, turn);
        }
    }

    /// A host whose timer is late must not keep callers waiting: any question about the key wakes its flight, and the one that
    /// has the refresh token.
    pub(crate) fn wake_overslept(&mut self, key: Key, want: &Want, turn: &mut Turn<'_>) {
        let line = if self.lines.is_empty() { None } else { self.lines.get(&self.owner_key(want)) };
        let first = line.and_then(|line| line.front().copied());
        let own = self.cache.find(&key).and_then(|entry| entry.flight);
        for id in first.into_iter().chain(own) {
            let due = self
                .flights
                .get(&id)
                .and_then(|flight| flight.asleep_until)
                .is_some_and(|until| until <= turn.now.boot);
            if due {
                self.tick(id, turn);
            }
        }
    }

    fn begin(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (is_poll, without_store, looks) = (flight.work.poll.is_some(), flight.without_store, flight.work.looks);
        let (flight_key, is_consent) = (flight.key, flight.work.is_consent());
        // A poll spends no refresh token, nobody else's token comes of it, and it may go on for minutes.
        if is_poll || self.unchecked_answer(id).is_some() {
            self.gather(id, turn);
        } else if self.is_first_in_line(id) {
            let refusal = self.standing_refusal(flight_key, turn.now);
            if let (Some(refusal), false) = (refusal, is_consent || looks) {
                // Whoever was before it has learned that there is no use.
                self.settle_with_error(id, refusal, true, turn);
            } else if self.config.store.is_none() || without_store {
                self.gather(id, turn);
            } else {
                self.consult(id, turn);
            }
        }
    }

    /// The refusal of a key's refresh token, while nothing is tried because of it.
    fn standing_refusal(&self, key: Key, now: Now) -> Option<Error> {
        let trouble = self.cache.find(&key).and_then(|entry| entry.trouble());
        let refusal = trouble.filter(|trouble| trouble.next > now.boot && is_refusal(&trouble.error))?;
        Some(self.trouble_error(key, refusal.next, now))
    }

    /// What the browser brought, while it is not known whose word that is.
    pub(crate) fn unchecked_answer(&self, id: FlightId) -> Option<&SignedAnswer> {
        self.flights.get(&id)?.work.answer.as_deref()
    }

    pub(crate) fn take_unchecked_answer(&mut self, id: FlightId) -> Option<SignedAnswer> {
        self.flights.get_mut(&id)?.work.answer.take().map(|answer| *answer)
    }

    /// The answer was the server's word: its code is exchanged.
    pub(crate) fn go_on_with(&mut self, id: FlightId, request: TokenRequest, turn: &mut Turn<'_>) {
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.work.request = Some(request);
            self.begin(id, turn);
        }
    }

    /// One consent has one refresh token, whatever is asked for with it: it is spent by one flight at a time (P-14).
    fn is_first_in_line(&mut self, id: FlightId) -> bool {
        let (true, Some(flight)) = (self.config.grant.needs_a_person(), self.flights.get(&id)) else { return true };
        let line = self.lines.entry(flight.owner).or_default();
        if !line.contains(&id) {
            line.push_back(id);
        }
        line.front() == Some(&id)
    }

    /// The flight's turn with the refresh token is over.
    fn leave_line(&mut self, id: FlightId, owner: Key, turn: &mut Turn<'_>) {
        let Some(line) = self.lines.get_mut(&owner) else { return };
        let was_first = line.front() == Some(&id);
        line.retain(|waiting| *waiting != id);
        let next = line.front().copied();
        if next.is_none() {
            self.lines.remove(&owner);
        }
        if let (true, Some(next)) = (was_first, next) {
            self.begin(next, turn);
        }
    }

    fn send(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        // Taken, because an assertion and a proof are good for one attempt (STD-87, STD-119).
        let Some(mut ingredients) = self.flights.get_mut(&id).map(|flight| mem::take(&mut flight.ingredients)) else {
            return;
        };
        let built = self.token_request(id, &mut ingredients).and_then(|request| {
            let secret = self.client_secret(ingredients.client, turn)?;
            let resource = self.flights.get(&id).and_then(|flight| flight.work.resource.clone());
            self.config.compose(request, Beside { secret, proof: ingredients.proof, resource })
        });
        let (request, exchange) = match built {
            Ok(built) => built,
            Err(error) => {
                let verdict = Verdict::Terminal;
                self.fail(id, Refusal { verdict, error, retry_after: None, refresh_token: None }, turn);
                return;
            }
        };
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.spent = exchange.refresh_token().cloned();
            let (key, spends) = (flight.key, flight.spent.is_some());
            if let Some(refresh) =
                self.refresh_mut(&key).filter(|refresh| spends && refresh.state == RefreshState::Ambiguous)
            {
                refresh.state = RefreshState::Resent;
            }
        }
        self.dispatch(id, request, What::Send { exchange, started: turn.now }, turn);
    }

    fn token_request(&mut self, id: FlightId, given: &mut Ingredients) -> Result<TokenRequest, Error> {
        let Some(flight) = self.flights.get_mut(&id) else { return Err(closed()) };
        // A code is used up here, whatever becomes of the request (STD-15).
        if let Some(request) = flight.work.request.take() {
            return Ok(request);
        }
        if let Some(poll) = &flight.work.poll {
            return Ok(poll.request());
        }
        let scope = flight.work.scope.clone();
        match self.config.grant {
            Grant::ClientCredentials => Ok(TokenRequest::ClientCredentials { scope }),
            Grant::BasicGet | Grant::ApiToken => Ok(TokenRequest::BasicGet {}),
            Grant::TokenExchange => match given.subject_token.take() {
                Some(subject_token) => {
                    Ok(TokenRequest::TokenExchange { subject_token, actor_token: given.actor_token.take(), scope })
                }
                None => Err(no_subject_token()),
            },
            Grant::JwtBearer => {
                // It is gathered before anything is sent.
                let assertion = given.grant.take().unwrap_or_else(|| Secret::new(""));
                Ok(TokenRequest::JwtBearer { assertion, scope })
            }
            Grant::AuthorizationCode | Grant::DeviceCode | Grant::Ciba => {
                let key = flight.key;
                match self.refresh(&key) {
                    // The grant's whole scope is meant if the parameter is left out (RFC 6749 section 6).
                    Some(refresh) => Ok(TokenRequest::Refresh { refresh_token: refresh.token.clone(), scope }),
                    None => Err(reauthorization_required(false)),
                }
            }
        }
    }

    /// Has the host send a request, and takes note of what it is.
    pub(crate) fn dispatch(&mut self, id: FlightId, request: HttpRequest, what: What, turn: &mut Turn<'_>) {
        let until = turn.now.boot.saturating_add(self.config.request_timeout);
        let op = self.operations.add(id, until, what);
        let (tls_id, cap) = (self.config.tls_id.clone(), self.config.policy.answer_cap);
        turn.step.operations.push(Operation::Send { op, flight: id, request, tls_id, until, cap });
    }

    /// Takes note of what an answer tells about proofs. Says whether a proof would now come out another.
    pub(crate) fn learn(&mut self, endpoint: Option<&EndpointUrl>, headers: &[(String, String)], now: Now) -> bool {
        endpoint.is_some_and(|endpoint| self.servers.learn(&endpoint.origin(), headers, now.wall))
    }

    /// Whether a flight would have anything to send.
    pub(crate) fn can_renew(&self, key: Key) -> Result<(), Error> {
        if self.config.grant == Grant::TokenExchange && !self.config.exchanged.subject_provided {
            let rare = self.cache.find(&key).and_then(|entry| entry.rare.as_ref());
            return match rare.and_then(|rare| rare.subject_token.as_ref()) {
                Some(_) => Ok(()),
                None => Err(no_subject_token()),
            };
        }
        if !self.config.grant.needs_a_person() {
            return Ok(());
        }
        match self.refresh(&key) {
            // Perhaps the store has a successor.
            _ if self.config.store.is_some() => Ok(()),
            Some(refresh) if refresh.state == RefreshState::Exhausted => Err(reauthorization_required(true)),
            Some(_) => Ok(()),
            None => Err(reauthorization_required(false)),
        }
    }

    /// The refresh token that a key's tokens are renewed with.
    pub(crate) fn refresh(&self, key: &Key) -> Option<&Refresh> {
        self.cache.find(&self.cache.owner(key))?.refresh()
    }

    fn refresh_mut(&mut self, key: &Key) -> Option<&mut Refresh> {
        let owner = self.cache.owner(key);
        self.cache.find_mut(&owner)?.rare.as_mut()?.refresh.as_mut()
    }

    /// The life left of the token in hand, in milliseconds.
    fn left(&self, key: &Key, turn: &Turn<'_>) -> i64 {
        self.cache.find(key).and_then(|entry| entry.held.as_ref()).map_or(0, |held| held.left(turn.now))
    }

    /// A refresh token whose fate is not known is kept back while the access token lives: there is nothing left to lose only
    /// after that. A server that takes a replaced one for a while spares us the wait.
    pub(crate) fn waits_for_expiry(&self, key: Key) -> bool {
        let state = self.refresh(&key).map(|refresh| refresh.state);
        self.config.rotation_grace.is_none() && matches!(state, Some(RefreshState::Ambiguous | RefreshState::Exhausted))
    }
}

/// What came back.
impl Core {
    /// An operation without an answer has timed out once its `until` has passed, but for the one that is being answered now.
    pub(crate) fn end_overdue(&mut self, answered: Option<OpId>, turn: &mut Turn<'_>) {
        while let Some(op) = self.operations.overdue(turn.now, answered) {
            self.failed(op, FailureKind::Timeout, turn);
        }
    }

    pub(crate) fn received(&mut self, received: &Received, turn: &mut Turn<'_>) {
        let response = HttpResponse { status: received.status, headers: &received.headers, body: &received.body };
        let Some(pending) = self.operations.take(received.op) else {
            if let Some((key, exchange, started)) = self.operations.recall(received.op) {
                self.absorb(key, &exchange, exchange.read(response, started), turn);
            }
            return;
        };
        let id = pending.flight;
        let (exchange, started) = match pending.what {
            What::Send { exchange, started } => (exchange, started),
            What::Ask(question) => return self.question_answered(id, question, response, turn),
            What::Metadata(request) => return self.metadata_answered(id, request, response, turn),
            What::Keys => return self.keys_answered(&response, turn),
            _ => return,
        };
        let config = self.config.clone();
        let learned = self.learn(config.token_endpoint.as_ref(), response.headers, turn.now);
        match exchange.read(response, started) {
            Ok(token) => self.arrive(id, &exchange, token, turn),
            Err(refusal) if learned && self.may_prove_again(id, &refusal.error) => {
                // It was refused for its proof alone, before the server looked at the rest (RFC 9449 section 8).
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.proven_again = true;
                    if exchange.is_consent() && flight.work.poll.is_none() {
                        flight.work.request = Some(exchange.into_request());
                    }
                }
                self.gather(id, turn);
            }
            Err(refusal) => self.refused(id, &exchange, received.status, refusal, turn),
        }
    }

    /// Whether the request may be made once more with another proof (STD-124).
    fn may_prove_again(&self, id: FlightId, error: &Error) -> bool {
        error.code() == ErrorCode::InvalidDpopProof
            && self.config.dpop.is_some()
            && self.flights.get(&id).is_some_and(|flight| !flight.proven_again)
    }

    pub(crate) fn failed(&mut self, op: OpId, kind: FailureKind, turn: &mut Turn<'_>) {
        let Some(pending) = self.operations.take(op) else { return };
        let id = pending.flight;
        match pending.what {
            What::Send { exchange, started } => {
                if let (Some(flight), FailureKind::Timeout | FailureKind::Abandoned) = (self.flights.get(&id), kind) {
                    self.operations.remember(op, flight.key, exchange.clone(), started);
                }
                self.lost(id, &exchange, kind, turn);
            }
            What::Ask(question) => self.fail(id, lost(kind, question.server()), turn),
            What::Metadata(request) => self.metadata_lost(id, request, lost(kind, "the server's metadata"), turn),
            What::Keys => self.keys_are_here(Some(lost(kind, "the server that tells its keys")), turn),
            What::Verification => {
                let error = Error::new(
                    ErrorCode::HostError,
                    "the host could not check the server's signature: see its own error",
                );
                self.fail(id, passing(error), turn);
            }
            What::Given(ingredient) => {
                let error = Error::new(
                    ErrorCode::HostError,
                    alloc::format!("the function that gives {} failed: see its own error", ingredient.name()),
                );
                self.fail(id, passing(error), turn);
            }
            What::Signature(..) => {
                let error = Error::new(
                    ErrorCode::HostError,
                    "the signer failed, so the client could not prove who it is: see its own error",
                );
                self.fail(id, passing(error), turn);
            }
            What::Rotated => {
                let key = self.flights.get(&id).map(|flight| flight.key);
                turn.notice(NoticeKind::PersistFailed, key, Some(id));
                self.save_arrival(id, turn);
            }
            What::Lock { .. } | What::Orphan { .. } => {
                self.store_answered(op, id, pending.what, StoreResult::Unknown, turn);
            }
            what => self.store_answered(op, id, what, StoreResult::Down, turn),
        }
    }

    pub(crate) fn provided(&mut self, op: OpId, value: Option<Secret>, turn: &mut Turn<'_>) {
        let Some(pending) = self.operations.take(op) else { return };
        let id = pending.flight;
        match (pending.what, value) {
            (What::Given(ingredient), Some(value)) => {
                self.add_ingredient(id, ingredient, value);
                self.gather(id, turn);
            }
            (What::Given(ingredient), None) => {
                let error = Error::new(
                    ErrorCode::HostError,
                    alloc::format!("the function that gives {} gave nothing: it must give a string", ingredient.name()),
                );
                self.fail(id, passing(error), turn);
            }
            (What::Rotated, _) => self.save_arrival(id, turn),
            _ => {}
        }
    }

    pub(crate) fn signed(&mut self, op: OpId, signature: &str, turn: &mut Turn<'_>) {
        let Some(Pending { flight: id, what: What::Signature(ingredient, jwt), .. }) = self.operations.take(op) else {
            return;
        };
        match jwt.signed(signature) {
            Ok(jwt) => {
                self.add_ingredient(id, ingredient, jwt);
                self.gather(id, turn);
            }
            Err(error) => self.fail(id, passing(error), turn),
        }
    }

    pub(crate) fn verified(&mut self, op: OpId, valid: bool, turn: &mut Turn<'_>) {
        if let Some(Pending { flight: id, what: What::Verification, .. }) = self.operations.take(op) {
            self.answer_checked(id, valid, turn);
        }
    }

    /// A token came. What came with it is made safe before anybody gets it.
    fn arrive(&mut self, id: FlightId, exchange: &Exchange, set: TokenSet, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (key, now) = (flight.key, turn.now);
        let expires = set.started.plus(set.lifetime);
        let life = now.until(expires).min(set.lifetime);
        let aged = set.oddities.iter().any(|oddity| matches!(oddity, NoticeKind::Aged(_)));
        if (set.lifetime > 0 || aged) && life <= 0 && exchange.is_repeatable() && !flight.redone {
            flight.redone = true;
            self.gather(id, turn);
            return;
        }
        let reason = flight.work.reason;
        // That it is not kept has been said then: there is nothing wrong with such a token.
        flight.unkept = set.oddities.contains(&NoticeKind::NotCached);
        for oddity in set.oddities {
            turn.notice(oddity, Some(key), Some(id));
        }
        let kind = self.kind_of(&set.token_type);
        let rotated = self.take_refresh_token(key, exchange, set.refresh_token, set.scope.as_deref(), turn);
        let before = self.cache.find(&key).and_then(|entry| entry.held.clone()).filter(|held| held.left(now) > 0);
        let renews = before.as_ref().is_none_or(|before| {
            before.token.access_token != set.access_token || before.token.expires.boot < expires.boot
        });
        turn.notice(NoticeKind::Fetched(reason), Some(key), Some(id));
        let owner = self.cache.owner(&key);
        if self.config.store.is_some() {
            self.cache.shared_mut(&owner).into_iter().for_each(|shared| shared.accept(&set.access_token));
        }
        let held = match before.filter(|_| !renews) {
            Some(before) => Held { flight: id, ..before },
            None => {
                let shared = self.cache.shared(&owner).map_or(0, |shared| shared.generation);
                let own = self.cache.find(&key).map_or(0, |entry| entry.generation);
                let generation = own.max(shared).saturating_add(1);
                let arrived = Arrived { key, access_token: set.access_token, scope: set.scope, kind, expires, life };
                make_held(arrived, id, generation)
            }
        };
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.arrived = Some(held);
        }
        let rare = self.cache.find(&owner).and_then(|entry| entry.rare.as_ref());
        let tell = rotated.filter(|_| rare.is_some_and(|rare| rare.on_rotated));
        match tell {
            Some(refresh_token) => {
                let subject = self.flights.get(&id).and_then(|flight| flight.work.subject.clone());
                let until = now.boot.saturating_add(self.config.request_timeout);
                let op = self.operations.add(id, until, What::Rotated);
                let what = Provision::Rotated { subject, refresh_token };
                turn.step.operations.push(Operation::Provide { op, flight: id, what, until });
            }
            None => self.save_arrival(id, turn),
        }
    }

    /// Keeps the refresh token of an answer: a new one replaces the old one, and none leaves it (RFC 6749 section 6, STD-33).
    /// Gives the new one if there is one.
    fn take_refresh_token(
        &mut self,
        key: Key,
        exchange: &Exchange,
        new: Option<Secret>,
        scope: Option<&str>,
        turn: &mut Turn<'_>,
    ) -> Option<Secret> {
        if exchange.is_repeatable() {
            return None;
        }
        let owner = self.cache.owner(&key);
        let rare = self.cache.find_mut(&owner)?.rare();
        // It will be in a record that comes after the one we know.
        let next = rare.shared.generation.saturating_add(1);
        let old = rare.refresh.take();
        let current =
            old.as_ref().is_none_or(|old| exchange.is_consent() || Some(&old.token) == exchange.refresh_token());
        if !current {
            // A late answer to an older token: what we have is newer.
            rare.refresh = old;
            return None;
        }
        let scope = scope.map(String::from).or_else(|| old.as_ref().and_then(|old| old.scope.clone()));
        let replaces = old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.token != *new);
        let told = new.clone().filter(|new| old.as_ref().is_none_or(|old| old.token != *new));
        if let (Some(new), true) = (&told, self.config.store.is_some()) {
            let spent = &mut rare.shared.spent;
            old.iter().for_each(|old| remember(spent, fingerprint(&old.token)));
            let new = fingerprint(new);
            spent.retain(|name| *name != new);
        }
        let generation = old.as_ref().filter(|_| told.is_none()).map_or(next, |old| old.generation);
        let token = new.or_else(|| old.map(|old| old.token))?;
        rare.refresh = Some(Refresh { token, state: RefreshState::Unspent, scope, generation });
        if replaces && !exchange.is_consent() {
            turn.notice(NoticeKind::Rotated, Some(key), None);
        }
        told
    }

    /// While it was being saved, a token was read out of the store and found to be no good, or followed by a newer one.
    fn is_overtaken(&self, held: &Held, owner: Key) -> bool {
        let Some(shared) = self.cache.shared(&owner).filter(|_| self.config.store.is_some()) else { return false };
        let is_rejected =
            !shared.rejected.is_empty() && shared.rejected.contains(&fingerprint(&held.token.access_token));
        let newest = self.cache.find(&held.token.key).map_or(0, |entry| entry.generation);
        is_rejected || newest > held.token.generation
    }

    fn hand_out(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (unkept, Some(held)) = (flight.unkept, flight.arrived.take()) else { return };
        let (key, owner) = (held.token.key, flight.owner);
        if self.is_overtaken(&held, owner) {
            self.settle(id, None, turn);
            return;
        }
        let same = self
            .cache
            .find(&key)
            .and_then(|entry| entry.held.as_ref())
            .is_some_and(|before| before.token.generation == held.token.generation);
        if same {
            // The server gave what we had: asking again at once would give it again (google-auth-library-java#749).
            turn.notice(NoticeKind::RenewedNothing, Some(key), Some(id));
            let error = Error::new(
                ErrorCode::ServerUnavailable,
                "the token endpoint gave the same token with no later expiry: it renews later than it was asked to",
            );
            self.trouble(key, Verdict::Transient, error.clone(), None, turn);
            self.settle_with_error(id, error, false, turn);
            return;
        }
        let keep = held.left(turn.now) > 0;
        if !keep && !unkept {
            turn.notice(NoticeKind::DeadOnArrival, Some(key), Some(id));
        }
        self.land(id, held, keep, turn);
    }

    /// Ends a flight with a token.
    fn land(&mut self, id: FlightId, held: Held, keep: bool, turn: &mut Turn<'_>) {
        let key = held.token.key;
        let before = self.cache.find(&key).and_then(|entry| entry.held.as_ref());
        let is_lent = |before: &&Held| {
            let ends_later = before.token.expires.boot > held.token.expires.boot;
            ends_later || before.left(turn.now) > self.margins(before.life).soft
        };
        if let Some(before) = before.filter(|_| keep).filter(is_lent) {
            // Somebody insisted on another: from here on everybody has that one.
            let generation = Some(before.token.generation);
            turn.step.withdraw.push(Withdraw { key: Some(key), generation });
        }
        if let Some(entry) = self.cache.find_mut(&key) {
            entry.generation = held.token.generation;
            if let Some(rare) = &mut entry.rare {
                rare.trouble = None;
                rare.rejections.dropped = false;
            }
        }
        let outcome = if keep { None } else { Some(Outcome::Token(held.clone())) };
        self.cache.hold(key, keep.then_some(held));
        self.settle(id, outcome, turn);
    }

    /// The server said no.
    fn refused(&mut self, id: FlightId, exchange: &Exchange, status: u16, mut refusal: Refusal, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let key = flight.key;
        if flight.work.poll.is_some() {
            self.poll_refused(id, refusal, turn);
            return;
        }
        self.doubt_metadata(id, status);
        let salvaged = refusal.refresh_token.take();
        if salvaged.is_some() {
            self.take_refresh_token(key, exchange, salvaged, None, turn);
        } else if exchange.refresh_token().is_some() {
            let may_be_spent = match refusal.verdict {
                Verdict::Transient => !matches!(status, 429 | 503),
                // Something answered that it was well, and what came of it cannot be read.
                Verdict::Unexpected => (200..300).contains(&status),
                Verdict::Terminal => false,
            };
            self.mark_refresh_token(key, exchange, may_be_spent);
        }
        if refusal.error.code() == ErrorCode::InvalidGrant && exchange.refresh_token().is_some() {
            let state = self.refresh(&key).map(|refresh| refresh.state);
            if self.is_store_up(turn.now.boot) && !flight_reread(self.flights.get_mut(&id)) {
                self.load(id, What::Reread, turn);
                return;
            }
            if matches!(state, Some(RefreshState::Resent | RefreshState::Ambiguous)) {
                refusal.error = reauthorization_required(true).with_status(status).with_oauth_error("invalid_grant");
                self.exhaust(key);
            }
        }
        self.fail(id, refusal, turn);
    }

    /// No answer came.
    fn lost(&mut self, id: FlightId, exchange: &Exchange, kind: FailureKind, turn: &mut Turn<'_>) {
        let Some(key) = self.flights.get(&id).map(|flight| flight.key) else { return };
        let refusal = lost(kind, "the token endpoint");
        if self.flights.get(&id).is_some_and(|flight| flight.work.poll.is_some()) {
            self.poll_refused(id, refusal, turn);
            return;
        }
        if kind == FailureKind::NotSent {
            self.doubt_metadata(id, 404);
        }
        if exchange.refresh_token().is_some() {
            self.mark_refresh_token(key, exchange, kind != FailureKind::NotSent);
        }
        self.fail(id, refusal, turn);
    }

    /// Notes what is known of a refresh token that was just sent.
    fn mark_refresh_token(&mut self, key: Key, exchange: &Exchange, may_be_spent: bool) {
        let Some(refresh) = self.refresh_mut(&key) else { return };
        if Some(&refresh.token) == exchange.refresh_token() {
            refresh.state = match (refresh.state, may_be_spent) {
                (RefreshState::Unspent, false) => RefreshState::Unspent,
                (RefreshState::Unspent, true) | (RefreshState::Ambiguous | RefreshState::Resent, false) => {
                    RefreshState::Ambiguous
                }
                (RefreshState::Ambiguous | RefreshState::Resent | RefreshState::Exhausted, _) => {
                    RefreshState::Exhausted
                }
            };
        }
    }

    fn exhaust(&mut self, key: Key) {
        if let Some(refresh) = self.refresh_mut(&key) {
            refresh.state = RefreshState::Exhausted;
        }
    }

    /// An answer to a request that was given up. Its tokens are good all the same.
    fn absorb(&mut self, key: Key, exchange: &Exchange, read: Result<TokenSet, Refusal>, turn: &mut Turn<'_>) {
        let set = match read {
            Ok(set) => set,
            Err(refusal) => {
                self.take_refresh_token(key, exchange, refusal.refresh_token, None, turn);
                self.note_late(key, turn);
                return;
            }
        };
        let entry = self.cache.find(&key);
        let flying = entry.is_some_and(|entry| entry.flight.is_some());
        // A person has agreed anew since: what comes of the older consent is not wanted.
        let sent = exchange.refresh_token();
        let outdated = self.refresh(&key).zip(sent).is_some_and(|(refresh, sent)| refresh.token != *sent);
        self.take_refresh_token(key, exchange, set.refresh_token, set.scope.as_deref(), turn);
        let expires = set.started.plus(set.lifetime);
        let life = turn.now.until(expires).min(set.lifetime);
        let shared = self.cache.shared(&self.cache.owner(&key));
        // It was put out of use after this was sent.
        let rejected = shared.is_some_and(|shared| shared.has_rejected(&set.access_token));
        let Some(entry) = self.cache.find_mut(&key) else { return };
        if flying
            || outdated
            || rejected
            || life <= 0
            || entry.held.as_ref().is_some_and(|held| held.token.expires.boot >= expires.boot)
        {
            self.note_late(key, turn);
            return;
        }
        entry.generation = entry.generation.saturating_add(1);
        if let Some(rare) = &mut entry.rare {
            rare.trouble = None;
        }
        let generation = entry.generation;
        let kind = self.kind_of(&set.token_type);
        let arrived = Arrived { key, access_token: set.access_token, scope: set.scope, kind, expires, life };
        let held = make_held(arrived, FlightId(0), generation);
        self.cache.hold(key, Some(held));
        turn.notice(NoticeKind::Fetched(Reason::Cold), Some(key), None);
        self.note_late(key, turn);
    }

    /// What a late answer brought is stored like everything else.
    fn note_late(&mut self, key: Key, turn: &mut Turn<'_>) {
        let owner = self.cache.owner(&key);
        self.note(owner, turn);
    }

    /// Ends a flight with a failure, and says how long nothing is tried.
    pub(crate) fn fail(&mut self, id: FlightId, refusal: Refusal, turn: &mut Turn<'_>) {
        if self.errands.contains_key(&id) {
            let error = match refusal.retry_after {
                Some(pause) => refusal.error.with_retry_after(pause.min(self.config.policy.retry_after_max)),
                None => refusal.error,
            };
            self.finish_errand(id, Err(error), turn);
            return;
        }
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, owner) = (flight.key, flight.owner);
        let code = flight.work.is_consent();
        if !code {
            self.trouble(key, refusal.verdict, refusal.error.clone(), refusal.retry_after, turn);
            if is_refusal(&refusal.error) {
                let trouble = self.cache.find(&key).and_then(|entry| entry.trouble()).cloned();
                self.share_refusal(owner, trouble.as_ref());
            }
        }
        self.leave(id, turn);
        if code {
            self.settle(id, Some(Outcome::Refused(refusal.error)), turn);
            return;
        }
        let last = refusal.verdict != Verdict::Transient;
        let error = match self.cache.find(&key).and_then(|entry| entry.trouble()) {
            Some(trouble) => refusal.error.with_retry_after(trouble.next.saturating_sub(turn.now.boot)),
            None => refusal.error,
        };
        self.settle_with_error(id, error, last, turn);
    }

    /// Whether a flight is for a code that a person has just agreed to.
    pub(crate) fn is_exchange(&self, id: FlightId) -> bool {
        self.flights.get(&id).is_some_and(|flight| flight.work.is_consent())
    }

    /// Ends the key's flight, if there is one, in favour of a code: what it brings would belong to an older consent. Those who
    /// wait for it ask again; a refresh token in its answer is not lost.
    pub(crate) fn give_way(&mut self, key: Key, turn: &mut Turn<'_>) {
        let line: Vec<_> = self.lines.get(&key).into_iter().flatten().copied().collect();
        for other in line.into_iter().rev() {
            if self.flights.get(&other).is_some_and(|flight| flight.key != key) {
                self.cut_short(other, |exchange| !exchange.is_consent(), None, turn);
            }
        }
        let Some(id) = self.cache.find(&key).and_then(|entry| entry.flight) else { return };
        let outcome = self.is_exchange(id).then(|| {
            Outcome::Refused(Error::new(
                ErrorCode::StateMismatch,
                "the same user signed in once more before this code was exchanged: go on with the later one",
            ))
        });
        self.cut_short(id, |exchange| !exchange.is_consent(), outcome, turn);
    }

    /// Ends the wait for a person's answer. Perhaps they agreed in this moment: what comes of it is kept.
    pub(crate) fn drop_consent(&mut self, id: FlightId, error: Error, turn: &mut Turn<'_>) {
        self.cut_short(id, |_| true, Some(Outcome::Refused(error)), turn);
    }

    /// Ends the key's flight whose refresh token the server has just forgotten: what it may still bring is not wanted (P-25).
    pub(crate) fn drop_revoked(&mut self, key: Key, turn: &mut Turn<'_>) {
        let own = self.cache.find(&key).and_then(|entry| entry.flight);
        let line: Vec<_> = self.lines.get(&key).into_iter().flatten().copied().chain(own).collect();
        // From behind, so that none of them has its turn.
        for id in line.into_iter().rev() {
            self.cut_short(id, |_| false, Some(Outcome::Refused(reauthorization_required(false))), turn);
        }
    }

    /// Ends a flight before its time. An answer to a request that is out and that `keep` holds for is taken in when it comes.
    fn cut_short(
        &mut self,
        id: FlightId,
        keep: impl Fn(&Exchange) -> bool,
        outcome: Option<Outcome>,
        turn: &mut Turn<'_>,
    ) {
        let Some((key, owner)) = self.flights.get(&id).map(|flight| (flight.key, flight.owner)) else { return };
        for op in self.operations.of(id) {
            match self.operations.take(op).map(|pending| pending.what) {
                Some(What::Send { exchange, started }) if keep(&exchange) => {
                    self.operations.remember(op, key, exchange, started);
                }
                Some(What::Lock { until }) => {
                    self.operations.put(op, id, until, What::Orphan { key: owner, until });
                }
                _ => {}
            }
        }
        self.leave(id, turn);
        self.settle(id, outcome, turn);
    }

    pub(crate) fn settle_with_error(&mut self, id: FlightId, error: Error, last: bool, turn: &mut Turn<'_>) {
        self.settle(id, Some(Outcome::Error { error, last }), turn);
    }

    fn settle(&mut self, id: FlightId, outcome: Option<Outcome>, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.remove(&id) else { return };
        if let Some(entry) = self.cache.find_mut(&flight.key) {
            if entry.flight == Some(id) {
                entry.flight = None;
            }
            match (outcome, &mut entry.rare) {
                (Some(outcome), _) => entry.rare().outcome = Some((id, outcome)),
                (None, Some(rare)) => rare.outcome = None,
                (None, None) => {}
            }
        }
        turn.step.settled.push(id);
        self.leave_line(id, flight.owner, turn);
    }
}

/// What became of a request without an answer. `server` is who was asked.
fn lost(kind: FailureKind, server: &str) -> Refusal {
    let (code, why) = match kind {
        FailureKind::Timeout => {
            (ErrorCode::Timeout, "did not answer in time: see whether it can be reached, or raise `request_timeout`")
        }
        FailureKind::NotSent => {
            (ErrorCode::TransportFailed, "could not be reached: check the address, the network, `proxy` and `ca`")
        }
        FailureKind::TooLarge => {
            (ErrorCode::AnswerTooLarge, "gave an answer longer than `answer_cap`: see whether the address is right")
        }
        FailureKind::Abandoned => (
            ErrorCode::TransportFailed,
            "was asked, and the host abandoned the request: keep the process running while it is out",
        ),
        FailureKind::HostError => {
            (ErrorCode::HostError, "was not asked, because the host's HTTP client failed: see its own error")
        }
        FailureKind::MaybeSent => (
            ErrorCode::TransportFailed,
            "was asked, and the connection broke before the answer was complete: it is tried again",
        ),
    };
    let verdict = if kind == FailureKind::TooLarge { Verdict::Unexpected } else { Verdict::Transient };
    let error = Error::new(code, alloc::format!("{server} {why}"));
    Refusal { verdict, error, retry_after: None, refresh_token: None }
}

fn flight_reread(flight: Option<&mut Flight>) -> bool {
    flight.is_none_or(|flight| mem::replace(&mut flight.reread, true))
}

/// Whether it is the refresh token that was refused, and with it all that would come of it.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::InvalidGrant | ErrorCode::ReauthorizationRequired)
}

pub(crate) fn passing(error: Error) -> Refusal {
    Refusal { verdict: Verdict::Transient, error, retry_after: None, refresh_token: None }
}

fn no_subject_token() -> Error {
    Error::new(
        ErrorCode::InvalidOption,
        "there is no token to exchange: give the subject's `subject_token`, or a function that gives it",
    )
}

fn reauthorization_required(ambiguous: bool) -> Error {
    let error = Error::new(
        ErrorCode::ReauthorizationRequired,
        "there is no usable refresh token: have the person authorize the client again, as with `authorization_url`",
    );
    if ambiguous {
        return error
            .with_ambiguity()
            .with_hint("an earlier request with this refresh token got no answer, and may have used it up");
    }
    error
}
