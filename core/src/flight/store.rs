//! A flight's dealings with the shared store: the lock, the intent, the save, and what to do when the store is in the way.
//!
//! The lock only makes it rare that two processes renew the same token at once. What makes it safe is that everything is written
//! by compare-and-swap, that a refresh token is not sent before the store knows of it, and that its successor is stored before
//! anybody is given what came with it.

use alloc::format;
use alloc::string::String;
use core::mem;

use super::shared::{Outlook, Sight};
use super::{What, passing, reauthorization_required};
use crate::cache::{Key, Outcome, RefreshState};
use crate::entropy::{draw, part};
use crate::error::{Error, ErrorCode};
use crate::event::StoreResult;
use crate::machine::{Core, Turn, pause};
use crate::notice::{Distrust, NoticeKind};
use crate::record::{Intent, Record, fingerprint};
use crate::response::{Refusal, Verdict};
use crate::secret::Secret;
use crate::step::{FlightId, OpId, Operation, StoreCommand};

/// A record that is on its way into the store.
pub(crate) struct Draft {
    text: Secret,
    generation: u64,
}

/// Something to be written on nobody's behalf.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    key: Key,
    /// The flight that its operations belong to: it may have ended, or be there for this alone.
    flight: FlightId,
    /// Our lock ends with it.
    unlock: bool,
    tries: u32,
}

/// How the store fares: after a failure it is left alone for a while.
#[derive(Default)]
pub(crate) struct StoreHealth {
    failures: u32,
    /// Until when nothing is sent to it, on the boot clock.
    pub(crate) until: i64,
}

/// What is sent to the store.
impl Core {
    /// Whether the store is to be asked: there is one, and it is not being left alone.
    pub(crate) fn is_store_up(&self, boot: i64) -> bool {
        self.config.store.is_some() && self.store_health.until <= boot
    }

    fn store_timeout(&self) -> i64 {
        self.config.store.as_ref().map_or(0, |store| store.timeout)
    }

    fn store(&mut self, id: FlightId, key: Key, command: StoreCommand, what: What, turn: &mut Turn<'_>) {
        let until = turn.now.boot.saturating_add(self.store_timeout());
        let op = self.operations.add(id, until, what);
        turn.step.operations.push(Operation::Store { op, flight: id, key, until, command });
    }

    pub(super) fn load(&mut self, id: FlightId, what: What, turn: &mut Turn<'_>) {
        if let Some(key) = self.flights.get(&id).map(|flight| flight.owner) {
            self.store(id, key, StoreCommand::Load, what, turn);
        }
    }

    /// Writes a record over the one that was read last.
    fn save(
        &mut self,
        id: FlightId,
        key: Key,
        record: &Record,
        unlock: bool,
        what: impl FnOnce(Draft) -> What,
        turn: &mut Turn<'_>,
    ) {
        let config = self.config.clone();
        let keys = config.store.as_ref().map(|store| &*store.keys).unwrap_or_default();
        let text = record.write(key, keys, &turn.block());
        // Longer than any refresh token is likely to be of use. What a machine can get anew is kept for a week beyond its life:
        // generations go on over a quiet weekend, and nobody takes the next token for an older one.
        let ttl = match self.config.grant.needs_a_person() {
            true => YEAR,
            false => {
                let ends = record.tokens.values().filter_map(|kept| Some(kept.token.as_ref()?.expires));
                ends.max().map_or(0, |end| end.saturating_sub(turn.now.wall)).clamp(0, YEAR).saturating_add(WEEK)
            }
        };
        let expect = self.cache.shared(&key).and_then(|shared| shared.stored.clone());
        let unlock = self.owner.as_ref().filter(|_| unlock).map(|owner| lock_name(owner, id));
        let command = StoreCommand::Save { expect, record: text.clone(), ttl, unlock };
        self.store(id, key, command, what(Draft { text, generation: record.generation }), turn);
    }

    /// The beginning of a flight that may find in the store what it is for.
    pub(super) fn consult(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        if !self.is_store_up(turn.now.boot) {
            self.without_store(id, turn);
        } else if self.flights.get(&id).is_some_and(|flight| flight.work.looks) {
            self.load(id, What::Look, turn);
        } else {
            self.lock(id, turn);
        }
    }

    fn lock(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(key) = self.flights.get(&id).map(|flight| flight.owner) else { return };
        let owner = lock_name(self.owner.get_or_insert_with(|| turn.text()), id);
        let ttl = self.lease();
        let until = turn.now.boot.saturating_add(ttl);
        self.store(id, key, StoreCommand::Lock { owner, ttl }, What::Lock { until }, turn);
    }

    /// For how long the lock is taken: one request, and what is read and written around it.
    fn lease(&self) -> i64 {
        self.config.request_timeout.saturating_add(self.store_timeout()).saturating_mul(2)
    }

    /// All is gathered for the request. If the lock would not outlast it, it is extended first.
    pub(super) fn secure(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let needed = self.config.request_timeout.saturating_add(self.store_timeout().saturating_mul(2));
        let until = turn.now.boot.saturating_add(needed);
        if let Some(flight) = self.flights.get_mut(&id) {
            if flight.locked_until.is_some_and(|end| end < until) && flight.extensions < TRIES {
                flight.extensions = flight.extensions.saturating_add(1);
                self.lock(id, turn);
                return;
            }
        }
        self.write_intent(id, turn);
    }

    /// A refresh token that may be replaced is not sent before the store knows that it is about to be.
    fn write_intent(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, owner, is_consent) = (flight.key, flight.owner, flight.work.is_consent());
        let refresh = self.refresh(&key).map(|refresh| (fingerprint(&refresh.token), refresh.state));
        let (true, false, Some((token, state)), Some(us)) =
            (flight.locked_until.is_some(), is_consent, refresh, self.owner.clone())
        else {
            self.send(id, turn);
            return;
        };
        let sent = if state == RefreshState::Unspent { 1 } else { 2 };
        let intent = Some(Intent { token, owner: us, sent });
        let Outlook { mut record, changed } = self.outlook(owner, None, false, true, turn.now);
        if !changed && record.intent == intent {
            self.send(id, turn);
            return;
        }
        record.intent = intent;
        self.save(id, owner, &record, false, What::Intent, turn);
    }

    /// A token has arrived: whatever came with it is stored before anybody is given the token.
    pub(super) fn save_arrival(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (owner, is_consent) = (flight.owner, flight.work.is_consent());
        let Some(arrived) = flight.arrived.clone() else { return };
        if self.config.store.is_none() {
            self.hand_out(id, turn);
        } else if !self.config.grant.needs_a_person() && (flight.without_store || !self.is_store_up(turn.now.boot)) {
            self.save_later(owner, turn);
            self.hand_out(id, turn);
        } else {
            let unlock = flight.locked_until.is_some();
            let Outlook { record, .. } = self.outlook(owner, Some(&arrived), is_consent, true, turn.now);
            self.save(id, owner, &record, unlock, What::Save, turn);
        }
    }

    /// Gives the lock back, and writes what became of the attempt if others should know. Nobody waits for the answer.
    pub(super) fn leave(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let key = flight.owner;
        if mem::take(&mut flight.locked_until).is_some() {
            self.write_note(Note { key, flight: id, unlock: true, tries: 0 }, turn);
        }
    }

    /// Gives the lock back; nothing is written. Nobody waits for the answer.
    fn release(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let key = flight.owner;
        if mem::take(&mut flight.locked_until).is_some() {
            self.unlock(id, key, turn);
        }
    }

    fn unlock(&mut self, id: FlightId, key: Key, turn: &mut Turn<'_>) {
        if let Some(owner) = self.owner.as_ref().map(|owner| lock_name(owner, id)) {
            let until = turn.now.boot.saturating_add(self.lease());
            self.store(id, key, StoreCommand::Lock { owner, ttl: 0 }, What::Release { key, until }, turn);
        }
    }

    /// Gives a lock back though what was to be written was not. A person's is kept to its end: whoever had it next would send a
    /// refresh token that we have replaced.
    fn unlock_unwritten(&mut self, id: FlightId, key: Key, turn: &mut Turn<'_>) {
        if !self.config.grant.needs_a_person() {
            self.unlock(id, key, turn);
        }
    }

    /// Writes what is known of a key, on nobody's behalf.
    pub(crate) fn note(&mut self, key: Key, turn: &mut Turn<'_>) {
        if self.config.store.is_some() {
            let flight = self.next_flight();
            self.write_note(Note { key, flight, unlock: false, tries: 0 }, turn);
        }
    }

    fn write_note(&mut self, note: Note, turn: &mut Turn<'_>) {
        let Note { key, flight, unlock, .. } = note;
        let Outlook { record, changed } = self.outlook(key, None, false, unlock, turn.now);
        if !changed {
            self.cache.shared_mut(&key).into_iter().for_each(|shared| shared.unsaved = None);
            if unlock {
                self.unlock(flight, key, turn);
            }
        } else if self.is_store_up(turn.now.boot) {
            self.save(flight, key, &record, unlock, |draft| What::Note(note, draft), turn);
        } else {
            self.save_later(key, turn);
            if unlock {
                self.unlock_unwritten(flight, key, turn);
            }
        }
    }

    /// What the store did not take stays in memory, and the store gets another chance later.
    fn save_later(&mut self, key: Key, turn: &mut Turn<'_>) {
        let next = turn.now.boot.saturating_add(self.config.policy.backoff_first_max);
        let next = next.max(self.store_health.until);
        self.cache.shared_mut(&key).into_iter().for_each(|shared| shared.unsaved = Some(next));
    }

    /// Tries once more to save what the store did not take, on the back of a later question.
    pub(crate) fn save_what_is_unsaved(&mut self, key: Key, turn: &mut Turn<'_>) {
        let owner = self.cache.owner(&key);
        let due = self.cache.shared_mut(&owner).is_some_and(|shared| {
            let due = shared.unsaved.is_some_and(|next| next <= turn.now.boot);
            if due {
                shared.unsaved = None;
            }
            due
        });
        let flying = self.cache.find(&owner).is_some_and(|entry| entry.flight.is_some());
        if due && !flying {
            self.note(owner, turn);
        }
    }
}

/// What the store says.
impl Core {
    pub(crate) fn stored(&mut self, op: OpId, result: StoreResult, turn: &mut Turn<'_>) {
        if let Some(pending) = self.operations.take(op) {
            self.store_answered(op, pending.flight, pending.what, result, turn);
        }
    }

    pub(super) fn store_answered(
        &mut self,
        op: OpId,
        id: FlightId,
        what: What,
        result: StoreResult,
        turn: &mut Turn<'_>,
    ) {
        if !matches!(result, StoreResult::Down | StoreResult::Unknown) {
            self.store_health = StoreHealth::default();
            for (flight, key) in self.operations.take_unreleased() {
                self.unlock(flight, key, turn);
            }
        }
        match what {
            What::Look => self.look_answered(id, result, turn),
            What::Lock { until } => {
                let owner = self.flights.get(&id).map(|flight| flight.owner);
                let is_open = matches!(result, StoreResult::Unknown);
                self.lock_answered(id, until, result, turn);
                if let (Some(key), true) = (owner, is_open) {
                    self.give_back(op, id, key, until, turn);
                }
            }
            What::Intent(draft) => self.intent_answered(id, draft, result, turn),
            What::Reread => self.reread_answered(id, result, turn),
            What::Save(draft) => self.save_answered(id, draft, result, turn),
            What::Note(note, draft) => self.note_answered(note, draft, result, turn),
            What::Orphan { key, until } => match result {
                StoreResult::Locked { .. } => self.unlock(id, key, turn),
                StoreResult::Unknown => self.give_back(op, id, key, until, turn),
                _ => {}
            },
            What::Release { key, until } => {
                if matches!(result, StoreResult::Down | StoreResult::Unknown) && until > turn.now.boot {
                    self.operations.put(op, id, until, What::Unreleased { key });
                }
            }
            What::Unreleased { .. }
            | What::Send { .. }
            | What::Ask(_)
            | What::Metadata(_)
            | What::Given(_)
            | What::Signature(..)
            | What::Keys
            | What::Verification
            | What::Rotated => {}
        }
    }

    /// A store that gave no answer in time may give us the lock all the same: the fleet must not wait for its end. What is sent now
    /// comes after it, as a rule; should the store's answer come after all, the lock is given back once more.
    fn give_back(&mut self, op: OpId, id: FlightId, key: Key, until: i64, turn: &mut Turn<'_>) {
        if until > turn.now.boot {
            self.operations.put(op, id, until, What::Orphan { key, until });
            self.unlock(id, key, turn);
        }
    }

    /// The store failed: it is left alone for a while, so that nobody waits for it in vain.
    fn let_store_rest(&mut self, turn: &Turn<'_>) {
        let health = &mut self.store_health;
        health.failures = health.failures.saturating_add(1);
        let rest = pause(HEALING, HEALING, LONGEST_HEALING, health.failures, draw(turn.entropy));
        health.until = turn.now.boot.saturating_add(rest);
    }

    fn store_failed(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        self.let_store_rest(turn);
        let key = self.flights.get(&id).map(|flight| flight.key);
        turn.notice(NoticeKind::StoreDown, key, Some(id));
    }

    fn look_answered(&mut self, id: FlightId, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, owner) = (flight.key, flight.owner);
        let text = match result {
            StoreResult::Record(text) => Some(text),
            StoreResult::None => None,
            _ => {
                self.store_failed(id, turn);
                self.settle(id, None, turn);
                return;
            }
        };
        if let Err(distrust) = self.merge(owner, text, Sight::Read, turn) {
            turn.notice(NoticeKind::RecordRefused(distrust), Some(key), Some(id));
        }
        let blocked = self.blocked_until(key, 0, turn.now).filter(|until| *until > turn.now.boot);
        if self.left(&key, turn) > 0 {
            self.settle(id, None, turn);
        } else if let Some(next) = blocked {
            let error = self.trouble_error(key, next, turn.now);
            self.settle_with_error(id, error, self.is_refused(key), turn);
        } else if let Some(flight) = self.flights.get_mut(&id) {
            flight.work.looks = false;
            self.consult(id, turn);
        }
    }

    fn lock_answered(&mut self, id: FlightId, until: i64, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let owner = flight.owner;
        match result {
            StoreResult::Locked { record } => {
                flight.locked_until = Some(until);
                match self.merge(owner, record, Sight::Locked, turn) {
                    Ok(()) => self.go_on_from_record(id, None, turn),
                    Err(distrust) => self.distrusted(id, distrust, turn),
                }
            }
            StoreResult::Held { retry_at, record } => {
                flight.locked_until = None;
                match self.merge(owner, record, Sight::Held, turn) {
                    Ok(()) => self.go_on_from_record(id, Some(retry_at), turn),
                    Err(distrust) => self.distrusted(id, distrust, turn),
                }
            }
            _ => {
                self.store_failed(id, turn);
                self.without_store(id, turn);
            }
        }
    }

    /// What others left is known. Either it is enough, or it says to wait, or we go on to ask ourselves.
    fn go_on_from_record(&mut self, id: FlightId, held: Option<i64>, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, started, is_consent, insists) =
            (flight.key, flight.started.boot, flight.work.is_consent(), flight.work.insists);
        if !is_consent {
            let left = self.left(&key, turn);
            let life = self.cache.find(&key).and_then(|entry| entry.held.as_ref()).map_or(0, |held| held.life);
            let is_new = self.cache.find(&key).is_some_and(|entry| entry.generation > flight.generation);
            let enough = left > self.margins(life).soft || left > 0 && self.waits_for_expiry(key);
            if is_new && enough && !insists {
                self.leave(id, turn);
                self.settle(id, None, turn);
                return;
            }
            // While somebody else is at it, what becomes of the refresh token is about to be known.
            let left = if held.is_some() { 0 } else { left };
            let blocked = self.blocked_until(key, left, now).filter(|until| *until > now.boot);
            if let Some(next) = blocked {
                let error = self.trouble_error(key, next, now);
                let last = self.is_refused(key);
                self.leave(id, turn);
                self.settle_with_error(id, error, last, turn);
                return;
            }
        }
        if let Err(error) = self.can_renew(key).and_then(|()| self.can_spend(&key)) {
            if !is_consent {
                let refusal = Refusal { verdict: Verdict::Terminal, error, retry_after: None, refresh_token: None };
                self.fail(id, refusal, turn);
                return;
            }
        }
        match held {
            None => self.gather(id, turn),
            Some(_) if now.boot >= started.saturating_add(self.lease().saturating_mul(2)) => {
                self.without_store(id, turn);
            }
            Some(retry_at) => {
                let Some(flight) = self.flights.get_mut(&id) else { return };
                flight.waits = flight.waits.saturating_add(1);
                let nap = pause(NAP, NAP_MOST, LONGEST_NAP, flight.waits, draw(turn.entropy));
                let until = retry_at.min(now.boot.saturating_add(nap)).max(now.boot.saturating_add(1));
                flight.asleep_until = Some(until);
                flight.naps = true;
                turn.step.operations.push(Operation::Sleep { flight: id, until });
            }
        }
    }

    /// Whether the last attempt failed in a way that waiting does not mend.
    fn is_refused(&self, key: Key) -> bool {
        let trouble = self.cache.find(&key).and_then(|entry| entry.trouble());
        trouble.is_some_and(|trouble| trouble.verdict != Verdict::Transient)
    }

    /// Whether there is a refresh token to send where one is needed, now that the store has been read.
    fn can_spend(&self, key: &Key) -> Result<(), Error> {
        match self.refresh(key).map(|refresh| refresh.state) {
            None if self.config.grant.needs_a_person() => Err(reauthorization_required(false)),
            Some(RefreshState::Exhausted) => Err(reauthorization_required(true)),
            _ => Ok(()),
        }
    }

    /// The record is not believed. What a machine can get anew it gets without the store; a person's refresh token may have been
    /// replaced in it.
    fn distrusted(&mut self, id: FlightId, distrust: Distrust, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (key, owner) = (flight.key, flight.owner);
        turn.notice(NoticeKind::RecordRefused(distrust), Some(key), Some(id));
        let needs_record = self.config.grant.needs_a_person() && !flight.work.is_consent();
        if !needs_record && distrust == Distrust::Damaged && flight.locked_until.is_some() {
            // Nobody can read it: nothing is lost if it is written over.
            self.gather(id, turn);
            return;
        }
        if mem::take(&mut flight.locked_until).is_some() {
            self.unlock(id, owner, turn);
        }
        if needs_record {
            let refusal = Refusal {
                verdict: Verdict::Terminal,
                error: record_refused(distrust),
                retry_after: None,
                refresh_token: None,
            };
            self.fail(id, refusal, turn);
        } else if let Some(flight) = self.flights.get_mut(&id) {
            flight.without_store = true;
            self.gather(id, turn);
        }
    }

    /// Client credentials can be asked for without the store; a rotation must not be started without it.
    fn without_store(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let timeout = self.store_timeout();
        self.release(id, turn);
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, is_consent) = (flight.key, flight.work.is_consent());
        if self.config.grant.needs_a_person() && !is_consent {
            if let Some(error) = self.standing_refusal(key, turn.now) {
                // That the store is down as well makes the pause no shorter.
                self.settle_with_error(id, error, true, turn);
                return;
            }
            let error = Error::new(
                ErrorCode::StoreUnavailable,
                "the shared store did not answer, and a refresh token that may be replaced is not sent without it: see to the store",
            );
            self.fail(id, passing(error), turn);
            return;
        }
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.without_store = true;
        // A whole fleet is in this position: it does not ask all at once.
        let nap = if is_consent { 0 } else { part(timeout, draw(turn.entropy)) };
        if nap == 0 {
            self.gather(id, turn);
            return;
        }
        let until = turn.now.boot.saturating_add(nap);
        flight.asleep_until = Some(until);
        flight.naps = true;
        turn.step.operations.push(Operation::Sleep { flight: id, until });
    }

    fn intent_answered(&mut self, id: FlightId, draft: Draft, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (key, owner) = (flight.key, flight.owner);
        match result {
            StoreResult::Ok => {
                let is_late = flight.locked_until.is_none_or(|until| until <= turn.now.boot);
                self.was_stored(owner, draft);
                if is_late {
                    // We were stopped past the end of the lock: perhaps somebody else has it by now.
                    self.lock(id, turn);
                } else {
                    self.send(id, turn);
                }
            }
            StoreResult::Conflict { record } => {
                turn.notice(NoticeKind::StoreConflict, Some(key), Some(id));
                flight.saves = flight.saves.saturating_add(1);
                let again = flight.saves < TRIES;
                match self.merge(owner, record, Sight::Read, turn) {
                    Ok(()) if again => self.go_on_from_record(id, None, turn),
                    Ok(()) => self.without_store(id, turn),
                    Err(distrust) => self.distrusted(id, distrust, turn),
                }
            }
            // Whether it was written does not matter: it is read again before anything is sent.
            _ => {
                self.store_failed(id, turn);
                self.without_store(id, turn);
            }
        }
    }

    /// A refused refresh token is believed to be dead only if nobody has put a successor into the store.
    fn reread_answered(&mut self, id: FlightId, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, owner, spent) = (flight.key, flight.owner, flight.spent.clone());
        let ambiguous = self
            .refresh(&key)
            .is_some_and(|refresh| matches!(refresh.state, RefreshState::Resent | RefreshState::Ambiguous));
        let text = match result {
            StoreResult::Record(text) => Some(text),
            StoreResult::Locked { record } | StoreResult::Conflict { record } => record,
            _ => None,
        };
        if text.is_some() {
            if let Err(distrust) = self.merge(owner, text, Sight::Read, turn) {
                turn.notice(NoticeKind::RecordRefused(distrust), Some(key), Some(id));
            }
        }
        if self.refresh(&key).is_some_and(|refresh| Some(&refresh.token) != spent.as_ref()) {
            self.go_on_from_record(id, None, turn);
            return;
        }
        let error = if ambiguous {
            self.exhaust(key);
            reauthorization_required(true).with_oauth_error("invalid_grant")
        } else {
            Error::new(ErrorCode::InvalidGrant, "the refresh token is not accepted: authorize the client again")
                .with_oauth_error("invalid_grant")
        };
        self.fail(id, Refusal { verdict: Verdict::Terminal, error, retry_after: None, refresh_token: None }, turn);
    }

    fn save_answered(&mut self, id: FlightId, draft: Draft, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (key, owner) = (flight.key, flight.owner);
        match result {
            StoreResult::Ok => {
                flight.locked_until = None;
                self.was_stored(owner, draft);
                self.hand_out(id, turn);
            }
            StoreResult::Unknown if flight.saves == 0 => {
                flight.saves = 1;
                self.load(id, What::Save(draft), turn);
            }
            StoreResult::Record(there) | StoreResult::Conflict { record: Some(there) } => {
                if there == draft.text {
                    self.save_answered(id, draft, StoreResult::Ok, turn);
                } else {
                    self.resolve_conflict(id, there, turn);
                }
            }
            StoreResult::None | StoreResult::Conflict { record: None } if flight.saves < TRIES => {
                flight.saves = flight.saves.saturating_add(1);
                self.cache.shared_mut(&owner).into_iter().for_each(|shared| shared.stored = None);
                self.save_arrival(id, turn);
            }
            _ => {
                if mem::take(&mut flight.locked_until).is_some() {
                    self.unlock_unwritten(id, owner, turn);
                }
                self.let_store_rest(turn);
                turn.notice(NoticeKind::PersistFailed, Some(key), Some(id));
                self.save_later(owner, turn);
                self.hand_out(id, turn);
            }
        }
    }

    fn was_stored(&mut self, key: Key, draft: Draft) {
        if let Some(shared) = self.cache.shared_mut(&key) {
            shared.generation = shared.generation.max(draft.generation);
            shared.stored = Some(draft.text);
            shared.unsaved = None;
            shared.untold.clear();
        }
        if let Some(refresh) = self.refresh_mut(&key).filter(|refresh| refresh.generation == 0) {
            refresh.generation = draft.generation;
        }
    }

    /// Somebody else wrote. If our pair succeeds what is there, it is saved over it; for client credentials the later deadline wins.
    fn resolve_conflict(&mut self, id: FlightId, there: Secret, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, owner, saves, is_consent) = (flight.key, flight.owner, flight.saves, flight.work.is_consent());
        let (spent, ends) = (flight.spent.clone(), flight.arrived.as_ref().map_or(0, |held| held.token.expires.wall));
        let config = self.config.clone();
        let keys = config.store.as_ref().map(|store| &*store.keys).unwrap_or_default();
        let theirs = match Record::read(&there, owner, keys) {
            Ok(theirs) => Some(theirs),
            Err(Distrust::Damaged) => None,
            Err(distrust) => {
                turn.notice(NoticeKind::RecordRefused(distrust), Some(key), Some(id));
                turn.notice(NoticeKind::PersistFailed, Some(key), Some(id));
                self.release(id, turn);
                self.hand_out(id, turn);
                return;
            }
        };
        if let (Some(spent), Some(theirs), false) = (&spent, &theirs, is_consent) {
            if theirs.rejected.contains(&fingerprint(spent)) {
                // The person signed out while this was in the air: what it brought is not wanted (P-25).
                self.release(id, turn);
                self.forget_refresh_token(owner, turn);
                self.cache.shared_mut(&owner).into_iter().for_each(|shared| shared.stored = Some(there.clone()));
                self.settle(id, Some(Outcome::Refused(reauthorization_required(false))), turn);
                return;
            }
        }
        let ours = self.refresh(&key).map(|refresh| refresh.token.clone());
        let ours_succeeds = is_consent
            || match (&spent, &theirs) {
                (Some(spent), Some(theirs)) => theirs
                    .refresh
                    .as_ref()
                    .is_none_or(|refresh| refresh.token == *spent || Some(&refresh.token) == ours.as_ref()),
                (None, Some(theirs)) => theirs.token(&key).is_none_or(|token| self.our_time(token.expires) < ends),
                (_, None) => true,
            };
        if let Some(shared) = self.cache.shared_mut(&owner) {
            shared.generation = shared.generation.max(theirs.as_ref().map_or(0, |theirs| theirs.generation));
            shared.stored = Some(there.clone());
        }
        if ours_succeeds && saves < TRIES {
            if let Some(flight) = self.flights.get_mut(&id) {
                flight.saves = saves.saturating_add(1);
            }
            self.save_arrival(id, turn);
            return;
        }
        self.release(id, turn);
        turn.notice(NoticeKind::StoreConflict, Some(key), Some(id));
        let insists = self.flights.get(&id).is_some_and(|flight| flight.work.insists);
        if !is_consent && (self.config.grant.needs_a_person() || !insists) {
            // What others did since is newer than what we have: above all a person's refresh token.
            let generation = |core: &Self| core.cache.find(&key).map_or(0, |entry| entry.generation);
            let before = generation(self);
            if self.merge(owner, Some(there), Sight::Read, turn).is_ok() && generation(self) > before {
                self.settle(id, None, turn);
                return;
            }
        }
        self.hand_out(id, turn);
    }

    fn note_answered(&mut self, note: Note, draft: Draft, result: StoreResult, turn: &mut Turn<'_>) {
        let Note { key, flight, unlock, tries } = note;
        match result {
            StoreResult::Ok => self.was_stored(key, draft),
            StoreResult::Conflict { record: Some(there) } if there == draft.text => {
                self.was_stored(key, draft);
                if unlock {
                    // Perhaps it was another note of ours that said the same.
                    self.unlock(flight, key, turn);
                }
            }
            StoreResult::Conflict { record } => {
                let read = self.merge(key, record, Sight::Read, turn);
                if read.is_err() || tries >= TRIES {
                    if let Err(distrust) = read {
                        turn.notice(NoticeKind::RecordRefused(distrust), Some(key), None);
                    } else {
                        self.save_later(key, turn);
                    }
                    if unlock {
                        self.unlock(flight, key, turn);
                    }
                } else {
                    self.write_note(Note { tries: tries.saturating_add(1), ..note }, turn);
                    return;
                }
            }
            _ => {
                self.let_store_rest(turn);
                turn.notice(NoticeKind::StoreDown, Some(key), None);
                self.save_later(key, turn);
                if unlock {
                    self.unlock_unwritten(flight, key, turn);
                }
            }
        }
        turn.step.settled.push(flight);
    }
}

/// Each flight has a lock of its own, so that giving back an earlier one cannot end a later one, in whatever order they arrive.
fn lock_name(owner: &str, id: FlightId) -> String {
    format!("{owner}-{id}")
}

fn record_refused(distrust: Distrust) -> Error {
    let message = match distrust {
        Distrust::LaterVersion => {
            "a later version of Remint wrote the record in the shared store: bring this program up to date"
        }
        Distrust::UnknownKeyId => {
            "the record in the shared store was encrypted with a key that is not among `store_keys`: give that key too"
        }
        Distrust::NotEncrypted => {
            "the record in the shared store is not encrypted, and `store_keys` says that records are: \
             see who writes to the store, or use another prefix or directory"
        }
        Distrust::Damaged | Distrust::AnotherKey | Distrust::NotAuthentic => {
            "the record in the shared store was damaged, forged or moved: see who writes to the store, and delete the record"
        }
    };
    Error::new(ErrorCode::RecordRefused, message)
}

/// How often something is tried again after a conflict.
const TRIES: u32 = 3;
/// The pause after the store failed, in milliseconds. It doubles with every further failure, up to the longest.
const HEALING: i64 = 1_000;
const LONGEST_HEALING: i64 = 30_000;
/// The pause before another look at a lock that somebody else has, in milliseconds. It doubles up to the longest.
const NAP: i64 = 50;
const NAP_MOST: i64 = 100;
const LONGEST_NAP: i64 = 1_000;
const DAY: i64 = 24 * 3_600_000;
const WEEK: i64 = 7 * DAY;
const YEAR: i64 = 365 * DAY;
