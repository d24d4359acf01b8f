//! What travels between the processes, the authority and the store.

use std::rc::Rc;

use remint::cache::Key;
use remint::event::{FailureKind, Received, StoreResult};
use remint::step::StoreCommand;
use remint::{Event, Secret};

use super::{End, Failure, Message, Order, Sender, StoreWeather, Weather, World};
use crate::authority::{Question, Reply, access_text, refresh_text};
use crate::invariants;
use crate::mutant::Mutant;
use crate::plan::Fault;
use crate::process::Kind;
use crate::store::{Command, Result as StoreAnswer};

/// Requests to the authority.
impl World<'_> {
    pub(super) fn send(&mut self, from: Sender, question: Question) {
        let mut weather = Weather::Fair;
        let mut delay = self.moment();
        if self.order_by == Order::Chance && !self.healed {
            let down = self.server_down_until > self.now;
            if down && self.dice.chance(80) || self.chance(Fault::Server, 15) {
                weather = match self.dice.below(8) {
                    0 | 1 => Weather::Refused { status: 503, pause: None },
                    2 => Weather::Refused { status: 503, pause: Some(self.dice.pick(&[0, 1, 5, 60])) },
                    3 => Weather::Refused { status: 429, pause: Some(self.dice.pick(&[1, 2, 30])) },
                    4 => Weather::Refused { status: 502, pause: None },
                    5 => Weather::Muddled { status: 500 },
                    6 => Weather::Muddled { status: 504 },
                    _ => Weather::Garbage,
                };
            } else if self.chance(Fault::Loss, 25) {
                match self.dice.below(5) {
                    0 => return self.post(delay, Message::End { to: from, end: End::NotSent }),
                    1 => return self.post(delay, Message::End { to: from, end: End::MaybeSent }),
                    // No answer ever comes.
                    2 => return,
                    3 => weather = Weather::AnswerLost { told: true },
                    _ => weather = Weather::AnswerLost { told: false },
                }
            }
            if self.chance(Fault::Slow, 25) {
                delay += self.dice.pick(&[500, 3_000, 9_000, 11_000, 30_000]);
            }
        }
        self.post(delay, Message::Arrive { from, question, weather });
    }

    pub(super) fn arrive(&mut self, from: Sender, question: &Question, weather: Weather) {
        self.note(|| format!("authority <- {question:?} of p{} {weather:?}", from.process));
        let back = self.moment();
        let back = if self.chance(Fault::Slow, 15) { back + self.dice.pick(&[500, 9_000, 12_000]) } else { back };
        if let Weather::Refused { status, pause } = weather {
            return self.post(back, Message::End { to: from, end: End::Status { status, pause, error: false } });
        }
        if weather == Weather::Garbage {
            return self.post(back, Message::End { to: from, end: End::Garbage });
        }
        let life = if self.chance(Fault::OddLife, 25) {
            self.dice.pick(&[None, Some(0), Some(-5_000), Some(1_000)])
        } else {
            Some(self.plan.life)
        };
        let plan = self.plan.clone();
        let reply = self.authority.answer(question, &plan, life, self.now);
        self.note(|| format!("authority -> {reply:?}"));
        let owner = match question {
            Question::Refresh { token, .. } => Some(self.authority.refresh[*token].owner),
            _ => None,
        };
        let is_here = self.processes[from.process].running.iter().any(|running| running.op == from.op);
        let is_here = is_here && self.processes[from.process].incarnation == from.incarnation;
        if let (Some(owner), false) = (owner, is_here && weather == Weather::Fair) {
            self.excuse(owner, "the authority carried out a request, and nobody heard of it");
        }
        let end = match weather {
            Weather::Muddled { status } => End::Status { status, pause: None, error: false },
            Weather::AnswerLost { told: true } => End::MaybeSent,
            Weather::AnswerLost { told: false } => return,
            _ if reply == Reply::InvalidGrant => End::Status { status: 400, pause: None, error: true },
            _ => {
                let date = if self.chance(Fault::Date, 50) {
                    Some(self.dice.pick(&[-3_600_000, 3_600_000, -90_000, 90_000]))
                } else if self.order_by == Order::Explorer || self.dice.chance(50) {
                    Some(0)
                } else {
                    None
                };
                End::Reply(reply, date)
            }
        };
        self.post(back, Message::End { to: from, end });
    }

    pub(super) fn end(&mut self, to: Sender, end: End) {
        let process = to.process;
        let Some(running) = self.take_running(to) else {
            // Its time was up. A host that still hears of it says so: a refresh token in it must not be lost.
            if matches!(end, End::Reply(..)) {
                let late = self.processes[process].late.iter().find(|late| late.op == to.op).cloned();
                self.learn_tokens(process, &end, late.as_ref().map(|late| &late.what));
                let event = self.received(to, &end);
                self.tell(process, || format!("{} late: {end:?}", to.op), event);
            }
            return;
        };
        if let Kind::Revocation { owner } = running.what {
            self.processes[process].revoked[owner] = self.now;
        }
        if let Kind::Token { owner, want, refresh, .. } = running.what {
            let (passing, asked) = match &end {
                End::Reply(..) => (None, None),
                End::Status { status, pause, error } => {
                    let asked = pause.map(|seconds| seconds * 1_000);
                    (Some(!*error && matches!(status, 408 | 429 | 500..=599)), asked)
                }
                End::Garbage => (Some(false), None),
                End::NotSent | End::MaybeSent => (Some(true), None),
            };
            if let Some(passing) = passing {
                let refused = matches!(end, End::Status { error: true, .. });
                self.failed_attempt(process, want, Failure { passing, refused, asked }, refresh);
            }
            if let Some(token) = refresh {
                self.clear_up(owner, token, &end);
            }
        }
        self.learn_tokens(process, &end, Some(&running.what));
        let well = matches!(end, End::Reply(..));
        match end {
            End::NotSent => {
                self.tell(
                    process,
                    || format!("{} not sent", to.op),
                    Event::Failed { op: to.op, kind: FailureKind::NotSent },
                );
            }
            End::MaybeSent => {
                let kind = FailureKind::MaybeSent;
                self.tell(process, || format!("{} maybe sent", to.op), Event::Failed { op: to.op, kind });
            }
            _ => {
                let event = self.received(to, &end);
                self.tell(process, || format!("{} answered: {end:?}", to.op), event);
            }
        }
        if !well {
            self.forget_failure(process);
        }
    }

    /// Whether the fate of a refresh token is known after this end of its request.
    fn clear_up(&mut self, owner: usize, token: usize, end: &End) {
        let unclear = self.memory.unclear.entry(token).or_default();
        match end {
            End::Reply(..) | End::Status { error: true, .. } => *unclear = 0,
            End::NotSent | End::Status { status: 429 | 503, .. } => *unclear = unclear.saturating_sub(1),
            End::Status { .. } | End::MaybeSent => self.excuse(owner, "the fate of a request is not known"),
            // After an answer that is none the refresh token is kept, and may be counted as sent.
            End::Garbage => {
                *unclear = unclear.saturating_sub(1);
                self.excuse(owner, "an answer was none");
            }
        }
    }

    /// Takes note of who has which tokens.
    fn learn_tokens(&mut self, process: usize, end: &End, what: Option<&Kind>) {
        let End::Reply(Reply::Tokens { access, refresh, life }, _) = end else { return };
        let me = &mut self.processes[process];
        let owner = self.authority.access[*access].owner;
        let want = self.plan.want_of(owner, self.authority.access[*access].scope.is_some());
        if let Some(token) = refresh {
            me.knows[owner] = me.knows[owner].max(Some(*token));
            self.memory.received.insert(*token);
        }
        // A refresh token that brought one token may bring the others.
        let others = (0..self.plan.wants).filter(|other| self.plan.owner(*other) == owner);
        others.for_each(|other| me.attempts[other].row = 0);
        let (wall, boot, at) = match what {
            Some(Kind::Token { wall, boot, at, .. }) => (*wall, *boot, *at),
            _ => (me.wall, me.boot, self.now),
        };
        if self.memory.fetched.insert(*access, (process, me.incarnation, wall, boot)).is_some() {
            // Nobody asked for a token that is there already; and the server has the last word about one that was put out of use.
            me.attempts[want].failed += 1;
            self.memory.dropped.remove(access);
            self.memory.troubles += 1;
        }
        self.memory.arrived.insert(*access, self.now);
        // A life is counted from the start of the request.
        if life.is_some_and(|life| at + life <= self.now) {
            self.memory.dead.insert(*access, ());
            me.attempts[want].failed += 1;
        }
    }

    fn received(&self, to: Sender, end: &End) -> Event {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let (status, body) = match end {
            End::Reply(Reply::Tokens { access, refresh, life }, date) => {
                if let Some(wrong_by) = date {
                    headers.push(("date".to_owned(), http_date(self.now + wrong_by)));
                }
                let life = life.map(|life| format!(r#","expires_in":{}"#, life / 1_000)).unwrap_or_default();
                let refresh =
                    refresh.map(|token| format!(r#","refresh_token":"{}""#, refresh_text(token))).unwrap_or_default();
                (200, format!(r#"{{"access_token":"{}","token_type":"Bearer"{life}{refresh}}}"#, access_text(*access)))
            }
            End::Reply(..) => (200, "{}".to_owned()),
            End::Status { status, pause, error } => {
                if let Some(seconds) = pause {
                    headers.push(("retry-after".to_owned(), seconds.to_string()));
                }
                (*status, if *error { r#"{"error":"invalid_grant"}"#.to_owned() } else { "{}".to_owned() })
            }
            End::Garbage | End::NotSent | End::MaybeSent => (200, r#"{"nothing":true}"#.to_owned()),
        };
        Event::Received(Received { op: to.op, status, headers, body: body.into_bytes() })
    }
}

/// Commands to the store.
impl World<'_> {
    pub(super) fn ask_store(&mut self, from: Sender, key: Key, command: Command) {
        if let Some(result) = self.mutated_store(&command) {
            return self.post(0, Message::Stored { to: from, result });
        }
        let mut weather = StoreWeather::Fair;
        let mut delay = self.moment();
        if self.order_by == Order::Chance && !self.healed {
            if self.store_down_until > self.now {
                self.trouble_store();
                if self.dice.chance(70) {
                    self.post(delay, Message::Stored { to: from, result: StoreAnswer::Down });
                }
                return;
            }
            if self.store_slow_until > self.now && self.dice.chance(70) {
                self.trouble_store();
                delay += self.dice.pick(&[300, 999, 1_001, 4_000, 30_000]);
            }
            if self.chance(Fault::StoreUnknown, 15) {
                self.trouble_store();
                let told = self.dice.chance(60);
                if self.dice.chance(40) {
                    // Not even carried out.
                    if told {
                        self.post(delay, Message::Stored { to: from, result: unsure(&command) });
                    }
                    return;
                }
                weather = StoreWeather::AnswerLost { told };
            }
        }
        self.post(delay, Message::Command { from, key, command, weather });
    }

    fn trouble_store(&mut self) {
        self.memory.store_trouble = true;
        self.memory.troubles += 1;
    }

    /// What a policy that makes a certain mistake would see in place of the store's answer.
    fn mutated_store(&self, command: &Command) -> Option<StoreAnswer> {
        match (self.mutant?, command) {
            (Mutant::SkipsTheStore, Command::Load) => Some(StoreAnswer::None),
            (Mutant::SkipsTheStore, Command::Lock { ttl: 1.., .. }) => Some(StoreAnswer::Locked(None)),
            (Mutant::SkipsTheStore, _) | (Mutant::SavesNothing, Command::Save { .. }) => Some(StoreAnswer::Ok),
            _ => None,
        }
    }

    pub(super) fn command(&mut self, from: Sender, key: Key, command: &Command, weather: StoreWeather) {
        let owner = self.owner_of(key);
        let before = self.store.record(key).cloned();
        let mut command = command.clone();
        if let (Some(Mutant::StripsExpect), Command::Save { expect, .. }) = (self.mutant, &mut command) {
            expect.clone_from(&before);
        }
        let mut result = match (self.mutant, &command) {
            (Some(Mutant::LocksNothing), Command::Lock { .. }) => StoreAnswer::Locked(before.clone()),
            _ => self.store.carry_out(key, &command, self.now),
        };
        if let (Some(Mutant::IgnoresHeld), StoreAnswer::Held(_, record)) = (self.mutant, &result) {
            result = StoreAnswer::Locked(record.clone());
        }
        self.note(|| format!("store <- {command:?} of p{} -> {result:?}", from.process));
        invariants::store_wrote(self, from.process, owner, &command, &result, before.as_deref());
        if let (Command::Save { .. }, StoreAnswer::Ok) = (&command, &result) {
            self.spread(from.process, key);
        }
        let delay = self.moment();
        match weather {
            StoreWeather::Fair => self.post(delay, Message::Stored { to: from, result }),
            StoreWeather::AnswerLost { told: true } => {
                self.post(delay, Message::Stored { to: from, result: unsure(&command) });
            }
            StoreWeather::AnswerLost { told: false } => {}
        }
    }

    /// Tells the others that a record was written.
    fn spread(&mut self, writer: usize, key: Key) {
        if self.budget.is_some_and(|budget| !budget.messages) {
            return;
        }
        for process in (0..self.processes.len()).filter(|process| *process != writer) {
            if self.chance(Fault::Messages, 30) {
                continue;
            }
            let copies = if self.chance(Fault::Messages, 20) { 2 } else { 1 };
            for _ in 0..copies {
                let delay = self.moment();
                let delay = if self.chance(Fault::Messages, 20) { delay + self.dice.between(0, 30_000) } else { delay };
                let incarnation = self.processes[process].incarnation;
                self.post(delay, Message::Changed { process, incarnation, key: Some(key) });
            }
        }
    }

    pub(super) fn stored(&mut self, to: Sender, result: StoreAnswer) {
        if self.take_running(to).is_none() {
            return;
        }
        let boot = self.now + self.processes[to.process].boot;
        let secret = |text: Rc<str>| Secret::new(&*text);
        let told = match result.clone() {
            StoreAnswer::Ok => StoreResult::Ok,
            StoreAnswer::None => StoreResult::None,
            StoreAnswer::Record(record) => StoreResult::Record(secret(record)),
            StoreAnswer::Locked(record) => StoreResult::Locked { record: record.map(secret) },
            StoreAnswer::Held(rest, record) => StoreResult::Held { retry_at: boot + rest, record: record.map(secret) },
            StoreAnswer::Conflict(record) => StoreResult::Conflict { record: record.map(secret) },
            StoreAnswer::Down => StoreResult::Down,
            StoreAnswer::Unknown => StoreResult::Unknown,
        };
        self.tell(to.process, || format!("{} stored: {result:?}", to.op), Event::Stored { op: to.op, result: told });
    }
}

/// What a host makes of an answer that did not come.
fn unsure(command: &Command) -> StoreAnswer {
    match command {
        Command::Save { .. } | Command::Lock { .. } => StoreAnswer::Unknown,
        Command::Load => StoreAnswer::Down,
    }
}

pub(super) fn translated(command: StoreCommand) -> Command {
    match command {
        StoreCommand::Load => Command::Load,
        StoreCommand::Lock { owner, ttl } => Command::Lock { owner: owner.into(), ttl },
        StoreCommand::Save { expect, record, ttl, unlock } => Command::Save {
            expect: expect.map(|expect| expect.expose().into()),
            record: record.expose().into(),
            ttl,
            unlock: unlock.map(Into::into),
        },
    }
}

/// An instant as HTTP's `Date` has it (RFC 9110 section 5.6.7).
fn http_date(millis: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = millis.div_euclid(1_000);
    let days = seconds.div_euclid(86_400);
    let time = seconds.rem_euclid(86_400);
    // Days since 1 March of the year 0, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 2 } else { month - 10 };
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let name = |names: &'static [&'static str], at: i64| names[usize::try_from(at).unwrap_or_default() % names.len()];
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&WEEKDAYS, days.rem_euclid(7)),
        name(&MONTHS, month),
        time / 3_600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::http_date;

    #[test]
    fn a_date_is_written_as_http_has_it() {
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_709_164_800_000), "Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(http_date(1_800_000_000_000), "Fri, 15 Jan 2027 08:00:00 GMT");
    }
}
