//! The world as an explorer sees it: what can happen now, and one of it happens.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use super::{End, Message, Order, Wish, World};
use crate::authority::Question;
use crate::explore::Budget;
use crate::invariants::Invariant;
use crate::process::{CALLERS, Process};

/// One of the things that can happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// The message in this place is delivered.
    Deliver(usize),
    /// The request in this place gets no answer, and it is not known whether it arrived.
    Lose(usize),
    /// The request in this place is carried out, and its answer is lost.
    LoseAnswer(usize),
    /// The token that this process was given last is refused by an API.
    Reject(usize),
    Cancel(usize, usize),
    Crash(usize),
    /// The token's life ends, and everybody asks again.
    Expire,
}

impl World<'_> {
    /// Three callers in two processes.
    pub fn lay_out(&mut self, budget: Budget) {
        self.order_by = Order::Explorer;
        self.budget = Some(budget);
        for process in 0..self.processes.len() {
            self.processes[process].boot = 1_000_000 * (process as i64 + 1) - self.now;
            self.begin(process);
        }
        self.everybody_asks();
    }

    fn everybody_asks(&mut self) {
        for process in [0, 0, 1] {
            let wish = Wish { want: 0, min_ttl: 0, force: false, patience: 30_000, call: None, last: false };
            self.post(0, Message::Ask { process, wish });
        }
    }

    /// Everything that can happen now, in an order that depends on nothing but the state.
    pub fn choices(&self) -> Vec<Choice> {
        let Some(budget) = self.budget else { return Vec::new() };
        let mut choices = Vec::new();
        let mut now: Vec<(u64, usize)> =
            self.pending().filter(|(_, at, _)| *at <= self.now).map(|(place, ..)| (self.name(place), place)).collect();
        now.sort_unstable();
        // Two messages that are alike are one choice.
        now.dedup_by_key(|(name, _)| *name);
        if let Some(apart) = (0..self.processes.len()).find_map(|process| self.apart(process, &now)) {
            return apart;
        }
        choices.extend(now.iter().map(|(_, place)| Choice::Deliver(*place)));
        if now.is_empty() {
            // Nothing is under way: time passes.
            let soonest = self.pending().min_by_key(|(place, at, _)| (*at, self.name(*place)));
            choices.extend(soonest.map(|(place, ..)| Choice::Deliver(place)));
        }
        for (_, place) in &now {
            if let (Some(Message::Arrive { .. }), 1..) = (self.message(*place), budget.fails) {
                choices.extend([Choice::Lose(*place), Choice::LoseAnswer(*place)]);
            }
        }
        for process in 0..self.processes.len() {
            let me = &self.processes[process];
            if budget.rejects > 0 && me.is_up() && me.seen[0].is_some() && me.calls[0].is_some() {
                choices.push(Choice::Reject(process));
            }
            if budget.crashes > 0 && me.is_up() && me.told > u64::from(self.plan.rotating) {
                choices.push(Choice::Crash(process));
            }
            if budget.cancels > 0 {
                let waiting = (0..CALLERS).filter(|slot| me.callers[*slot].is_some());
                choices.extend(waiting.map(|slot| Choice::Cancel(process, slot)));
            }
        }
        if now.is_empty() && budget.lives > 0 && self.processes.iter().map(Process::waiting).sum::<usize>() == 0 {
            choices.push(Choice::Expire);
        }
        choices
    }

    /// What a process's callers are about to ask, if nothing else can befall that process before: whatever the others do
    /// meanwhile comes to the same, so that only the order among these makes a difference.
    fn apart(&self, process: usize, now: &[(u64, usize)]) -> Option<Vec<Choice>> {
        let budget = self.budget?;
        let me = &self.processes[process];
        let is_waiting = me.callers.iter().any(Option::is_some);
        let may_befall = budget.messages
            || budget.crashes > 0
            || budget.cancels > 0 && is_waiting
            || budget.rejects > 0 && me.seen[0].is_some() && me.calls[0].is_some();
        if may_befall || !me.is_up() || !me.running.is_empty() {
            return None;
        }
        let mut mine = Vec::new();
        for (_, place) in now {
            match self.message(*place)? {
                Message::Ask { process: to, .. } | Message::Wake { process: to, .. } if *to == process => {
                    mine.push(Choice::Deliver(*place));
                }
                Message::Tick { process: to, .. } | Message::Verdict { process: to, .. } if *to == process => {
                    return None;
                }
                _ => {}
            }
        }
        (!mine.is_empty()).then_some(mine)
    }

    pub fn choose(&mut self, choice: Choice) {
        let Some(mut budget) = self.budget else { return };
        match choice {
            Choice::Deliver(place) => {
                let message = self.take(place);
                self.deliver(message);
            }
            Choice::Lose(place) => {
                budget.fails -= 1;
                if let Message::Arrive { from, .. } = self.take(place) {
                    self.post(0, Message::End { to: from, end: End::MaybeSent });
                }
            }
            Choice::LoseAnswer(place) => {
                budget.fails -= 1;
                if let Message::Arrive { from, question, .. } = self.take(place) {
                    if let Question::Refresh { token, .. } = &question {
                        let owner = self.authority.refresh[*token].owner;
                        self.excuse(owner, "an answer is lost");
                    }
                    let plan = self.plan.clone();
                    self.authority.answer(&question, &plan, Some(plan.life), self.now);
                    self.post(0, Message::End { to: from, end: End::MaybeSent });
                }
            }
            Choice::Reject(process) => {
                budget.rejects -= 1;
                if let (Some((token, _)), Some(call)) =
                    (self.processes[process].seen[0], self.processes[process].calls[0])
                {
                    self.memory.troubles += 1;
                    self.verdict(process, 0, call, token, 401, false);
                }
            }
            Choice::Cancel(process, slot) => {
                budget.cancels -= 1;
                self.cancel(process, slot);
            }
            Choice::Crash(process) => {
                budget.crashes -= 1;
                self.crash(process);
                self.post(0, Message::Begin { process });
            }
            Choice::Expire => {
                budget.lives -= 1;
                self.now += self.plan.life + 1;
                self.everybody_asks();
            }
        }
        self.budget = Some(budget);
    }

    /// Nothing is left to happen: is everybody served?
    pub fn conclude(&mut self) {
        let waiting: usize = self.processes.iter().map(Process::waiting).sum();
        if waiting > 0 {
            self.violate(Invariant::Progress, format!("{waiting} callers wait, and nothing is under way any more"));
        }
    }

    /// All that the future depends on.
    pub fn digest(&self, hasher: &mut DefaultHasher) {
        let mut names: Vec<u64> = (0..self.pending().count()).map(|place| self.name(place)).collect();
        names.sort_unstable();
        (names, self.now, self.budget, &self.store.places, &self.memory.excused).hash(hasher);
        (self.authority.access.len(), self.authority.refresh.len()).hash(hasher);
        for family in &self.authority.families {
            (family.current, family.revoked).hash(hasher);
        }
        for me in &self.processes {
            (me.digest, me.incarnation, me.is_up(), me.told).hash(hasher);
            for caller in &me.callers {
                caller.as_ref().map(|caller| (caller.flight, caller.until, caller.deadline)).hash(hasher);
            }
        }
    }

    /// A number for a message: the same for messages that are alike.
    fn name(&self, place: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Some((_, at, message)) = self.pending().nth(place) {
            let at = at.max(self.now);
            match message {
                // Which of several waits it is makes no difference.
                Message::Wake { process, incarnation, caller, stamp } => {
                    let is_its =
                        self.processes[*process].callers[*caller].as_ref().is_some_and(|caller| caller.stamp == *stamp);
                    (at, process, incarnation, caller, is_its, "wake").hash(&mut hasher);
                }
                message => (at, message).hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    fn message(&self, place: usize) -> Option<&Message> {
        self.pending().nth(place).map(|(_, _, message)| message)
    }
}
