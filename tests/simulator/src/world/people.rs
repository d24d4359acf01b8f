//! Callers, and whoever else acts on the fleet from outside.

use std::rc::Rc;

use super::{Message, Wish, World};
use crate::authority::access_number;
use crate::invariants::{self, Dropped, Invariant, Way};
use crate::mutant::Mutant;
use crate::plan::{Fault, Sharing};
use crate::process::{CALLERS, Caller, want};
use remint::event::{Answered, Ask, Flow, Revoke, Start};
use remint::step::{Call, FlightId, Verdict};
use remint::{Answer, Error, ErrorCode, Event, Lease};

/// One caller's way from question to answer.
impl World<'_> {
    pub(super) fn ask(&mut self, process: usize, wish: Wish) {
        let me = &self.processes[process];
        let Some(slot) = me.callers.iter().position(Option::is_none) else {
            if wish.last {
                self.post(1_000, Message::Ask { process, wish });
            }
            return;
        };
        let deadline = self.now + me.boot + wish.patience;
        let is_greedy = 2 * wish.min_ttl > self.plan.life;
        self.processes[process].attempts[wish.want].forced += usize::from(wish.force || is_greedy);
        let attempts = self.processes[process].attempts[wish.want];
        self.stamp += 1;
        let caller = Caller {
            want: wish.want,
            min_ttl: wish.min_ttl,
            force: wish.force,
            call: wish.call,
            deadline,
            flight: None,
            until: deadline,
            stamp: self.stamp,
            rounds: 0,
            sent: attempts.sent,
            failed: attempts.failed,
            dropped: self.memory.dropped.len(),
            forced: attempts.forced,
            settled: None,
            last: wish.last,
        };
        self.question(process, slot, caller);
    }

    pub(super) fn wake(&mut self, process: usize, slot: usize, stamp: u64) {
        let boot = self.processes[process].boot;
        let incarnation = self.processes[process].incarnation;
        let Some(caller) = &self.processes[process].callers[slot] else { return };
        if caller.stamp != stamp {
            return;
        }
        if caller.settled.is_none() && caller.until > self.now + boot {
            let wait = caller.until - boot - self.now;
            self.post(wait, Message::Wake { process, incarnation, caller: slot, stamp });
            return;
        }
        if let Some(caller) = self.processes[process].callers[slot].take() {
            self.question(process, slot, caller);
        }
    }

    /// Puts a caller's question, out of the shell's lease where that is enough.
    fn question(&mut self, process: usize, slot: usize, mut caller: Caller) {
        let after = caller.flight;
        let now = self.processes[process].now(self.now);
        let serves_anything = self.mutant == Some(Mutant::ServesExpired);
        let place = if self.mutant == Some(Mutant::SharesLeases) { 0 } else { caller.want };
        if after.is_none() && caller.min_ttl == 0 && !caller.force && caller.call.is_none() {
            let lease = self.processes[process].leases[place].clone();
            let fresh = |lease: &Lease| now.wall < lease.recheck.wall && now.boot < lease.recheck.boot;
            if let Some(lease) = lease.filter(|lease| serves_anything || fresh(lease)) {
                let call = lease.lease_call;
                self.handed_out(process, &caller, &lease, call, Way::Lease);
                return;
            }
        }
        caller.rounds += 1;
        let loops = self.mutant == Some(Mutant::AsksAgainAndAgain) && caller.rounds > 1;
        if loops {
            caller.deadline = now.boot + 30_000;
        }
        let ask = Ask {
            want: want(&self.plan, caller.want),
            min_ttl: caller.min_ttl,
            force: caller.force || loops,
            deadline: Some(caller.deadline),
            after: after.filter(|_| !loops),
            call: caller.call,
        };
        let label = || format!("ask {ask:?}");
        let Some(answer) = self.tell(process, label, Event::Ask(ask.clone())) else { return };
        if after.is_some_and(|flight| self.over.contains(&flight)) {
            // The question itself has ended what was overdue.
            caller.settled = caller.settled.or(Some(self.now));
        }
        match answer {
            Answer::Use(lease) => {
                let call = lease.call;
                self.handed_out(process, &caller, &lease, call, Way::Core);
                if lease.recheck.boot > now.boot && self.processes[process].is_up() {
                    self.processes[process].leases[place] = Some(lease);
                }
            }
            Answer::Wait { flight, until } => {
                if let Some(what) = invariants::i11_no_loop(self, process, &caller) {
                    self.violate(Invariant::I11, what);
                }
                self.wait(process, slot, caller, flight, until);
            }
            Answer::Fail(error) => self.refused(process, &caller, &error),
            _ => self.violate(
                Invariant::Progress,
                "a question is answered by neither token, nor wait, nor failure".to_owned(),
            ),
        }
    }

    fn wait(&mut self, process: usize, slot: usize, mut caller: Caller, flight: FlightId, until: i64) {
        let me = &self.processes[process];
        let (incarnation, boot) = (me.incarnation, me.boot);
        if let Some(what) = invariants::progress_wait(self, process, &caller, flight, until) {
            self.violate(Invariant::Progress, what);
        }
        self.stamp += 1;
        caller.stamp = self.stamp;
        caller.flight = Some(flight);
        caller.until = until;
        caller.settled = None;
        let stamp = caller.stamp;
        // It may be over before anybody waits for it.
        let is_over = self.over.contains(&flight);
        caller.settled = is_over.then_some(self.now);
        self.processes[process].callers[slot] = Some(caller);
        let wait = if is_over { 0 } else { (until - boot - self.now).max(0) };
        self.post(wait, Message::Wake { process, incarnation, caller: slot, stamp });
    }

    fn handed_out(&mut self, process: usize, caller: &Caller, lease: &Lease, call: Call, way: Way) {
        self.note(|| format!("p{process} has {} for w{}", lease.token.access_token.expose(), caller.want));
        invariants::token_handed_out(self, process, caller, lease, way);
        let Some(token) = access_number(lease.token.access_token.expose()) else { return };
        let me = &mut self.processes[process];
        if me.seen[caller.want].is_none_or(|(before, _)| before != token) {
            me.attempts[caller.want].row = 0;
        }
        // A token that is handed out once and not kept is none that others could come after.
        if way == Way::Lease || lease.recheck.boot > 0 {
            me.seen[caller.want] = Some((token, lease.token.generation));
        }
        me.calls[caller.want] = Some(call);
        let incarnation = me.incarnation;
        let accepted = self.authority.accepts(token, self.now) || self.authority.access[token].odd;
        let unlucky = self.chance(Fault::Reject, 10);
        if accepted && !unlucky {
            if caller.last {
                self.last_answer(process, caller.want, Ok(()));
            } else if self.chance(Fault::Reject, 20) {
                self.use_token(process, incarnation, caller, call, token, 200);
            }
            return;
        }
        let known = self.authority.access[token].revoked || unlucky || caller.last;
        if known {
            self.use_token(process, incarnation, caller, call, token, 401);
        }
    }

    fn use_token(&mut self, process: usize, incarnation: u32, caller: &Caller, call: Call, token: usize, status: u16) {
        self.memory.troubles += u32::from(status == 401);
        let delay = self.moment();
        let (want, last) = (caller.want, caller.last);
        self.post(delay, Message::Verdict { process, incarnation, want, call, token, status, last });
    }

    /// An API has answered.
    pub(super) fn verdict(&mut self, process: usize, wanted: usize, call: Call, token: usize, status: u16, last: bool) {
        let answered = Answered { want: want(&self.plan, wanted), call, url: None, status, headers: Vec::new() };
        let held = self.processes[process].seen[wanted];
        let withdrawn_before = self.withdrawn;
        let answer = self.tell(process, || format!("{status} for at-{token} with {call}"), Event::Answered(answered));
        if status == 401 && self.withdrawn > withdrawn_before && held.is_some_and(|(held, _)| held == token) {
            self.drop_token(process, token);
        }
        match answer {
            Some(Answer::Verdict(Verdict::Retry)) => {
                let wish = Wish { want: wanted, min_ttl: 0, force: false, patience: 30_000, call: Some(call), last };
                let delay = self.moment();
                self.post(delay, Message::Ask { process, wish });
            }
            _ if last => {
                let error = Error::new(ErrorCode::InvalidRequest, "the API refuses the token");
                self.last_answer(process, wanted, Err(&error));
            }
            _ => {}
        }
    }

    pub(super) fn drop_token(&mut self, process: usize, token: usize) {
        let incarnation = self.processes[process].incarnation;
        let dropped = Dropped { process, incarnation, at: self.now };
        self.memory.dropped.entry(token).or_insert(dropped);
    }

    fn refused(&mut self, process: usize, caller: &Caller, error: &Error) {
        self.note(|| format!("p{process} fails for w{} with {}", caller.want, error.code().as_str()));
        if let Some(what) = invariants::i8_no_company(self, process, error) {
            self.violate(Invariant::I8, what);
        }
        if caller.last {
            self.last_answer(process, caller.want, Err(error));
        }
    }
}

/// The end: everything is well again.
impl World<'_> {
    fn heal(&mut self) {
        self.note(|| "all is well from here on".to_owned());
        self.healed = true;
        self.server_down_until = i64::MIN;
        self.store_down_until = i64::MIN;
        self.store_slow_until = i64::MIN;
        // Set right, a clock that was set back ends what it had prolonged.
        self.store.ahead = self.store.most_ahead;
        for process in 0..self.processes.len() {
            self.processes[process].stopped_until = i64::MIN;
            if self.processes[process].closed {
                self.crash(process);
            }
            if !self.processes[process].is_up() {
                self.post(100, Message::Begin { process });
            }
        }
        for process in (0..self.processes.len()).rev() {
            for want in (0..self.plan.wants).rev() {
                self.last_questions.push((process, want, 0));
            }
        }
        // By then every token has run out, and every pause is over.
        let rest = self.plan.life + 200_000;
        self.post(rest, Message::Act);
    }

    fn put_last_question(&mut self) {
        let Some((process, wanted, _)) = self.last_questions.last().copied() else { return };
        let wish = Wish { want: wanted, min_ttl: 0, force: false, patience: 30_000, call: None, last: true };
        self.post(0, Message::Ask { process, wish });
    }

    fn last_answer(&mut self, process: usize, wanted: usize, answer: Result<(), &Error>) {
        const TRIES: u32 = 8;
        let Some(question) = self.last_questions.last_mut() else { return };
        question.2 += 1;
        let tries = question.2;
        let owner = self.plan.owner(wanted);
        let lost = answer.is_err_and(|error| {
            self.plan.rotating && matches!(error.code(), ErrorCode::ReauthorizationRequired | ErrorCode::InvalidGrant)
        });
        match answer {
            Ok(()) => self.survives[owner] = true,
            Err(error) if lost => {
                // A process that was never given a refresh token finds none in a store that nobody has put one into.
                let unknown = self.processes[process].knows[owner].is_none() && self.stored_refresh(owner).is_none();
                if !unknown {
                    if let Some(what) = invariants::i4_survives(self, owner, Err(error)) {
                        self.violate(Invariant::I4, what);
                    }
                }
            }
            Err(error) if tries < TRIES => {
                // A token that an API refuses is kept for a while, if the one before it fared no better; nobody is told how long.
                let unsaid = if error.code() == ErrorCode::InvalidRequest { 8_000 } else { 0 };
                let wait =
                    error.retry_after().map_or(unsaid, |wait| i64::try_from(wait.as_millis()).unwrap_or_default());
                self.post(wait.clamp(100, 61_000) + 1, Message::Act);
                return;
            }
            Err(error) => {
                if let Some(what) = invariants::i9_success(self, process, error) {
                    self.violate(Invariant::I9, what);
                }
            }
        }
        self.last_questions.pop();
        if !self.last_questions.is_empty() {
            self.post(1, Message::Act);
        }
    }

    /// Nothing is under way any more.
    pub(super) fn finish(&mut self) {
        let waiting: usize = self.processes.iter().map(crate::process::Process::waiting).sum();
        if waiting > 0 || !self.last_questions.is_empty() {
            let what = format!(
                "{waiting} callers wait, {:?} are asked last, and nothing is under way any more",
                self.last_questions
            );
            self.violate(Invariant::Progress, what);
            return;
        }
        for owner in 0..self.plan.owners() {
            if let Some(what) = invariants::i10_requests(self, owner) {
                self.violate(Invariant::I10, what);
            }
            if self.plan.rotating && self.survives[owner] {
                if let Some(what) = invariants::i4_survives(self, owner, Ok(())) {
                    self.violate(Invariant::I4, what);
                }
            }
        }
    }
}

/// What is done from outside.
impl World<'_> {
    pub(super) fn act(&mut self) {
        if self.healed {
            self.put_last_question();
            return;
        }
        if self.acts_left == 0 {
            self.heal();
            return;
        }
        self.acts_left -= 1;
        if self.dice.chance(65) || !self.misfortune() {
            self.crowd();
        }
        let life = self.plan.life;
        let gap = match self.dice.below(10) {
            0..=3 => self.dice.between(0, 20),
            4..=5 => self.dice.between(20, 2_000),
            6..=7 => self.dice.between(1_000, 15_000),
            8 => self.dice.between(0, life / 2),
            _ => self.dice.between(life / 2, life + 2_000),
        };
        self.post(gap, Message::Act);
    }

    /// Callers ask, alone or many at once.
    fn crowd(&mut self) {
        let many = self.dice.chance(30);
        let count = if many { self.processes.len() * 2 } else { 1 };
        for number in 0..count {
            let process = if many { number % self.processes.len() } else { self.dice.below(self.processes.len()) };
            let wanted = self.dice.below(self.plan.wants);
            let force = self.chance(Fault::Force, 15);
            let min_ttl = if self.chance(Fault::MinTtl, 20) {
                let life = self.plan.life;
                self.dice.pick(&[1, 1_000, life / 2, life - 1, life, life * 2])
            } else {
                0
            };
            let patience = self.dice.pick(&[50, 2_000, 30_000, 30_000, 30_000]);
            let wish = Wish { want: wanted, min_ttl, force, patience, call: None, last: false };
            let delay = if many { self.moment() } else { 0 };
            self.post(delay, Message::Ask { process, wish });
        }
    }

    /// One of the things that may go wrong. Says whether there was any.
    fn misfortune(&mut self) -> bool {
        const ACTING: [Fault; 18] = [
            Fault::Server,
            Fault::StoreDown,
            Fault::StoreSlow,
            Fault::Failover,
            Fault::Flush,
            Fault::Evict,
            Fault::Forge,
            Fault::StoreClock,
            Fault::Messages,
            Fault::Clocks,
            Fault::Pause,
            Fault::Suspend,
            Fault::Crash,
            Fault::Fork,
            Fault::Close,
            Fault::Cancel,
            Fault::Invalidate,
            Fault::Revoke,
        ];
        let chosen = ACTING.iter().filter(|fault| self.plan.has(**fault)).count();
        let rejects = usize::from(self.plan.has(Fault::Reject));
        if chosen + rejects == 0 {
            return false;
        }
        let at = self.dice.below(chosen + rejects);
        let fault = ACTING.iter().filter(|fault| self.plan.has(**fault)).nth(at).copied().unwrap_or(Fault::Reject);
        let process = self.dice.below(self.processes.len());
        let wanted = self.dice.below(self.plan.wants);
        let owner = self.plan.owner(wanted);
        self.note(|| format!("{fault:?} (p{process}, w{wanted})"));
        match fault {
            Fault::Server => self.server_down_until = self.now + self.dice.between(100, 60_000),
            Fault::StoreDown => self.store_down_until = self.now + self.dice.between(100, 40_000),
            Fault::StoreSlow => self.store_slow_until = self.now + self.dice.between(100, 20_000),
            Fault::Failover | Fault::Flush | Fault::Evict | Fault::Forge | Fault::StoreClock => {
                self.spoil_store(fault, owner);
            }
            Fault::Messages => {
                let incarnation = self.processes[process].incarnation;
                self.post(0, Message::Changed { process, incarnation, key: None });
            }
            Fault::Clocks => self.jump(process),
            Fault::Pause | Fault::Suspend => self.stop(process, fault == Fault::Suspend),
            Fault::Crash => {
                if self.processes[process].is_up() {
                    self.crash(process);
                }
                let delay = self.dice.pick(&[0, 10, 1_000, 30_000]);
                self.post(delay, Message::Begin { process });
            }
            Fault::Fork => self.fork(process),
            Fault::Close => self.close(process),
            Fault::Cancel => {
                let slot = self.dice.below(CALLERS);
                self.cancel(process, slot);
            }
            Fault::Invalidate => self.invalidate(process, wanted),
            Fault::Revoke => self.revoke(process, wanted),
            _ => self.revoke_at_the_authority(owner),
        }
        true
    }

    fn spoil_store(&mut self, fault: Fault, owner: usize) {
        self.memory.store_lost = true;
        self.memory.troubles += 1;
        let key = self.keys[owner];
        match fault {
            Fault::Failover => {
                let behind = self.dice.below(4) + 1;
                self.store.fail_over(behind);
            }
            Fault::Flush => self.store.flush(),
            Fault::Evict => self.store.evict(key),
            Fault::StoreClock => {
                self.store.ahead += self.dice.pick(&[-3_600_000, -5_000, 5_000, 3_600_000, 40_000_000_000]);
                self.store.most_ahead = self.store.most_ahead.max(self.store.ahead);
            }
            _ => self.forge(key),
        }
        for owner in 0..self.plan.owners() {
            self.excuse(owner, "the store lost or changed what it had");
            self.memory.durable[owner] = self.stored_refresh(owner);
        }
    }

    fn forge(&mut self, key: remint::cache::Key) {
        let Some(record) = self.store.record(key).cloned() else { return };
        let forged: Rc<str> = match self.dice.below(5) {
            0 => record.get(..record.len() / 2).unwrap_or_default().into(),
            1 => "".into(),
            2 => "{}".into(),
            3 => {
                let other = self.dice.below(self.keys.len());
                self.store.record(self.keys[other]).cloned().unwrap_or(record)
            }
            _ => record.replace("\"remint\":1", "\"remint\":2").replace("\"version\":1", "\"version\":2").into(),
        };
        self.store.forge(key, forged);
    }

    fn jump(&mut self, process: usize) {
        const HOUR: i64 = 3_600_000;
        let jump = self.dice.pick(&[-HOUR, HOUR, -365 * 24 * HOUR, 365 * 24 * HOUR, -400, 400, -20_000, 20_000, -1, 1]);
        self.memory.troubles += 1;
        self.processes[process].wall += jump;
        let wall = self.processes[process].wall;
        self.memory.skew = (self.memory.skew.0.min(wall), self.memory.skew.1.max(wall));
    }

    /// A process is stopped, or its machine sleeps. A clock that does not count that time falls behind.
    fn stop(&mut self, process: usize, sleeps: bool) {
        let pause = self.dice.pick(&[50, 900, 1_500, 12_000, 25_000, 60_000, 3_700_000]);
        let until = self.now + pause;
        self.memory.troubles += 1;
        let me = &mut self.processes[process];
        let longer = until - me.stopped_until.clamp(self.now, until);
        me.stopped_until = me.stopped_until.max(until);
        me.was_stopped = true;
        if sleeps && pause % 1_000 != 0 {
            me.boot -= longer;
            me.missed = true;
        }
        for owner in 0..self.plan.owners() {
            if self.processes[process].is_busy_for(owner) {
                self.excuse(owner, "a process was stopped with a request in the air");
            }
            if self.processes[process].missed {
                self.excuse(owner, "a process's clock missed time");
            }
        }
    }

    fn fork(&mut self, parent: usize) {
        let child = self.dice.below(self.processes.len());
        if child == parent || !self.processes[parent].is_up() || self.processes[parent].closed {
            return;
        }
        if self.processes[child].is_up() {
            self.crash(child);
        }
        self.note(|| format!("p{child} is a fork of p{parent}"));
        let mut process = std::mem::replace(&mut self.processes[child], crate::process::Process::new(0, 0));
        process.become_child_of(&self.processes[parent], self.config);
        self.processes[child] = process;
        self.tell(child, || "forked".to_owned(), Event::Forked {});
        if self.plan.sharing == Sharing::Alone {
            (0..self.plan.owners()).for_each(|owner| self.excuse(owner, "the parent keeps it"));
        }
    }

    fn close(&mut self, process: usize) {
        if !self.processes[process].is_up() || self.processes[process].closed {
            return;
        }
        self.memory.troubles += 1;
        self.processes[process].closed = true;
        self.tell(process, || "close".to_owned(), Event::Close {});
    }

    pub(super) fn cancel(&mut self, process: usize, slot: usize) {
        let Some(caller) = self.processes[process].callers[slot].take() else { return };
        self.note(|| format!("p{process} caller {slot} goes away"));
        if let (Some(flight), true) = (caller.flight, self.mutant == Some(Mutant::FailsWithItsCaller)) {
            self.abandon(process, flight);
        }
    }

    pub(super) fn invalidate(&mut self, process: usize, wanted: usize) {
        let held = self.processes[process].seen[wanted];
        if !self.processes[process].is_up() {
            return;
        }
        self.memory.troubles += 1;
        self.processes[process].attempts[wanted].forced += 1;
        let wish = want(&self.plan, wanted);
        self.tell(process, || format!("invalidate w{wanted}"), Event::Invalidate { want: wish });
        if let Some((token, _)) = held {
            self.drop_token(process, token);
        }
    }

    fn revoke(&mut self, process: usize, wanted: usize) {
        if !self.processes[process].is_up() || self.processes[process].closed {
            return;
        }
        let owner = self.plan.owner(wanted);
        self.memory.troubles += 1;
        self.excuse(owner, "the session was revoked on purpose");
        self.processes[process].revoked[owner] = self.now;
        // Whoever waits is sent for another token.
        self.processes.iter_mut().for_each(|other| other.attempts[wanted].forced += 1);
        let revoke = Revoke { want: want(&self.plan, wanted), token: None, hint: None };
        let start = Start { flow: Flow::Revoke(revoke), deadline: None, after: None };
        self.tell(process, || format!("revoke w{wanted}"), Event::Start(start));
    }

    /// An administrator ends the tokens that are out; refresh tokens stay.
    fn revoke_at_the_authority(&mut self, owner: usize) {
        self.memory.troubles += 1;
        self.authority
            .access
            .iter_mut()
            .filter(|access| access.owner == owner)
            .for_each(|access| access.revoked = true);
    }

    /// What may be done when a caller went away, and must not: its request ends with it.
    fn abandon(&mut self, process: usize, flight: FlightId) {
        let op =
            self.processes[process].running.iter().find(|running| running.flight == flight).map(|running| running.op);
        if let Some(op) = op {
            self.processes[process].running.retain(|running| running.op != op);
            let kind = remint::event::FailureKind::Abandoned;
            self.tell(process, || format!("{op} abandoned"), Event::Failed { op, kind });
        }
    }
}
