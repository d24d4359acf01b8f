//! The loop's heart: who gets a token, who waits, who fails.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use crate::authorization::UsedStates;
use crate::cache::{Cache, Entry, Held, Key, KeyPrefix, Outcome, Trouble};
use crate::clock::{Entropy, Now};
use crate::config::{Config, Credential, Grant, options};
use crate::discovery::Discovered;
use crate::entropy::{Stream, draw, part};
use crate::errand::{Errand, Results};
use crate::error::{Error, ErrorCode};
use crate::event::{Ask, Event, Renewed, Want};
use crate::flight::{Flight, Operations, StoreHealth, Work, is_refusal};
use crate::jwks::ServerKeys;
use crate::notice::{Notice, NoticeKind, Reason};
use crate::proof::Servers;
use crate::response::Verdict;
use crate::secret::Secret;
use crate::step::{Answer, Call, FlightId, OpId, Step, Withdraw};
use crate::token::{Lease, Token, TokenKind};

/// The step machine: one client's tokens, their flights and what is to be done about them. It does no I/O.
///
/// - [`Core::handle`] takes one event, with what both clocks showed and fresh entropy, and gives one [`Step`].
/// - Everything that follows from the event is in that step; there is nothing to poll.
/// - Every operation of a step is answered by one event. If it is not, its `until` ends it.
///
/// One invariant holds after every event: each cache key has at most one flight in the air.
pub struct Core {
    pub(crate) config: Arc<Config>,
    /// What tokens of the usual type have in common, and what those of other types have.
    kind: Arc<TokenKind>,
    other_kinds: Vec<Arc<TokenKind>>,
    prefix: KeyPrefix,
    pub(crate) cache: Cache,
    pub(crate) flights: BTreeMap<FlightId, Flight>,
    pub(crate) operations: Operations,
    /// What is under way for one asker alone, and what came of it.
    pub(crate) errands: BTreeMap<FlightId, Errand>,
    pub(crate) results: Results,
    pub(crate) discovered: Discovered,
    pub(crate) servers: Servers,
    pub(crate) server_keys: ServerKeys,
    pub(crate) used_states: UsedStates,
    last: Option<Now>,
    /// The part of the jitter that is ours, drawn once.
    jitter: Option<u32>,
    /// Until when the endpoint wants to see none of this client's requests, on the boot clock.
    pub(crate) barred_until: i64,
    /// Who we are to a shared store's locks.
    pub(crate) owner: Option<String>,
    pub(crate) store_health: StoreHealth,
    /// Who spends a consent's refresh token, and who is next, by the key that has it.
    pub(crate) lines: BTreeMap<Key, VecDeque<FlightId>>,
    next_flight: u64,
    closed: bool,
}

/// One event's worth of work.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) entropy: &'a Entropy,
    pub(crate) step: Step,
    stream: Stream,
}

impl Turn<'_> {
    pub(crate) fn notice(&mut self, kind: NoticeKind, key: Option<Key>, flight: Option<FlightId>) {
        self.step.notices.push(Notice { kind, key, flight });
    }

    /// Bytes that nobody can guess, others each time.
    pub(crate) fn block(&mut self) -> [u8; 32] {
        self.stream.block()
    }

    /// A text that nobody can guess, another one each time.
    pub(crate) fn text(&mut self) -> String {
        self.stream.text()
    }
}

impl Core {
    /// A machine with nothing in it yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            kind: Arc::new(TokenKind::new(&config)),
            other_kinds: Vec::new(),
            prefix: KeyPrefix::new(&config),
            cache: Cache::new(config.policy.max_keys),
            flights: BTreeMap::new(),
            operations: Operations::default(),
            errands: BTreeMap::new(),
            results: Results::default(),
            discovered: Discovered::new(&config),
            servers: Servers::default(),
            server_keys: ServerKeys::default(),
            used_states: UsedStates::default(),
            last: None,
            jitter: None,
            barred_until: i64::MIN,
            owner: None,
            store_health: StoreHealth::default(),
            lines: BTreeMap::new(),
            next_flight: 1,
            closed: false,
            config,
        }
    }

    /// What it was made from.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The cache key of a wish.
    #[must_use]
    pub fn key(&self, want: &Want) -> Key {
        self.prefix.key(want, &self.config.scope, &self.config.resource)
    }

    /// A caller wants a token: [`Core::handle`] with [`Event::Ask`].
    pub fn ask(&mut self, ask: Ask, now: Now, entropy: &Entropy) -> Step {
        self.handle(Event::Ask(ask), now, entropy)
    }

    /// Takes one event, as JSON.
    ///
    /// An event that cannot be read is answered by `fail` with `invalid_event`, and changes nothing.
    pub fn handle_json(&mut self, event: &str, now: Now, entropy: &Entropy) -> Step {
        match serde_json::from_str(event) {
            Ok(event) => self.handle(event, now, entropy),
            Err(error) => {
                // The error's own text may repeat what it stumbled over.
                let (line, column) = (error.line(), error.column());
                let message =
                    alloc::format!("the event cannot be read at line {line}, column {column}: see the list of events");
                Step { answer: Some(Answer::Fail(Error::new(ErrorCode::InvalidEvent, message))), ..Step::default() }
            }
        }
    }

    /// Takes one event, and says all that follows from it.
    ///
    /// The same events with the same clocks and entropy give the same steps, byte for byte.
    pub fn handle(&mut self, event: Event, now: Now, entropy: &Entropy) -> Step {
        let mut turn = Turn { now, entropy, step: Step::default(), stream: Stream::new(entropy) };
        let turn = &mut turn;
        self.jitter.get_or_insert_with(|| draw(entropy));
        self.watch_clocks(turn);
        // A child lets its parent's operations be, those that are overdue too: to end one may give the parent's lock back.
        if !matches!(event, Event::Forked {}) {
            self.end_overdue(operation_of(&event), turn);
        }
        let answer = match event {
            Event::Ask(ask) => Some(self.answer_ask(ask, turn)),
            Event::Start(start) => Some(self.start(start, turn)),
            Event::Attach(attach) => Some(self.attach(&attach, turn)),
            Event::Answered(answered) => Some(self.answered(&answered, turn)),
            Event::Received(received) => {
                self.received(&received, turn);
                None
            }
            Event::Failed { op, kind } => {
                self.failed(op, kind, turn);
                None
            }
            Event::Provided { op, value } => {
                self.provided(op, value, turn);
                None
            }
            Event::Stored { op, result } => {
                self.stored(op, result, turn);
                None
            }
            Event::Tick { flight } => {
                self.tick(flight, turn);
                None
            }
            Event::Invalidate { want } => {
                self.invalidate(&want, turn);
                None
            }
            Event::Changed { key } => {
                self.changed(key, turn);
                None
            }
            Event::Forked {} => {
                self.forked(turn);
                None
            }
            Event::Close {} => {
                self.close(turn);
                None
            }
            Event::Signed { op, signature } => {
                self.signed(op, &signature, turn);
                None
            }
            Event::Verified { op, valid } => {
                self.verified(op, valid, turn);
                None
            }
            Event::Cancel { flight } => {
                self.cancel(flight, turn);
                None
            }
            Event::Renewed(renewed) => self.renewed(renewed, turn).err().map(Answer::Fail),
        };
        let mut step = mem::take(&mut turn.step);
        step.answer = answer;
        step
    }

    /// Reports when one clock moved and the other did not. Nothing else follows: a token has run out when either says so.
    fn watch_clocks(&mut self, turn: &mut Turn<'_>) {
        if let Some(last) = self.last.replace(turn.now) {
            let wall = turn.now.wall.saturating_sub(last.wall);
            let boot = turn.now.boot.saturating_sub(last.boot);
            let apart = wall.saturating_sub(boot);
            if apart.saturating_abs() > self.config.policy.clock_jump {
                turn.notice(NoticeKind::ClockJumped(apart), None, None);
            }
        }
    }

    fn answer_ask(&mut self, mut ask: Ask, turn: &mut Turn<'_>) -> Answer {
        self.check_want(&mut ask.want).and_then(|()| self.decide(&ask, turn)).unwrap_or_else(Answer::Fail)
    }

    /// What a caller asks for in place of the client's own is checked like that.
    fn check_want(&self, want: &mut Want) -> Result<(), Error> {
        if let Some(scope) = &want.scope {
            want.scope = Some(self.config.check_scope(scope)?);
        }
        if let Some(resource) = &want.resource {
            self.config.check_resource(resource)?;
        }
        Ok(())
    }

    /// DESIGN's table of thresholds, from the outcome that was waited for down to a cold start.
    fn decide(&mut self, ask: &Ask, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        let now = turn.now;
        let key = self.key(&ask.want);
        let deadline = ask.deadline.unwrap_or_else(|| now.boot.saturating_add(self.config.policy.caller_timeout));
        if self.closed && ask.after.is_none() {
            return Err(closed());
        }
        self.wake_overslept(key, &ask.want, turn);
        if let Some(answer) = self.after(ask, key, deadline, turn) {
            return answer;
        }
        if self.closed {
            return Err(closed());
        }
        let shared_store = self.config.store.is_some();
        let Some(entry) = self.cache.entry(key, shared_store) else {
            return Err(Error::new(
                ErrorCode::CacheFull,
                "the cache is full of tokens that cannot be fetched again: raise `max_keys` in `policy`, or close clients",
            ));
        };
        if let (Grant::ApiToken, Credential::Secret(secret), None) =
            (self.config.grant, &self.config.credential, &entry.held)
        {
            return Ok(self.use_api_token(ask, key, secret.clone(), now));
        }
        self.join_owner(key, &ask.want)?;
        if self.is_look_due(key, now) {
            let flight = self.take_off(key, Work::look(ask), None, turn);
            return Ok(Answer::Wait { flight, until: deadline });
        }
        self.save_what_is_unsaved(key, turn);

        let Some(entry) = self.cache.find(&key) else { return Err(closed()) };
        let held = entry.held.clone();
        let left = held.as_ref().map_or(0, |held| held.left(now));
        let wanted = ask.min_ttl.max(1);
        let good = held.clone().filter(|_| left >= wanted);
        let margins = held.as_ref().map(|held| self.margins(held.life));

        let looking = entry.flight.filter(|id| self.flights.get(id).is_some_and(Flight::looks));
        if let Some(flight) = looking {
            return self.join(key, flight, good, ask, deadline, turn);
        }
        if let (Some(held), Some(margins), false) = (&held, margins, ask.force) {
            // More than the server gives at its best: another request would not help before the soft point.
            if left > margins.soft && left < wanted && held.life < wanted {
                return Err(min_ttl_unavailable(held.life));
            }
            if let (Some(good), true) = (&good, left > margins.soft) {
                return Ok(self.lend(good, margins.soft, ask, false));
            }
        }
        if let Some(flight) = entry.flight {
            return self.join(key, flight, good, ask, deadline, turn);
        }

        let reason = match (&held, &good) {
            _ if entry.rejections().dropped => Reason::Rejected,
            (Some(_), None) if left > 0 => Reason::MinTtl,
            (_, Some(_)) if ask.force => Reason::Forced,
            (_, Some(_)) if margins.is_some_and(|margins| left > margins.hard) => Reason::Soft,
            (_, Some(_)) => Reason::Hard,
            (_, None) => Reason::Cold,
        };
        let blocked = self.blocked_until(key, left, now).filter(|until| *until > now.boot);
        if let Some(good) = good {
            let renewable = self.can_renew(key).is_ok();
            if blocked.is_some() || !renewable {
                if self.is_failing(key) {
                    turn.notice(NoticeKind::ServedWhileFailing, Some(key), None);
                }
                let until = blocked.unwrap_or(i64::MAX).min(good.token.expires.boot);
                return Ok(self.lend_until(&good, until, ask, false));
            }
            let flight = self.take_off(key, Work::renew(ask, reason), None, turn);
            return Ok(match reason {
                Reason::Forced => Answer::Wait { flight, until: deadline },
                Reason::Soft if self.config.aside => {
                    self.lend(&good, margins.map_or(0, |margins| margins.hard), ask, false)
                }
                _ => Answer::Wait { flight, until: deadline.min(self.patience(flight)) },
            });
        }

        self.can_renew(key)?;
        if deadline <= now.boot {
            return Err(too_late());
        }
        let sleep = match blocked {
            None => None,
            Some(next) => Some(self.sleep_or_fail(key, next, deadline, now)?),
        };
        let flight = self.take_off(key, Work::renew(ask, reason), sleep, turn);
        Ok(Answer::Wait { flight, until: deadline })
    }

    /// A person's tokens for other resources or scopes come of the one refresh token that the person's own key has
    /// (RFC 8707 section 2.2).
    fn join_owner(&mut self, key: Key, want: &Want) -> Result<(), Error> {
        let owner = self.owner_key(want);
        if owner == key || self.cache.owner(&key) == owner && self.cache.find(&owner).is_some() {
            return Ok(());
        }
        let rare = self.entry_for(owner)?;
        if !rare.views.contains(&key) {
            rare.views.push(key);
        }
        // A refused refresh token is refused for this one, too.
        let refusal = rare.trouble.clone().filter(|trouble| is_refusal(&trouble.error));
        let view = self.entry_for(key)?;
        view.owner = Some(owner);
        view.trouble = view.trouble.take().or(refusal);
        Ok(())
    }

    /// The key that has the refresh token for a wish, and the record in the shared store.
    pub(crate) fn owner_key(&self, want: &Want) -> Key {
        match self.config.grant.needs_a_person() {
            true => self.key(&Want { subject: want.subject.clone(), ..Want::default() }),
            false => self.key(want),
        }
    }

    /// Whether the store is to be read before the token in hand is used again.
    fn is_look_due(&self, key: Key, now: Now) -> bool {
        let Some(entry) = self.cache.find(&key).filter(|_| self.is_store_up(now.boot)) else { return false };
        let shared = self.cache.shared(&self.cache.owner(&key));
        let is_news = shared.is_some_and(|shared| shared.reload);
        let due = is_news
            || shared.is_none_or(|shared| now.boot >= shared.checked.saturating_add(self.config.policy.store_check));
        let holds = entry.held.as_ref().is_some_and(|held| held.left(now) > 0);
        // Somebody may have got what we were refused: a person signed in elsewhere.
        let is_refused = is_news && entry.trouble().is_some_and(|trouble| trouble.next > now.boot);
        entry.flight.is_none() && (due && holds || is_refused)
    }

    /// The caller has just waited for a flight: that one's outcome decides, margins ignored.
    fn after(&mut self, ask: &Ask, key: Key, deadline: i64, turn: &mut Turn<'_>) -> Option<Result<Answer, Error>> {
        let after = ask.after?;
        let now = turn.now;
        let entry = self.cache.find(&key)?;
        let wanted = ask.min_ttl.max(1);
        let good = entry.held.clone().filter(|held| held.left(now) >= wanted);
        if entry.flight == Some(after) {
            return Some(match good.filter(|_| !self.is_exchange(after)) {
                // Waited long enough for the renewal of a token that is still good.
                Some(good) => {
                    if now.boot >= deadline.min(self.patience(after)) || ask.force && now.boot >= deadline {
                        Ok(self.lend(&good, 0, ask, false))
                    } else {
                        Ok(Answer::Wait { flight: after, until: deadline.min(self.patience(after)) })
                    }
                }
                None if now.boot >= deadline => Err(too_late()),
                None => Ok(Answer::Wait { flight: after, until: deadline }),
            });
        }
        let outcome = entry.rare.as_ref().and_then(|rare| rare.outcome.clone()).filter(|(flight, _)| *flight >= after);
        let (flight, outcome) = match (outcome, &entry.held) {
            (Some(outcome), _) => outcome,
            // One that comes so late that the token has run out begins anew.
            (None, Some(held)) if held.flight >= after && held.left(now) > 0 => {
                (held.flight, Outcome::Token(held.clone()))
            }
            (None, _) => return None,
        };
        match outcome {
            // A newer one has come since.
            Outcome::Token(old)
                if entry.generation > old.token.generation && (good.is_some() || old.left(now) <= 0) =>
            {
                None
            }
            // So does one that comes late enough for another flight, whose token has not the life any more that is asked for.
            Outcome::Token(held) if flight > after && held.life >= wanted && held.left(now) < wanted => None,
            Outcome::Token(held)
                if entry.rejections().dropped && held.token.generation <= entry.rejections().generation =>
            {
                None
            }
            Outcome::Token(held) if held.life < wanted && ask.min_ttl > 0 => Some(Err(min_ttl_unavailable(held.life))),
            Outcome::Token(held) => {
                let soft = self.margins(held.life).soft;
                Some(Ok(self.lend(&held, soft, ask, true)))
            }
            Outcome::Refused(error) => Some(Err(error)),
            Outcome::Error { error, last } => {
                if let Some(good) = good {
                    turn.notice(NoticeKind::ServedWhileFailing, Some(key), None);
                    let next = self.blocked_until(key, good.left(now), now).unwrap_or(i64::MAX);
                    return Some(Ok(self.lend_until(&good, next.min(good.token.expires.boot), ask, false)));
                }
                if last || self.closed {
                    return Some(Err(error));
                }
                if let Some(flight) = entry.flight {
                    return Some(self.join(key, flight, None, ask, deadline, turn));
                }
                let failing = entry.trouble().is_some();
                if !failing {
                    return None;
                }
                if let Err(error) = self.can_renew(key) {
                    return Some(Err(error));
                }
                let left = entry_left(self.cache.find(&key), now);
                let next = self.blocked_until(key, left, now).unwrap_or(now.boot);
                Some(self.sleep_or_fail(key, next, deadline, now).map(|until| {
                    let flight = self.take_off(key, Work::renew(ask, Reason::Cold), Some(until), turn);
                    Answer::Wait { flight, until: deadline }
                }))
            }
        }
    }

    /// There is a flight in the air: wait for it, or go on with a token that is good enough.
    fn join(
        &mut self,
        key: Key,
        flight: FlightId,
        good: Option<Held>,
        ask: &Ask,
        deadline: i64,
        turn: &mut Turn<'_>,
    ) -> Result<Answer, Error> {
        let now = turn.now;
        let mut until = deadline;
        if let (Some(good), false) = (good, ask.force) {
            let margins = self.margins(good.life);
            // Whether it is still the one to use is being looked up.
            let looks = self.flights.get(&flight).is_some_and(Flight::looks);
            if good.left(now) > margins.hard && !looks {
                return Ok(self.lend(&good, margins.hard, ask, false));
            }
            until = until.min(self.patience(flight));
            // What becomes of a code is nobody's business but that of the one who brought it.
            if until <= now.boot || self.is_exchange(flight) {
                return Ok(self.lend(&good, 0, ask, false));
            }
        }
        let asleep = self.flights.get(&flight).filter(|flight| !flight.naps).and_then(|flight| flight.asleep_until);
        let asleep = asleep.filter(|until| *until > deadline);
        if let Some(next) = asleep.filter(|_| !self.is_exchange(flight)) {
            return Err(self.trouble_error(key, next, now));
        }
        if until <= now.boot {
            return Err(too_late());
        }
        turn.notice(NoticeKind::Joined, Some(key), Some(flight));
        Ok(Answer::Wait { flight, until })
    }

    /// Until when a caller with a good token waits for a renewal.
    fn patience(&self, flight: FlightId) -> i64 {
        self.flights.get(&flight).map_or(i64::MIN, |flight| {
            flight.started.boot.saturating_add((flight.left / 2).min(self.config.policy.max_wait))
        })
    }

    /// The moment for a flight that begins with a sleep, or the error for those who cannot wait that long.
    fn sleep_or_fail(&self, key: Key, next: i64, deadline: i64, now: Now) -> Result<i64, Error> {
        let (count, passing) = self
            .cache
            .find(&key)
            .and_then(Entry::trouble)
            .map_or((0, true), |trouble| (trouble.count, trouble.verdict == Verdict::Transient));
        if passing && count < self.config.policy.attempts && next < deadline {
            return Ok(next);
        }
        Err(self.trouble_error(key, next, now))
    }

    /// The last failure, for one who fails because of it.
    pub(crate) fn trouble_error(&self, key: Key, next: i64, now: Now) -> Error {
        let error = match self.cache.find(&key).and_then(Entry::trouble) {
            Some(trouble) => trouble.error.clone(),
            None => Error::new(
                ErrorCode::ServerUnavailable,
                "the token endpoint asked for a pause: try again after `retry_after`",
            ),
        };
        error.with_retry_after(next.saturating_sub(now.boot))
    }

    /// Until when no request goes out for this key, if there is such a moment.
    pub(crate) fn blocked_until(&self, key: Key, left: i64, now: Now) -> Option<i64> {
        let entry = self.cache.find(&key)?;
        let trouble = entry.trouble().map(|trouble| trouble.next);
        let rejected = Some(entry.rejections().pause).filter(|pause| *pause > 0);
        let barred = Some(self.barred_until).filter(|until| *until > now.boot);
        let ambiguous = match (&entry.held, self.waits_for_expiry(key)) {
            (Some(held), true) if left > 0 => Some(held.token.expires.boot),
            _ => None,
        };
        [trouble, rejected, barred, ambiguous].into_iter().flatten().max()
    }

    /// A token that needs no request: the API token that the user configured.
    fn use_api_token(&mut self, ask: &Ask, key: Key, secret: Secret, now: Now) -> Answer {
        let life = self.config.policy.max_lifetime;
        let kind = self.kind.clone();
        let arrived = Arrived { key, access_token: secret, scope: None, kind, expires: now.plus(life), life };
        let held = make_held(arrived, FlightId(0), 1);
        self.cache.hold(key, Some(held.clone()));
        self.lend(&held, 0, ask, false)
    }

    /// What tokens of a type have in common.
    pub(crate) fn kind_of(&mut self, token_type: &str) -> Arc<TokenKind> {
        let Some(kind) = self.kind.of_type(token_type) else { return self.kind.clone() };
        if let Some(known) = self.other_kinds.iter().find(|known| ***known == kind) {
            return known.clone();
        }
        let kind = Arc::new(kind);
        self.other_kinds.push(kind.clone());
        kind
    }

    /// Hands a token out, to be asked about again when it has no more life left than `margin`.
    fn lend(&self, held: &Held, margin: i64, ask: &Ask, minted: bool) -> Answer {
        let end = held.token.expires.boot;
        self.lend_until(held, end.saturating_sub(margin), ask, minted)
    }

    /// Hands a token out, to be asked about again at a point of the boot clock.
    fn lend_until(&self, held: &Held, recheck: i64, ask: &Ask, minted: bool) -> Answer {
        let token = held.token.clone();
        let early = token.expires.boot.saturating_sub(recheck);
        // A token that is not kept is good for those who waited, and for nobody else; so is one that came after `close`.
        let kept = !self.closed
            && self
                .cache
                .find(&token.key)
                .and_then(|entry| entry.held.as_ref())
                .is_some_and(|kept| kept.token.generation == token.generation);
        let recheck =
            if kept { Now { wall: token.expires.wall.saturating_sub(early), boot: recheck } } else { Now::default() };
        let retried = ask.call.is_some();
        let recheck = match self.next_look(&token.key) {
            Some(look) if kept && look < recheck.boot => {
                let sooner = recheck.boot.saturating_sub(look);
                Now { wall: recheck.wall.saturating_sub(sooner), boot: look }
            }
            _ => recheck,
        };
        let call = Call::new(token.generation, minted, retried);
        let lease_call = Call::new(token.generation, false, false);
        Answer::Use(Lease { token, recheck, call, lease_call })
    }

    fn is_failing(&self, key: Key) -> bool {
        self.cache.find(&key).is_some_and(|entry| entry.trouble().is_some()) || self.refresh(&key).is_some()
    }

    /// When the store is to be read again, or to be given what it did not take, on the boot clock.
    fn next_look(&self, key: &Key) -> Option<i64> {
        self.config.store.as_ref()?;
        let shared = self.cache.shared(&self.cache.owner(key));
        let look = shared.map_or(0, |shared| shared.checked).saturating_add(self.config.policy.store_check);
        let look = shared.and_then(|shared| shared.unsaved).map_or(look, |next| next.min(look));
        Some(look.max(self.store_health.until))
    }

    /// Soft and hard margin for a token that had this much life when it arrived.
    pub(crate) fn margins(&self, life: i64) -> Margins {
        let policy = &self.config.policy;
        if self.config.grant == Grant::ApiToken {
            return Margins { soft: 0, hard: 0 };
        }
        let soft = match self.config.soft_margin {
            Some(asked) => asked.min(life / policy.profile_margin_divisor),
            None => policy.soft_margin.min(life / policy.soft_divisor),
        };
        let span = policy.jitter.min(life / policy.jitter_divisor);
        let jitter = part(span, self.jitter.unwrap_or_default());
        let hard = policy.hard_margin.min(life / policy.hard_divisor);
        Margins { soft: soft.saturating_add(jitter).max(hard), hard }
    }

    /// Takes note of a failure, and says how long nothing is tried.
    pub(crate) fn trouble(
        &mut self,
        key: Key,
        verdict: Verdict,
        error: Error,
        retry_after: Option<i64>,
        turn: &mut Turn<'_>,
    ) {
        let policy = &self.config.policy;
        let now = turn.now;
        let Some(entry) = self.cache.find_mut(&key) else { return };
        let left = entry.held.as_ref().map_or(0, |held| held.left(now));
        let passing = verdict == Verdict::Transient;
        let (before, others) = Trouble::counts(entry.trouble(), passing);
        let count = before.saturating_add(1);
        let (least, most, cap) = match passing {
            true => (policy.backoff_first_min, policy.backoff_first_max, policy.backoff_max),
            false => (policy.terminal_first_min, policy.terminal_first_max, policy.terminal_max),
        };
        let mut pause = pause(least, most, cap, count, draw(turn.entropy));
        if passing && left > 0 {
            pause = pause.min((left / 2).max(policy.backoff_first_min));
        }
        if let Some(asked) = retry_after.filter(|_| passing) {
            pause = asked.clamp(0, policy.retry_after_max);
            self.barred_until = self.barred_until.max(now.boot.saturating_add(pause));
        }
        let next = now.boot.saturating_add(pause);
        entry.rare().trouble = Some(Trouble { verdict, count, others, next, error, told: None });
        turn.notice(NoticeKind::BackingOff(next), Some(key), None);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn next_flight(&mut self) -> FlightId {
        let id = FlightId(self.next_flight);
        self.next_flight = self.next_flight.saturating_add(1);
        id
    }

    fn invalidate(&mut self, want: &Want, turn: &mut Turn<'_>) {
        let key = self.key(want);
        self.discard(key);
        self.discard_stored(self.cache.owner(&key), &[key]);
        turn.step.withdraw.push(Withdraw { key: Some(key), generation: None });
        let owner = self.owner_key(want);
        self.note(owner, turn);
    }

    fn changed(&mut self, key: Option<Key>, turn: &mut Turn<'_>) {
        match key {
            Some(key) => self.cache.shared_mut(&key).into_iter().for_each(|shared| shared.reload = true),
            None => self.cache.all_mut().for_each(|(_, entry)| entry.rare().shared.reload = true),
        }
        let views = key.and_then(|key| self.cache.find(&key)?.rare.as_ref()).map(|rare| rare.views.clone());
        for key in [key].into_iter().chain(views.into_iter().flatten().map(Some)) {
            turn.step.withdraw.push(Withdraw { key, generation: None });
        }
        // Perhaps the lock that they wait for is free by now.
        let waiting: Vec<_> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.naps && key.is_none_or(|key| key == flight.owner))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.wake(id, turn);
        }
    }

    /// A flow is given up. A renewal is nobody's to give up: others wait for it.
    fn cancel(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let error = Error::new(ErrorCode::Canceled, "the flow was given up by the program");
        if self.errands.contains_key(&id) {
            self.finish_errand(id, Err(error), turn);
        } else if self.is_exchange(id) {
            self.drop_consent(id, error, turn);
        }
    }

    /// A certificate or key was replaced. Tokens that are bound to what was there before are no good any more (STD-111, STD-130).
    fn renewed(&mut self, renewed: Renewed, turn: &mut Turn<'_>) -> Result<(), Error> {
        let key = renewed.signing_key.map(|text| options::read_later("signing_key", &text, options::signing_key));
        let dpop = renewed.dpop.map(|text| options::read_later("dpop", &text, options::dpop)).transpose()?;
        let is_bound = renewed.tls_id.is_some() || dpop.is_some();
        let mut config = Config::clone(self.discovered.configured());
        if let Some(tls_id) = renewed.tls_id {
            config.tls_id = Some(tls_id);
        }
        if let Some(key) = key.transpose()? {
            config.signing_key = Some(key);
        }
        if let Some(dpop) = dpop {
            config.dpop = Some(dpop);
        }
        if is_bound {
            self.prefix = KeyPrefix::new(&config);
            turn.step.withdraw.push(Withdraw { key: None, generation: None });
        }
        self.reconfigure(config);
        Ok(())
    }

    /// The child of a fork: the parent's flights and its rotating refresh tokens are not ours.
    fn forked(&mut self, turn: &mut Turn<'_>) {
        self.flights.clear();
        self.lines.clear();
        self.operations.forget();
        self.errands.clear();
        self.results = Results::default();
        self.discovered.forget_requests();
        self.server_keys.forget_requests();
        self.jitter = Some(draw(turn.entropy));
        self.owner = None;
        let shared_store = self.config.store.is_some();
        for (_, entry) in self.cache.all_mut() {
            entry.flight = None;
            if let (Some(rare), false) = (&mut entry.rare, shared_store) {
                rare.refresh = None;
            }
        }
        turn.step.withdraw.push(Withdraw { key: None, generation: None });
    }

    fn close(&mut self, turn: &mut Turn<'_>) {
        self.closed = true;
        let asleep: VecDeque<FlightId> =
            self.flights.iter().filter(|(_, flight)| flight.asleep_until.is_some()).map(|(id, _)| *id).collect();
        for flight in asleep {
            self.settle_with_error(flight, closed(), true, turn);
        }
        turn.step.withdraw.push(Withdraw { key: None, generation: None });
    }
}

/// A token that arrived, and all that is known of it.
pub(crate) struct Arrived {
    pub(crate) key: Key,
    pub(crate) access_token: Secret,
    pub(crate) scope: Option<String>,
    pub(crate) kind: Arc<TokenKind>,
    pub(crate) expires: Now,
    pub(crate) life: i64,
}

/// A token as hosts see it.
pub(crate) fn make_held(arrived: Arrived, flight: FlightId, generation: u64) -> Held {
    let Arrived { key, access_token, scope, kind, expires, life } = arrived;
    let token = Token { key, generation, access_token, scope: scope.map(Arc::from), expires, kind };
    // A clock that jumped during the request may show an end long past, and be set right later.
    Held { token: Arc::new(token), life: life.max(0), flight }
}

/// The two thresholds of a token's life, in milliseconds before its end.
#[derive(Clone, Copy)]
pub(crate) struct Margins {
    /// From here on it is renewed aside: S + J.
    pub(crate) soft: i64,
    /// From here on callers wait for the renewal: H.
    pub(crate) hard: i64,
}

/// The nth pause: `(least + (most - least) * u) * 2^(n - 1)`, capped.
pub(crate) fn pause(least: i64, most: i64, cap: i64, count: u32, draw: u32) -> i64 {
    let first = least.saturating_add(part(most.saturating_sub(least), draw));
    let factor = 1i64.checked_shl(count.saturating_sub(1)).filter(|factor| *factor > 0).unwrap_or(i64::MAX);
    first.saturating_mul(factor).min(cap)
}

fn operation_of(event: &Event) -> Option<OpId> {
    match event {
        Event::Received(received) => Some(received.op),
        Event::Failed { op, .. }
        | Event::Provided { op, .. }
        | Event::Signed { op, .. }
        | Event::Verified { op, .. }
        | Event::Stored { op, .. } => Some(*op),
        _ => None,
    }
}

fn entry_left(entry: Option<&Entry>, now: Now) -> i64 {
    entry.and_then(|entry| entry.held.as_ref()).map_or(0, |held| held.left(now))
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the client is closed: make a new one")
}

fn too_late() -> Error {
    Error::new(
        ErrorCode::Timeout,
        "no token came before the caller's deadline: allow more time, or see why the token endpoint is slow",
    )
}

fn min_ttl_unavailable(life: i64) -> Error {
    Error::new(
        ErrorCode::MinTtlUnavailable,
        "the server's tokens live shorter than `min_ttl`: ask for no more than `lifetime`",
    )
    .with_lifetime(life)
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("profile", &self.config.profile)
            .field("flights", &self.flights.len())
            .finish_non_exhaustive()
    }
}
