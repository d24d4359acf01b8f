//! What memory and the shared store know of one key, put together in either direction.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::is_refusal;
use crate::cache::{Held, Key, Refresh, RefreshState, Trouble};
use crate::clock::Now;
use crate::error::{Error, ErrorCode, Family};
use crate::machine::{Arrived, Core, Turn, make_held};
use crate::notice::{Distrust, NoticeKind};
use crate::record::{Failure, Intent, Kept, Record, StoredRefresh, StoredToken, fingerprint, remember};
use crate::response::Verdict;
use crate::secret::Secret;
use crate::step::{FlightId, Withdraw};
use crate::url::EndpointUrl;

/// With which right a record was read.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Sight {
    /// Nobody else can be at it in this moment.
    Locked,
    /// Somebody else has the lock: what is under way is about to be known.
    Held,
    /// Somebody else may have the lock.
    Read,
}

/// What the store should hold, and whether that is anything new.
pub(super) struct Outlook {
    pub(super) record: Record,
    pub(super) changed: bool,
}

impl Core {
    /// Milliseconds that the authorization server's clock is ahead of ours, as far as we know.
    fn ahead(&self) -> i64 {
        let origin = self.config.token_endpoint.as_ref().map(EndpointUrl::origin);
        self.servers.wall(origin.as_ref(), 0)
    }

    /// What our clock shows when the server's shows `wall`.
    pub(super) fn our_time(&self, wall: i64) -> i64 {
        wall.saturating_sub(self.ahead())
    }

    /// The keys whose tokens share a record.
    fn sharing(&self, owner: Key) -> Vec<Key> {
        let rare = self.cache.find(&owner).and_then(|entry| entry.rare.as_ref());
        [owner].into_iter().chain(rare.into_iter().flat_map(|rare| rare.views.iter().copied())).collect()
    }

    /// Takes in what the store holds: a newer token, the successor of our refresh token, failures to heed, tokens not to use.
    pub(super) fn merge(
        &mut self,
        owner: Key,
        text: Option<Secret>,
        sight: Sight,
        turn: &mut Turn<'_>,
    ) -> Result<(), Distrust> {
        let config = self.config.clone();
        let keys = config.store.as_ref().map(|store| &*store.keys).unwrap_or_default();
        let read = text.as_ref().map(|text| Record::read(text, owner, keys)).transpose();
        let has_refresh = self.refresh(&owner).is_some_and(|refresh| refresh.generation > 0);
        let Some(shared) = self.cache.shared_mut(&owner) else { return Ok(()) };
        shared.checked = turn.now.boot;
        shared.reload = false;
        let record = match read {
            Ok(record) => record,
            Err(distrust) => {
                // What nobody can read may be written over, and nothing else.
                shared.stored = text.filter(|_| distrust == Distrust::Damaged);
                return Err(distrust);
            }
        };
        let before = mem::replace(&mut shared.stored, text);
        let was_there = before.is_some();
        let generation = record.as_ref().map_or(0, |record| record.generation);
        let lost = match &record {
            Some(_) => generation < shared.generation,
            None => was_there && has_refresh,
        };
        shared.generation = shared.generation.max(generation);
        if lost {
            // What we hold and the store has lost is written anew.
            shared.unsaved = Some(turn.now.boot);
            turn.notice(NoticeKind::StoreRolledBack, Some(owner), None);
        }
        let Some(record) = record else { return Ok(()) };
        let Some(shared) = self.cache.shared_mut(&owner) else { return Ok(()) };
        // Theirs first: what we know and they don't yet is the newest.
        let ours = mem::replace(&mut shared.rejected, record.rejected.clone());
        ours.into_iter().for_each(|name| remember(&mut shared.rejected, name));
        let ours = mem::replace(&mut shared.spent, record.spent.clone());
        let is_predecessor = |theirs: &StoredRefresh| ours.contains(&fingerprint(&theirs.token));
        // What we know to be replaced is not newer than ours, whatever has become of the store.
        let is_behind = record.refresh.as_ref().is_some_and(is_predecessor);
        ours.into_iter().for_each(|name| remember(&mut shared.spent, name));
        self.heed_rejections(owner, &record.rejected, turn);
        if !lost {
            self.heed_absence(owner, before.as_ref(), &record, turn);
        }
        self.merge_refresh_token(owner, &record, is_behind, sight, turn);
        for key in self.sharing(owner) {
            self.merge_token(key, &record, turn);
        }
        Ok(())
    }

    /// Takes tokens out of use that are no good any more, says another process.
    fn heed_rejections(&mut self, owner: Key, rejected: &[String], turn: &mut Turn<'_>) {
        if rejected.is_empty() {
            return;
        }
        let is_rejected = |token: &Secret| rejected.contains(&fingerprint(token));
        if self.refresh(&owner).is_some_and(|refresh| is_rejected(&refresh.token)) {
            self.forget_refresh_token(owner, turn);
        }
        for key in self.sharing(owner) {
            let held = self.cache.find(&key).and_then(|entry| entry.held.as_ref());
            if held.is_some_and(|held| is_rejected(&held.token.access_token)) {
                self.cache.drop_token(key);
                turn.step.withdraw.push(Withdraw { key: Some(key), generation: None });
            }
        }
    }

    /// Takes tokens out of use that were in the record and have no successor there: a later one was put out of use, and what came
    /// before it with it.
    fn heed_absence(&mut self, owner: Key, before: Option<&Secret>, record: &Record, turn: &mut Turn<'_>) {
        let config = self.config.clone();
        let keys = config.store.as_ref().map(|store| &*store.keys).unwrap_or_default();
        let is_missing = |key: &Key| {
            let holds = self.cache.find(key).is_some_and(|entry| entry.held.is_some());
            holds && record.token(key).is_none()
        };
        let missing: Vec<Key> = self.sharing(owner).into_iter().filter(is_missing).collect();
        let before = before.filter(|_| !missing.is_empty()).and_then(|text| Record::read(text, owner, keys).ok());
        let Some(before) = before.filter(|before| before.generation < record.generation) else { return };
        for key in missing {
            let held = self.cache.find(&key).and_then(|entry| entry.held.as_ref());
            let was_in_it =
                held.zip(before.token(&key)).is_some_and(|(held, there)| held.token.access_token == there.access_token);
            if was_in_it {
                self.cache.drop_token(key);
                turn.step.withdraw.push(Withdraw { key: Some(key), generation: None });
            }
        }
    }

    /// A person's consent has come to its end: nothing that came of it is used any more (STD-82).
    pub(crate) fn forget_refresh_token(&mut self, owner: Key, turn: &mut Turn<'_>) {
        let gone = self.cache.find_mut(&owner).and_then(|entry| entry.rare.as_mut()?.refresh.take());
        if let (Some(gone), Some(shared), true) = (gone, self.cache.shared_mut(&owner), self.config.store.is_some()) {
            shared.reject(fingerprint(&gone.token));
        }
        let keys = self.sharing(owner);
        self.discard_stored(owner, &keys);
        for key in keys {
            self.discard(key);
            turn.step.withdraw.push(Withdraw { key: Some(key), generation: None });
        }
    }

    /// Takes a key's token out of use, for good: it must not come back out of the store.
    pub(crate) fn discard(&mut self, key: Key) {
        let held = self.cache.find(&key).and_then(|entry| entry.held.as_ref());
        let gone = held.filter(|_| self.config.store.is_some()).map(|held| fingerprint(&held.token.access_token));
        self.cache.drop_token(key);
        let owner = self.cache.owner(&key);
        if let (Some(gone), Some(shared)) = (gone, self.cache.shared_mut(&owner)) {
            shared.reject(gone);
        }
    }

    /// Takes the fleet's tokens for these keys out of use, too, which are not always those in hand.
    pub(crate) fn discard_stored(&mut self, owner: Key, keys: &[Key]) {
        let (Some(record), Some(shared)) = (self.known_record(owner), self.cache.shared_mut(&owner)) else { return };
        for token in keys.iter().filter_map(|key| record.token(key)) {
            let name = fingerprint(&token.access_token);
            if !shared.rejected.contains(&name) {
                shared.reject(name);
            }
        }
    }

    /// What the store held when it was read last.
    fn known_record(&self, owner: Key) -> Option<Record> {
        let keys = self.config.store.as_ref().map(|store| &*store.keys).unwrap_or_default();
        let stored = self.cache.shared(&owner)?.stored.as_ref()?;
        Record::read(stored, owner, keys).ok()
    }

    fn merge_refresh_token(&mut self, owner: Key, record: &Record, is_behind: bool, sight: Sight, turn: &mut Turn<'_>) {
        let is_spent = self.refresh(&owner).is_some_and(|ours| record.spent.contains(&fingerprint(&ours.token)));
        let Some(theirs) = &record.refresh else {
            if is_spent {
                // The host's database has not heard of the end of this session.
                self.cache.find_mut(&owner).into_iter().for_each(|entry| entry.rare().refresh = None);
            }
            return;
        };
        let shared = self.cache.shared(&owner);
        let name = fingerprint(&theirs.token);
        if shared.is_some_and(|shared| shared.rejected.contains(&name)) {
            return;
        }
        let intent = record.intent.as_ref().filter(|intent| intent.token == name);
        let told = match intent.map(|intent| intent.sent) {
            None => RefreshState::Unspent,
            // Without the lock, that may be a request in the air, and its end about to be known.
            Some(0 | 1) if sight != Sight::Locked => RefreshState::Unspent,
            Some(_) if sight == Sight::Held => RefreshState::Unspent,
            Some(0 | 1) => RefreshState::Ambiguous,
            Some(_) => RefreshState::Exhausted,
        };
        let is_saved = shared.is_some_and(|shared| shared.unsaved.is_none());
        let is_ours = intent.is_some_and(|intent| Some(&intent.owner) == self.owner.as_ref());
        let scope = theirs.scope.clone();
        let theirs = Refresh { token: theirs.token.clone(), state: told, scope, generation: theirs.generation };
        let Some(entry) = self.cache.find_mut(&owner) else { return };
        let slot = &mut entry.rare().refresh;
        match slot {
            None => *slot = Some(theirs),
            Some(ours) if ours.token == theirs.token => {
                ours.generation = ours.generation.max(theirs.generation);
                // What we could not write, the store does not know.
                ours.state = match (is_saved, is_ours) {
                    (true, _) if sight == Sight::Locked => told,
                    (true, false) if sight == Sight::Held && intent.is_some() => told,
                    (true, _) => ours.state.max(told),
                    (false, true) => ours.state,
                    (false, false) => ours.state.max(told),
                };
            }
            // Ours came of theirs: the store has yet to be told.
            Some(_) if is_behind && !is_spent => {
                if let Some(shared) = self.cache.shared_mut(&owner) {
                    shared.unsaved = Some(turn.now.boot);
                }
            }
            // It was never in the store, and the one there is at its end: a person has signed in anew meanwhile.
            Some(ours)
                if ours.generation == 0
                    && !is_spent
                    && (told == RefreshState::Exhausted || record.refusal().is_some()) => {}
            Some(ours) if ours.generation > theirs.generation && !is_spent => {
                // The store has lost ours.
                if let Some(shared) = self.cache.shared_mut(&owner) {
                    shared.unsaved = Some(turn.now.boot);
                }
            }
            Some(ours) => {
                let conflict = ours.generation == theirs.generation;
                *slot = Some(theirs);
                let is_told = turn.step.notices.iter().any(|notice| notice.kind == NoticeKind::StoreConflict);
                if conflict && !is_told {
                    turn.notice(NoticeKind::StoreConflict, Some(owner), None);
                }
                self.share_refusal(owner, None);
            }
        }
    }

    /// A refused refresh token is refused for every token that comes of it; a new one begins anew for all of them.
    pub(crate) fn share_refusal(&mut self, owner: Key, refusal: Option<&Trouble>) {
        for key in self.sharing(owner) {
            if let Some(rare) = self.cache.find_mut(&key).and_then(|entry| entry.rare.as_mut()) {
                // How often each of them failed in passing is its own business.
                let (passing, _) = Trouble::counts(rare.trouble.as_ref(), true);
                rare.trouble =
                    refusal.map(|refusal| Trouble { others: refusal.others.max(passing), ..refusal.clone() });
            }
        }
    }

    fn merge_token(&mut self, key: Key, record: &Record, turn: &mut Turn<'_>) {
        let none = Kept::default();
        let Kept { token, failure } = record.tokens.get(&key).unwrap_or(&none);
        let now = turn.now;
        let owner = self.cache.owner(&key);
        let is_rejected = |core: &Self, token: &Secret| {
            let rejected = core.cache.shared(&owner).map(|shared| &*shared.rejected).unwrap_or_default();
            !rejected.is_empty() && rejected.contains(&fingerprint(token))
        };
        let known = self.cache.find(&key).map_or(0, |entry| entry.generation);
        let held = self.cache.find(&key).and_then(|entry| entry.held.as_ref());
        // What we have had ourselves is not learned anew from others: nobody knows its end better.
        let is_newer = |token: &&StoredToken| {
            token.generation > known && held.is_none_or(|held| held.token.access_token != token.access_token)
        };
        let adopted = token.as_ref().filter(is_newer).filter(|token| !is_rejected(self, &token.access_token));
        if let Some(token) = adopted {
            let life = token.expires.saturating_sub(token.issued).max(0);
            let mut left = self.our_time(token.expires).saturating_sub(now.wall);
            let skewed = left > life.saturating_add(SKEW);
            if skewed {
                // It can't have more life than it began with: our clock is behind theirs.
                turn.notice(NoticeKind::ClockSkewed(life.saturating_sub(left)), Some(key), None);
            }
            left = left.min(life);
            if let (true, Some(rare)) = (skewed, self.cache.find_mut(&key).and_then(|entry| entry.rare.as_mut())) {
                // An API that refuses it may well be right: that is no second refusal in a row.
                rare.rejections.count = 0;
            }
            if left > 0 {
                self.adopt_token(key, token, Now { wall: now.wall, boot: now.boot }.plus(left), life, turn);
                return;
            }
        }
        let Some(failure) = failure.as_ref().or_else(|| record.refusal()) else { return };
        // What was said of another refresh token is not said of ours.
        let is_ours = self.refresh(&key).map(|ours| &ours.token) == record.refresh.as_ref().map(|theirs| &theirs.token);
        if failure.is_refusal() && !is_ours {
            return;
        }
        // A clock that is ahead must not make a pause longer than it was.
        let longest = failure.pause.clamp(0, self.config.policy.retry_after_max);
        let next = self.our_time(failure.next).saturating_sub(now.wall).clamp(0, longest);
        let next = now.boot.saturating_add(next);
        let Some(entry) = self.cache.find_mut(&key) else { return };
        let is_news = |ours: &Trouble| ours.next < next && ours.told != Some(failure.next);
        if next > now.boot && entry.trouble().is_none_or(is_news) {
            let told = Some(failure.next);
            let verdict = if failure.passing { Verdict::Transient } else { Verdict::Terminal };
            // Pauses go on growing from where ours were.
            let (ours, others) = Trouble::counts(entry.trouble(), failure.passing);
            let count = failure.count.max(ours);
            entry.rare().trouble = Some(Trouble { verdict, count, others, next, error: failure.error(), told });
        }
    }

    fn adopt_token(&mut self, key: Key, token: &StoredToken, expires: Now, life: i64, turn: &mut Turn<'_>) {
        let kind = self.kind_of(token.token_type.as_deref().unwrap_or_default());
        let Some(entry) = self.cache.find_mut(&key) else { return };
        let before = entry.generation;
        // A generation names one token in this process, whatever the store has lost.
        let generation = token.generation.max(before.saturating_add(1));
        entry.generation = generation;
        let rare = entry.rare();
        rare.trouble = None;
        rare.rejections.dropped = false;
        let (access_token, scope) = (token.access_token.clone(), token.scope.clone());
        let held = make_held(Arrived { key, access_token, scope, kind, expires, life }, FlightId(0), generation);
        self.cache.hold(key, Some(held));
        turn.notice(NoticeKind::Adopted, Some(key), None);
        turn.step.withdraw.push(Withdraw { key: Some(key), generation: Some(before) });
    }

    /// What the store should hold: what it held when we last looked, with what we know put over it. `arriving` is a token that
    /// nobody has been given yet; what a person has just agreed to takes the place of all that was.
    /// While a request with the refresh token may be out, which is unless `ended`, the intent stays.
    pub(super) fn outlook(
        &self,
        owner: Key,
        arriving: Option<&Held>,
        is_consent: bool,
        ended: bool,
        now: Now,
    ) -> Outlook {
        let (generation, rejected, untold) = match self.cache.shared(&owner) {
            Some(shared) => (shared.generation, &*shared.rejected, &*shared.untold),
            None => (0, [].as_slice(), [].as_slice()),
        };
        let before = self.known_record(owner).unwrap_or_else(|| Record::new(owner));
        let mut record = before.clone();
        if is_consent {
            record.tokens.clear();
            if let Some(theirs) = record.refresh.take() {
                remember(&mut record.spent, fingerprint(&theirs.token));
            }
            record.intent = None;
        }
        // The record may have gone on without them; others may not.
        untold.iter().for_each(|name| remember(&mut record.rejected, name.clone()));
        // A token that the server gave again: it is not for us to say that it is no good.
        let arriving_name = arriving.map(|held| fingerprint(&held.token.access_token));
        record.rejected.retain(|name| Some(name) != arriving_name.as_ref());
        if !(rejected.is_empty() && before.rejected.is_empty()) {
            record.take_out(|name| {
                (rejected.contains(name) || before.rejected.contains(name)) && Some(name) != arriving_name.as_ref()
            });
        }
        for key in self.sharing(owner) {
            self.put_token(&mut record, key, arriving, now);
        }
        self.put_refresh_token(&mut record, owner, ended);
        record.tokens.retain(|_, kept| kept.token.is_some() || kept.failure.is_some());
        let changed = record != before;
        if changed {
            let servers_time = now.wall.saturating_add(self.ahead());
            record.tokens.retain(|_, kept| {
                kept.token.take_if(|token| token.expires <= servers_time);
                kept.token.is_some() || kept.failure.is_some()
            });
            let arriving = arriving.map_or(0, |held| held.token.generation);
            record.generation = generation.max(before.generation).saturating_add(1).max(arriving);
            if let Some(refresh) = record.refresh.as_mut().filter(|refresh| refresh.generation == 0) {
                refresh.generation = record.generation;
            }
        }
        Outlook { record, changed }
    }

    fn put_token(&self, record: &mut Record, key: Key, arriving: Option<&Held>, now: Now) {
        let Some(entry) = self.cache.find(&key) else { return };
        let arriving = arriving.filter(|held| held.token.key == key);
        let held = arriving.or(entry.held.as_ref()).filter(|held| held.left(now) > 0);
        let kept = record.tokens.entry(key).or_default();
        if let Some(held) = held {
            let is_newer = |stored: &StoredToken| {
                stored.generation < held.token.generation && stored.access_token != held.token.access_token
            };
            if kept.token.as_ref().is_none_or(is_newer) {
                let expires = held.token.expires.wall.saturating_add(self.ahead());
                let is_other = held.token.is_bound() || !held.token.is_for_requests();
                kept.token = Some(StoredToken {
                    access_token: held.token.access_token.clone(),
                    generation: held.token.generation,
                    scope: held.token.scope.as_deref().map(ToOwned::to_owned),
                    token_type: is_other.then(|| held.token.token_type().into()),
                    issued: expires.saturating_sub(held.life),
                    expires,
                });
            }
        }
        if arriving.is_some() {
            kept.failure = None;
        } else if let Some(trouble) =
            entry.trouble().filter(|trouble| trouble.next > now.boot && is_for_all(&trouble.error))
        {
            let pause = trouble.next.saturating_sub(now.boot);
            let next = now.wall.saturating_add(self.ahead()).saturating_add(pause);
            let known = kept.failure.as_ref().filter(|known| known.count == trouble.count && known.next >= next);
            if known.is_none() {
                kept.failure = Some(Failure::new(trouble, next, pause));
            }
        }
    }

    fn put_refresh_token(&self, record: &mut Record, owner: Key, ended: bool) {
        if let Some(ours) = self.refresh(&owner) {
            let is_other = record.refresh.as_ref().is_none_or(|theirs| theirs.token != ours.token);
            if is_other {
                let known = self.cache.shared(&owner).into_iter().flat_map(|shared| shared.spent.iter().cloned());
                let theirs = record.refresh.as_ref().map(|theirs| fingerprint(&theirs.token));
                known.chain(theirs).for_each(|name| remember(&mut record.spent, name));
                let name = fingerprint(&ours.token);
                record.spent.retain(|spent| *spent != name);
                record.refresh = Some(StoredRefresh {
                    token: ours.token.clone(),
                    generation: ours.generation,
                    scope: ours.scope.clone(),
                });
            }
            let sent = match ours.state {
                RefreshState::Unspent => 0,
                RefreshState::Ambiguous => 1,
                RefreshState::Resent | RefreshState::Exhausted => 2,
            };
            let token = fingerprint(&ours.token);
            let known = record.intent.as_ref().filter(|intent| intent.token == token);
            record.intent = match (sent, known, &self.owner) {
                // What another process was about to send is not ours to forget.
                (0, known, us) => known.filter(|known| !ended || us.as_ref() != Some(&known.owner)).cloned(),
                // Nobody knows better how our own request ended.
                (sent, Some(known), Some(us)) if ended && known.owner == *us => Some(Intent { sent, ..known.clone() }),
                (sent, Some(known), _) if known.sent >= sent => Some(known.clone()),
                (sent, _, owner) => Some(Intent { token, owner: owner.clone().unwrap_or_default(), sent }),
            };
        }
    }
}

impl Failure {
    fn is_refusal(&self) -> bool {
        is_refusal(&self.error())
    }

    fn new(trouble: &Trouble, next: i64, pause: i64) -> Self {
        Self {
            code: trouble.error.code().as_str().into(),
            passing: trouble.verdict == Verdict::Transient,
            count: trouble.count,
            next,
            pause,
            ambiguous: trouble.error.is_ambiguous(),
            status: trouble.error.status(),
            oauth_error: trouble.error.oauth_error().map(ToOwned::to_owned),
        }
    }

    fn error(&self) -> Error {
        let code = ErrorCode::ALL.iter().copied().find(|code| code.as_str() == self.code);
        let mut error = Error::new(
            code.unwrap_or(ErrorCode::ServerUnavailable),
            "another process of the fleet was refused, and its failure is heeded here: see `code` and `oauth_error`",
        );
        if self.ambiguous {
            error = error.with_ambiguity();
        }
        if let Some(status) = self.status {
            error = error.with_status(status);
        }
        match &self.oauth_error {
            Some(code) => error.with_oauth_error(code),
            None => error,
        }
    }
}

/// Whether a failure is one that the whole fleet would have: the server's, or that of the way to it.
fn is_for_all(error: &Error) -> bool {
    match error.code() {
        ErrorCode::ReauthorizationRequired => error.is_ambiguous(),
        ErrorCode::Timeout | ErrorCode::TransportFailed | ErrorCode::AnswerTooLarge => true,
        _ => error.code().family() == Family::Server,
    }
}

/// Clocks that differ by less than this are taken to be the same.
const SKEW: i64 = 10_000;
