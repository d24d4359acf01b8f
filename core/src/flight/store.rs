//! A flight's dealings with the shared store: the lock, the intent, the save, and what to do when the store is in the way.

use core::mem;

use super::{What, passing, reauthorization_required};
use crate::cache::{Entry, Key, Refresh, RefreshState};
use crate::clock::Now;
use crate::error::{Error, ErrorCode};
use crate::event::StoreResult;
use crate::machine::{Arrived, Core, Turn, make_held};
use crate::notice::NoticeKind;
use crate::record::{Record, fingerprint};
use crate::response::{Refusal, Verdict};
use crate::secret::Secret;
use crate::step::{FlightId, OpId, Operation, StoreCommand, Withdraw};

impl Core {
    pub(super) fn store(&mut self, id: FlightId, command: StoreCommand, what: What, turn: &mut Turn<'_>) {
        let (Some(store), Some(key)) = (self.config.store, self.flights.get(&id).map(|flight| flight.key)) else {
            return;
        };
        let until = turn.now.boot.saturating_add(store.timeout);
        let op = self.operations.add(id, until, what);
        turn.step.operations.push(Operation::Store { op, flight: id, key, until, command });
    }

    pub(super) fn lock(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let owner = self.owner.get_or_insert_with(|| turn.text()).clone();
        let timeout = self.config.store.map_or(0, |store| store.timeout);
        // Longer than all that is done under the lock can take: read a secret, write, send, write.
        let ttl = self.config.request_timeout.saturating_add(timeout).saturating_mul(2);
        self.store(id, StoreCommand::Lock { owner, ttl }, What::Lock, turn);
    }

    /// Gives the lock back when nothing is saved with it. Nobody waits for the answer.
    pub(super) fn release(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let locked = self.flights.get_mut(&id).is_some_and(|flight| mem::take(&mut flight.locked));
        if let (true, Some(owner)) = (locked, self.owner.clone()) {
            self.store(id, StoreCommand::Lock { owner, ttl: 0 }, What::Release, turn);
        }
    }

    pub(crate) fn stored(&mut self, op: OpId, result: StoreResult, turn: &mut Turn<'_>) {
        if let Some(pending) = self.operations.take(op) {
            self.store_answered(pending.flight, pending.what, result, turn);
        }
    }

    pub(super) fn store_answered(&mut self, id: FlightId, what: What, result: StoreResult, turn: &mut Turn<'_>) {
        match what {
            What::Lock => self.lock_answered(id, result, turn),
            What::Intent(record) => self.intent_answered(id, record, result, turn),
            What::Reread => self.reread_answered(id, result, turn),
            What::Save(record) => self.save_answered(id, record, result, turn),
            What::SaveAgain { key, record } => self.save_again_answered(key, record, &result, turn),
            What::Release
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

    fn lock_answered(&mut self, id: FlightId, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let key = flight.key;
        match result {
            StoreResult::Locked { record } => {
                flight.locked = true;
                self.adopt_record(id, record, turn);
            }
            StoreResult::Held { retry_at, .. }
                if retry_at < flight.started.boot.saturating_add(self.config.request_timeout) =>
            {
                flight.asleep_until = Some(retry_at);
                turn.step.operations.push(Operation::Sleep { flight: id, until: retry_at });
            }
            _ => {
                turn.notice(NoticeKind::StoreDown, Some(key), Some(id));
                self.without_store(id, turn);
            }
        }
    }

    /// Client credentials can be asked for without the store; a rotation must not be started without it.
    fn without_store(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        if !self.config.grant.needs_a_person() || flight.work.is_consent() {
            self.gather(id, turn);
            return;
        }
        let error = Error::new(
            ErrorCode::StoreUnavailable,
            "the shared store did not answer, and a refresh token that may be replaced is not sent without it: see to the store",
        );
        self.fail(id, passing(error), turn);
    }

    /// Takes what another process left: its token, or the successor of our refresh token.
    fn adopt_record(&mut self, id: FlightId, text: Option<Secret>, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, insists, is_code) = (flight.key, flight.work.insists, flight.work.is_consent());
        let record = text.as_ref().and_then(Record::read);
        let Some(entry) = self.cache.find_mut(&key) else { return };
        entry.rare().stored = text;
        if let (Some(record), false) = (record, is_code) {
            entry.generation = entry.generation.max(record.generation);
            if let Some(stored) = record.refresh {
                let in_doubt = record.intent.as_deref() == Some(&fingerprint(&stored.token));
                let rare = entry.rare();
                let ours = rare.refresh.as_ref().filter(|ours| ours.token == stored.token).map(|ours| ours.state);
                let state = match ours {
                    Some(state) => state,
                    None if in_doubt => RefreshState::Ambiguous,
                    None => RefreshState::Unspent,
                };
                rare.refresh = Some(Refresh { token: stored.token, state, scope: stored.scope });
            }
            let known = entry.held.as_ref().map(|held| held.token.access_token.clone());
            let dropped = entry.rare.as_ref().and_then(|rare| rare.dropped.clone());
            let newer = record
                .token
                .filter(|stored| ![&known, &dropped].into_iter().flatten().any(|token| *token == stored.access_token));
            if let Some(stored) = newer {
                let left = stored.expires.saturating_sub(now.wall);
                let expires = Now { wall: stored.expires, boot: now.boot.saturating_add(left) };
                let life = stored.life.max(left);
                let enough = left > self.margins(life).soft || left > 0 && self.waits_for_expiry(key);
                if enough && !insists {
                    let generation = self.cache.find(&key).map_or(1, |entry| entry.generation);
                    let kind = self.kind_of(stored.token_type.as_deref().unwrap_or_default());
                    let (access_token, scope) = (stored.access_token, stored.scope);
                    let held = make_held(Arrived { key, access_token, scope, kind, expires, life }, id, generation);
                    self.release(id, turn);
                    self.land(id, held, true, turn);
                    turn.step
                        .withdraw
                        .push(Withdraw { key: Some(key), generation: Some(generation.saturating_sub(1)) });
                    return;
                }
            }
        }
        self.gather(id, turn);
    }

    fn intent_answered(&mut self, id: FlightId, record: Secret, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(key) = self.flights.get(&id).map(|flight| flight.key) else { return };
        match result {
            StoreResult::Ok => {
                if let Some(entry) = self.cache.find_mut(&key) {
                    entry.rare().stored = Some(record);
                }
                self.send(id, turn);
            }
            StoreResult::Conflict { record } => {
                turn.notice(NoticeKind::StoreConflict, Some(key), Some(id));
                let repeated = self.flights.get_mut(&id).is_none_or(|flight| {
                    flight.saves = flight.saves.saturating_add(1);
                    flight.saves > 2
                });
                if repeated {
                    self.without_store(id, turn);
                } else {
                    self.adopt_record(id, record, turn);
                }
            }
            _ => {
                turn.notice(NoticeKind::StoreDown, Some(key), Some(id));
                self.without_store(id, turn);
            }
        }
    }

    /// A refused refresh token is believed to be dead only if nobody has put a successor into the store.
    fn reread_answered(&mut self, id: FlightId, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (key, spent) = (flight.key, flight.spent.clone());
        let text = match result {
            StoreResult::Record(text) => Some(text),
            StoreResult::Locked { record } | StoreResult::Conflict { record } => record,
            _ => None,
        };
        let successor = text.as_ref().and_then(Record::read).and_then(|record| record.refresh);
        if successor.is_some_and(|successor| Some(&successor.token) != spent.as_ref()) {
            self.adopt_record(id, text, turn);
            return;
        }
        let ambiguous = self
            .cache
            .find(&key)
            .and_then(|entry| entry.refresh())
            .is_some_and(|refresh| matches!(refresh.state, RefreshState::Resent | RefreshState::Ambiguous));
        let error = if ambiguous {
            self.exhaust(key);
            reauthorization_required(true).with_oauth_error("invalid_grant")
        } else {
            Error::new(ErrorCode::InvalidGrant, "the refresh token is not accepted: authorize the client again")
                .with_oauth_error("invalid_grant")
        };
        self.fail(id, Refusal { verdict: Verdict::Terminal, error, retry_after: None, refresh_token: None }, turn);
    }

    fn save_answered(&mut self, id: FlightId, record: Secret, result: StoreResult, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let key = flight.key;
        match result {
            StoreResult::Ok => {
                flight.locked = false;
                self.cache.find_mut(&key).into_iter().for_each(|entry| entry.rare().stored = Some(record.clone()));
                self.hand_out(id, turn);
            }
            StoreResult::Unknown if flight.saves == 0 => {
                flight.saves = 1;
                self.store(id, StoreCommand::Load, What::Save(record), turn);
            }
            StoreResult::Record(there) | StoreResult::Conflict { record: Some(there) } => {
                if there == record {
                    self.save_answered(id, record, StoreResult::Ok, turn);
                } else {
                    self.resolve_conflict(id, record, there, turn);
                }
            }
            StoreResult::None | StoreResult::Conflict { record: None } if flight.saves < 3 => {
                flight.saves = flight.saves.saturating_add(1);
                self.cache.find_mut(&key).into_iter().for_each(|entry| entry.rare().stored = None);
                self.store(id, save(None, &record, self.owner.as_deref()), What::Save(record), turn);
            }
            _ => {
                // The new pair stays in memory, and the store gets another chance later.
                turn.notice(NoticeKind::PersistFailed, Some(key), Some(id));
                let next = turn.now.boot.saturating_add(self.config.policy.backoff_first_max);
                self.cache
                    .find_mut(&key)
                    .into_iter()
                    .for_each(|entry| entry.rare().unsaved = Some((record.clone(), next)));
                self.hand_out(id, turn);
            }
        }
    }

    /// Somebody else wrote. If our pair succeeds what is there, it is saved over it; for client credentials the later deadline wins.
    fn resolve_conflict(&mut self, id: FlightId, record: Secret, there: Secret, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let key = flight.key;
        let theirs = Record::read(&there);
        let ours_succeeds = match (&flight.spent, &theirs) {
            (Some(spent), Some(theirs)) => theirs.refresh.as_ref().is_some_and(|refresh| refresh.token == *spent),
            (None, Some(theirs)) => {
                let end = flight.arrived.as_ref().map_or(0, |held| held.token.expires.wall);
                theirs.token.as_ref().is_none_or(|token| token.expires < end)
            }
            (_, None) => true,
        };
        if ours_succeeds && flight.saves < 3 {
            flight.saves = flight.saves.saturating_add(1);
            let command = save(Some(&there), &record, self.owner.as_deref());
            self.cache.find_mut(&key).into_iter().for_each(|entry| entry.rare().stored = Some(there.clone()));
            self.store(id, command, What::Save(record), turn);
            return;
        }
        turn.notice(NoticeKind::StoreConflict, Some(key), Some(id));
        self.release(id, turn);
        self.cache.find_mut(&key).into_iter().for_each(|entry| entry.rare().stored = Some(there.clone()));
        self.hand_out(id, turn);
    }

    /// Tries once more to save what the store did not take, on the back of a later question.
    pub(crate) fn save_what_is_unsaved(&mut self, key: Key, turn: &mut Turn<'_>) {
        let Some(store) = self.config.store else { return };
        let Some(rare) = self.cache.find_mut(&key).and_then(|entry| entry.rare.as_mut()) else { return };
        let Some((record, _)) = rare.unsaved.take_if(|(_, next)| *next <= turn.now.boot) else { return };
        let command = save(rare.stored.as_ref(), &record, None);
        let flight = self.next_flight();
        let until = turn.now.boot.saturating_add(store.timeout);
        let op = self.operations.add(flight, until, What::SaveAgain { key, record });
        turn.step.operations.push(Operation::Store { op, flight, key, until, command });
    }

    fn save_again_answered(&mut self, key: Key, record: Secret, result: &StoreResult, turn: &mut Turn<'_>) {
        let next = turn.now.boot.saturating_add(self.config.policy.backoff_max);
        let Some(rare) = self.cache.find_mut(&key).map(Entry::rare) else { return };
        match result {
            StoreResult::Ok => rare.stored = Some(record),
            StoreResult::Conflict { record: there } => {
                rare.stored.clone_from(there);
                turn.notice(NoticeKind::StoreConflict, Some(key), None);
            }
            _ => rare.unsaved = Some((record, next)),
        }
    }
}

pub(super) fn save(expect: Option<&Secret>, record: &Secret, unlock: Option<&str>) -> StoreCommand {
    /// Longer than any refresh token is likely to be of use: thirty days.
    const TTL: i64 = 2_592_000_000;
    StoreCommand::Save { expect: expect.cloned(), record: record.clone(), ttl: TTL, unlock: unlock.map(Into::into) }
}
