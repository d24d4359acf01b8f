//! What must hold in every schedule: twelve invariants and one about progress. Each function says precisely what is claimed, and
//! what excuses it.
//!
//! The functions judge what the world has seen; they never look into a core.

use std::collections::{BTreeMap, BTreeSet};

use remint::step::FlightId;
use remint::{Error, ErrorCode, Lease};

use crate::authority::CANARY;
use crate::plan::{Fault, Sharing};
use crate::process::{Attempts, Caller, Kind};
use crate::sealed;
use crate::store::{Command, Result};
use crate::world::World;

/// The invariants by their numbers in the list of the project's standards.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Invariant {
    /// Life left.
    I1,
    /// One request.
    I2,
    /// Replaced refresh tokens.
    I3,
    /// The session.
    I4,
    /// Dropped tokens.
    I5,
    /// Generations.
    I6,
    /// Keys.
    I7,
    /// Cancellation.
    I8,
    /// Pauses, and success after them.
    I9,
    /// Requests per lifetime.
    I10,
    /// Loops.
    I11,
    /// Secrets.
    I12,
    /// Every caller's wait ends, and no schedule goes on for ever.
    Progress,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
        Self::I12,
        Self::Progress,
    ];

    /// In one line.
    pub fn title(self) -> &'static str {
        match self {
            Self::I1 => "no token is handed out with less life than asked for",
            Self::I2 => "one request at a time for each key",
            Self::I3 => "no replaced refresh token is sent, and none without the lease",
            Self::I4 => "the session survives, or somebody is told why not",
            Self::I5 => "what was invalidated or rejected does not come back",
            Self::I6 => "generations never go back",
            Self::I7 => "no token for another key",
            Self::I8 => "whoever goes away takes nobody along",
            Self::I9 => "failures are followed by pauses, and healing by success",
            Self::I10 => "one request per lifetime for a whole fleet",
            Self::I11 => "no call loops",
            Self::I12 => "no secret in a notice, an error, a Debug text or an encrypted record",
            Self::Progress => "everybody gets an answer",
        }
    }
}

/// Where an invariant did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
}

/// How a token was handed out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// By the core.
    Core,
    /// By the shell, out of a lease.
    Lease,
}

/// A token that was taken out of use.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    pub process: usize,
    pub incarnation: u32,
    pub at: i64,
}

/// What the invariants remember.
#[derive(Debug, Default)]
pub struct Memory {
    /// Who fetched each access token, and how far their clocks were ahead at the start of the request: wall, boot.
    pub fetched: BTreeMap<usize, (usize, u32, i64, i64)>,
    /// When each access token arrived.
    pub arrived: BTreeMap<usize, i64>,
    /// Access tokens that had run out when they arrived.
    pub dead: BTreeMap<usize, ()>,
    pub dropped: BTreeMap<usize, Dropped>,
    /// Refresh tokens that are out: sent, and not clearly answered to a process that lives.
    pub unclear: BTreeMap<usize, u32>,
    /// Refresh tokens that a process was given.
    pub received: BTreeSet<usize>,
    /// How many processes ended by themselves.
    pub deaths: u32,
    /// The newest refresh token in the store, by owner, and since which write.
    pub durable: Vec<Option<usize>>,
    pub durable_since: Vec<u64>,
    /// How many writes the store has carried out.
    pub writes: u64,
    /// Something happened after which a session may be lost, by owner.
    pub excused: Vec<Option<&'static str>>,
    /// The store has been away, late, or unsure.
    pub store_trouble: bool,
    /// The store has lost or changed what it was given.
    pub store_lost: bool,
    /// Something went wrong that a caller may be told of.
    pub troubles: u32,
    /// How far apart the wall clocks of the schedule have been.
    pub skew: (i64, i64),
}

/// I1. A token that is handed out has at least `min_ttl` (and some) true life left, less what the clocks of those who handled
/// it made them lose: for a token that this process fetched itself, the *smaller* of what its two clocks lost since the request
/// (either one decides, so both have to be wrong); for a token out of the store, what the reader's wall clock was behind the
/// writer's when it was taken over (twice, for either may have been set since it heard the server's `Date`), and then again the smaller of two.
///
/// Excused: a token that was dead when it arrived, or while it was saved, is handed once to those who waited for it; one who
/// waited for a flight gets its token if it was good when it came, three seconds ago at the most (or what the host's own database
/// takes to save a refresh token); a wrong `Date` header excuses tokens out of the store,
/// even of one's own that went there and came back.
pub fn i1_life_left(world: &World, process: usize, token: usize, min_ttl: i64, settled: Option<i64>) -> Option<String> {
    let memory = &world.memory;
    let issued = world.authority.access.get(token)?;
    let me = &world.processes[process];
    if memory.dead.contains_key(&token) || issued.odd {
        return None;
    }
    let &(fetcher, incarnation, wall, boot) = memory.fetched.get(&token)?;
    let is_from_store = world.plan.has(Fault::Date) && me.adopted.iter().any(Option::is_some);
    let lost = if fetcher == process && incarnation == me.incarnation && !is_from_store {
        (wall - me.wall).max(0).min((boot - me.boot).max(0))
    } else {
        let (wall_then, boot_then) = me.adopted.iter().flatten().next_back().copied().unwrap_or((me.wall, me.boot));
        // What a process knows of the server's clock is wrong by as much as its own was set since: the writer's and the reader's.
        let apart = 2 * (memory.skew.1 - memory.skew.0);
        let dated = if world.plan.has(Fault::Date) { i64::MAX / 4 } else { 1_000 };
        apart.saturating_add((wall_then - me.wall).max(0).min((boot_then - me.boot).max(0))).saturating_add(dated)
    };
    // What a save, and the host's own database, may take; and as long as the process stood still meanwhile.
    let patience = match (me.was_stopped, world.plan.on_rotated) {
        (true, _) => i64::MAX / 4,
        (false, true) => 13_000,
        (false, false) => 3_000,
    };
    let late = settled.map_or(0, |settled| {
        let arrived = memory.arrived.get(&token).copied().unwrap_or(settled);
        (world.now - arrived.min(settled)).clamp(0, patience)
    });
    let left = issued.expires - world.now;
    (left.saturating_add(lost).saturating_add(late) < min_ttl.max(1))
        .then(|| format!("at-{token} has {left} ms left, {min_ttl} ms were asked for, and the clocks lost {lost} ms"))
}

/// I2. A process has at most one token request of a key in flight, always, but for one whose session it has revoked. With client credentials and a store, the fleet has
/// at most one more than leases of that key have run out by themselves.
///
/// Excused, for the fleet: a store that was away, late or unsure, or that lost something (fail open); a process that was stopped
/// while it waited for the lock, and waits no longer; one that has waited for as long as two leases last.
pub fn i2_one_request(world: &World, process: usize, owner: usize, flight: FlightId) -> Option<String> {
    let of = |process: usize| {
        let me = &world.processes[process];
        let is_same = |kind: &Kind| matches!(kind, Kind::Token { owner: other, at, .. } if *other == owner && *at > me.revoked[owner]);
        let in_time = |until: i64| until > world.now + me.boot;
        me.running.iter().filter(|running| in_time(running.until) && is_same(&running.what)).count()
    };
    if of(process) > 1 {
        return Some(format!("p{process} has {} token requests of one key in flight", of(process)));
    }
    let memory = &world.memory;
    if world.plan.rotating || world.plan.sharing == Sharing::Alone || memory.store_trouble || memory.store_lost {
        return None;
    }
    const TWO_LEASES: i64 = 44_000;
    let me = &world.processes[process];
    let waited = me.began.get(&flight).map_or(0, |began| world.now - began);
    if me.was_stopped || waited >= TWO_LEASES {
        return None;
    }
    let fleet: usize = (0..world.processes.len()).map(of).sum();
    let expired = world.store.expired.get(&world.keys[owner]).copied().unwrap_or_default() as usize;
    (fleet > 1 + expired)
        .then(|| format!("the fleet has {fleet} requests of one key in flight, and {expired} leases ran out"))
}

/// I3. When a process has a refresh token sent, the store holds no successor of it, and the process holds the record's lease.
///
/// Excused: a successor that was saved late, by one whose time was up or whose store was away, and after the process had written
/// that it was about to send; what the store has lost is not durable, and where somebody puts it back no lock is of use; a lease that the store lost, or that its jumping clock ended, or that a
/// boot clock that missed time believes in, is held in good faith. How long the request is under way after that is out of
/// anybody's hands.
pub fn i3_replaced(world: &World, process: usize, owner: usize, token: usize) -> Option<String> {
    if world.plan.sharing == Sharing::Alone {
        return None;
    }
    let memory = &world.memory;
    if let Some(durable) = memory.durable[owner] {
        let is_late = memory.durable_since[owner] > world.processes[process].wrote[owner];
        if world.authority.succeeds(token, durable) && !memory.store_lost && !is_late {
            return Some(format!("p{process} has rt-{token} sent, and the store holds its successor rt-{durable}"));
        }
    }
    let me = &world.processes[process];
    let in_good_faith = memory.store_lost || me.missed || world.plan.has(Fault::StoreClock);
    let key = world.keys[owner];
    let name = me.names.iter().find(|(known, _)| *known == key).map(|(_, name)| name);
    let holds = name.is_some_and(|name| world.store.holds(key, name, world.now));
    (!holds && !in_good_faith).then(|| format!("p{process} has rt-{token} sent without the lease"))
}

/// I4, first part. A refresh token whose fate is not known is sent again at most once, whichever process does it.
///
/// Excused: a store that lost or changed records, with the count that was in them.
pub fn i4_sent_again(world: &World, token: usize) -> Option<String> {
    let unclear = world.memory.unclear.get(&token).copied().unwrap_or_default();
    let excused = world.memory.store_lost || world.plan.sharing == Sharing::Alone;
    (unclear > 2 && !excused).then(|| format!("rt-{token} is sent for the {unclear}th time without a clear answer"))
}

/// I4, second part. In the end, when all has healed, whoever asks gets a token; and with a store the refresh token in it is the
/// last one that the authority issued. Or they are told that a person has to authorize again, and something happened that can
/// cost a session: an answer that nobody got, a request that was under way for too long, a store that lost what it had, or a
/// revocation that was asked for. After a store that was away, late or unsure, or two processes that died, they may be told that
/// it is ambiguous.
pub fn i4_survives(world: &World, owner: usize, end: std::result::Result<(), &Error>) -> Option<String> {
    let family = world.authority.family(owner)?;
    let excuse = world.memory.excused[owner];
    match end {
        Ok(()) => {
            let current = family.current;
            let stored = world.stored_refresh(owner);
            let differs = world.plan.sharing != Sharing::Alone && stored != Some(current);
            // What nobody was given nobody can store: whoever still has a good access token is served all the same.
            let is_known = excuse.is_none() || world.memory.received.contains(&current);
            // Nor does anybody need the last one of a session that was revoked.
            (differs && is_known && !family.revoked && !world.memory.store_lost)
                .then(|| format!("the last refresh token is rt-{current}, and the store holds {stored:?}"))
        }
        Err(error) => match error.code() {
            // A save whose answer was lost counts as one that was carried out, and the request after it as sent.
            ErrorCode::ReauthorizationRequired if error.is_ambiguous() && world.memory.store_trouble => None,
            // Two of them may have died after they wrote that they were about to send.
            ErrorCode::ReauthorizationRequired if error.is_ambiguous() && world.memory.deaths > 1 => None,
            ErrorCode::ReauthorizationRequired | ErrorCode::InvalidGrant if excuse.is_some() => None,
            ErrorCode::RecordRefused if world.plan.has(Fault::Forge) => None,
            code => Some(format!(
                "the session of u{owner} ends with `{}` (ambiguous: {}), the family is {}, and {}",
                code.as_str(),
                error.is_ambiguous(),
                if family.reused {
                    "revoked for reuse"
                } else if family.revoked {
                    "revoked"
                } else {
                    "alive"
                },
                excuse.unwrap_or("nothing happened that would explain it"),
            )),
        },
    }
}

/// I5. A token that was invalidated, or dropped because an API refused it, is never handed out again by that process. Another
/// process hands it out for at most the policy's `store_check` and five seconds more.
///
/// Excused, for others: a store that was away, late, unsure or lost something; processes that ended, were stopped or cut off
/// before their word was in the store; a wrong `Date`; a caller whose time is up before the store has answered, who gets what there is: its
/// own time, or half of what the token has left. And for all, a server that gives the same token again.
pub fn i5_dropped(world: &World, process: usize, token: usize, is_last_moment: bool) -> Option<String> {
    const CHECK: i64 = 60_000 + 5_000;
    let dropped = world.memory.dropped.get(&token).filter(|_| !world.plan.has(Fault::SameToken))?;
    let me = &world.processes[process];
    if dropped.process == process && dropped.incarnation == me.incarnation {
        return Some(format!("at-{token} was dropped here {} ms ago", world.now - dropped.at));
    }
    let memory = &world.memory;
    let excused = memory.store_trouble
        || memory.store_lost
        || is_last_moment
        || world.plan.sharing == Sharing::Alone
        || world.plan.faults.any(&[
            Fault::Crash,
            Fault::Pause,
            Fault::Suspend,
            Fault::Close,
            Fault::Fork,
            Fault::Clocks,
            // Whoever takes the record's token for one that has run out keeps their own.
            Fault::Date,
        ]);
    (!excused && world.now - dropped.at > CHECK)
        .then(|| format!("at-{token} was dropped by p{} {} ms ago", dropped.process, world.now - dropped.at))
}

/// I6. The generations that one process sees of one key never go back, and no write replaces a record by one of a lower
/// generation.
///
/// Excused: a store that lost or changed what it had.
pub fn i6_generation(world: &World, process: usize, want: usize, generation: u64) -> Option<String> {
    let (_, before) = world.processes[process].seen[want]?;
    (generation < before && !world.memory.store_lost)
        .then(|| format!("p{process} saw generation {before} and is given {generation}"))
}

/// The part of I6 that is about the store.
pub fn i6_record(world: &World, before: Option<&str>, record: &str) -> Option<String> {
    let (before, after) = (sealed::generation(before?)?, sealed::generation(record)?);
    (after < before && !world.memory.store_lost)
        .then(|| format!("generation {before} is replaced by {after} in the store"))
}

/// I7. A token that is handed out for a wish was issued for it: the same person, the same scope. No excuse.
pub fn i7_own_key(world: &World, want: usize, token: Option<usize>) -> Option<String> {
    let Some(token) = token.and_then(|token| Some((token, world.authority.access.get(token)?))) else {
        return Some("the authority never issued this token".to_owned());
    };
    let (number, issued) = token;
    let owner = world.plan.owner(want);
    let scope = (!world.plan.rotating).then(|| format!("s{want}"));
    let differs = issued.owner != owner || scope.is_some() && issued.scope != scope;
    differs.then(|| format!("at-{number} was issued to owner {} and is handed out for wish {want}", issued.owner))
}

/// I8. Where nothing at all has gone wrong but that callers went away, nobody fails, but by their own deadline, by asking for
/// more life than there is, or by asking a client that was closed.
pub fn i8_no_company(world: &World, process: usize, error: &Error) -> Option<String> {
    let own_doing = [ErrorCode::Timeout, ErrorCode::MinTtlUnavailable, ErrorCode::Closed].contains(&error.code());
    let disturbed = world.memory.troubles > 0;
    // A person's grant that this process was never given.
    let unknown = world.plan.rotating && !world.plan.all_adopt && error.code() == ErrorCode::ReauthorizationRequired;
    (!own_doing && !disturbed && !unknown)
        .then(|| format!("a caller of p{process} fails with `{}`, and nothing has gone wrong", error.code().as_str()))
}

/// I9, first part. In one process, the nth attempt in a row that failed in one way is followed by a pause: after passing
/// failures of at least `100 · 2^(n−1)` ms, and of a minute at the most; of 100 ms while a token is still good; of what the
/// server asked for if it did. After terminal failures of `1000 · 2^(n−1)` ms, and of a minute at the most.
///
/// A refresh token that was refused as such pauses everything that it is good for.
///
/// Excused: another refresh token than the one that failed (the store's, or one that a person has just agreed to).
pub fn i9_pause(world: &World, process: usize, want: usize, refresh: Option<usize>) -> Option<String> {
    let me = &world.processes[process];
    // A refresh token that the server has refused is refused for everything that it was good for.
    let is_its = |attempts: &&Attempts| attempts.refused && attempts.refresh == refresh && attempts.row > 0;
    let refused = me.attempts.iter().find(is_its).copied();
    let attempts = refused.unwrap_or(me.attempts[want]);
    if attempts.row == 0 || attempts.refresh != refresh {
        return None;
    }
    let has_adopted_one = me.adopted[want].is_some();
    let is_good = |token: usize| {
        let issued = world.authority.access.get(token);
        issued.is_some_and(|issued| issued.owner == world.plan.owner(want) && issued.expires > world.now - 60_000)
    };
    let has_fetched_one = world.memory.fetched.iter().any(|(token, fetched)| fetched.0 == process && is_good(*token));
    let holds_one = has_adopted_one || has_fetched_one || me.seen[want].is_some_and(|(token, _)| is_good(token));
    let doubled = |first: i64| (first << (attempts.row - 1).min(16)).min(60_000);
    let least = match (attempts.passing, attempts.asked) {
        (true, Some(asked)) => asked,
        (true, None) if holds_one => 100,
        (true, None) => doubled(100),
        (false, _) => doubled(1_000),
    };
    let pause = world.now + me.boot - attempts.at;
    (pause < least).then(|| {
        format!(
            "p{process} sends again {pause} ms after {} failures in a row (passing: {})",
            attempts.row, attempts.passing
        )
    })
}

/// I9, second part. Once everything has healed, every question is answered well within a lease, the longest backoff and the
/// longest `Retry-After` of the schedule. (That a session may be lost for good is I4's business.)
///
/// Excused: `record_refused` where somebody forged records.
pub fn i9_success(world: &World, process: usize, error: &Error) -> Option<String> {
    // A record that is not believed stays until somebody deletes it.
    let is_forged = world.plan.has(Fault::Forge) && error.code() == ErrorCode::RecordRefused;
    (!is_forged).then(|| {
        format!("long after all has healed, p{process} fails with `{}`: {}", error.code().as_str(), error.message())
    })
}

/// I10. With client credentials and where nothing goes wrong, the authority's own count of token requests for a key is at most
/// one more than the lifetimes, less the margins, that have passed: for the whole fleet with a store, for each process without.
pub fn i10_requests(world: &World, owner: usize) -> Option<String> {
    const HARMLESS: [Fault; 2] = [Fault::Cancel, Fault::Messages];
    if world.plan.rotating || !world.plan.faults.only(&HARMLESS) {
        return None;
    }
    let life = world.plan.life;
    let lasts = life - (life / 4).min(300_000) - (life / 10).min(30_000);
    let fleet = if world.plan.sharing == Sharing::Alone { world.processes.len() } else { 1 };
    let most = (1 + world.elapsed() / lasts).unsigned_abs() * fleet as u64;
    let asked = world.authority.requests[owner];
    (asked > most).then(|| {
        format!(
            "{asked} token requests of one key in {} ms, at {life} ms a token: at most {most} are needed",
            world.elapsed()
        )
    })
}

/// I11. One call asks the core a bounded number of times, and meanwhile its process sends at most two token requests of its key
/// and one for each that failed. A token that is dead when it arrives counts like a failure, and so does one that was taken out
/// of use meanwhile (somebody else was refused by an API, or invalidated it), and one that somebody else insisted on, or that was
/// to have more life than half of what there is.
pub fn i11_no_loop(world: &World, process: usize, caller: &Caller) -> Option<String> {
    let attempts = world.processes[process].attempts[caller.want];
    let (sent, failed) = (attempts.sent.saturating_sub(caller.sent), attempts.failed.saturating_sub(caller.failed));
    let dropped = world.memory.dropped.len().saturating_sub(caller.dropped);
    let forced = attempts.forced.saturating_sub(caller.forced);
    // Whoever was stopped for an hour missed what others did meanwhile; and a clock that is set ends tokens.
    let is_steady = !world.processes[process].was_stopped && !world.plan.has(Fault::Clocks);
    if is_steady && sent as usize > 2 + failed as usize + dropped + forced {
        return Some(format!(
            "one call of p{process} went through {sent} token requests: {failed} failed, {dropped} tokens were dropped, {forced} forced"
        ));
    }
    (caller.rounds > 60).then(|| format!("one call of p{process} asked {} times", caller.rounds))
}

/// Progress. Nobody is told to wait for longer than their deadline, nor for a flight of another key.
pub fn progress_wait(world: &World, process: usize, caller: &Caller, flight: FlightId, until: i64) -> Option<String> {
    let me = &world.processes[process];
    if until > caller.deadline.max(world.now + me.boot) {
        return Some(format!("a caller of p{process} is told to wait until {until}, beyond {}", caller.deadline));
    }
    let others = me.callers.iter().flatten().find(|other| other.flight == Some(flight) && other.want != caller.want);
    others.map(|other| format!("{flight} of p{process} is for wish {} and for wish {}", caller.want, other.want))
}

/// I12. No secret is in a text that is shown to people or handed to a store that was to get encrypted records. Every secret of
/// the model has the canary in it.
pub fn i12_no_secret(text: &str, place: &str) -> Option<String> {
    text.contains(CANARY).then(|| format!("a secret is in {place}"))
}

/// What a save would put into the store.
pub fn i12_record(world: &World, command: &Command) -> Option<String> {
    match (command, world.plan.sharing) {
        (Command::Save { record, .. }, Sharing::Sealed) => i12_no_secret(record, "an encrypted record"),
        _ => None,
    }
}

/// Everything that has to be looked at when a token is handed out.
pub fn token_handed_out(world: &mut World, process: usize, caller: &Caller, lease: &Lease, way: Way) {
    let token = crate::authority::access_number(lease.token.access_token.expose());
    let settled = caller.settled.filter(|_| way == Way::Core);
    let is_woken_early = caller.flight.is_some() && caller.settled.is_none();
    let is_overdue = caller.deadline <= world.now + world.processes[process].boot;
    // Half of what it has left is no time to wait for the store.
    let ends = lease.token.expires.boot - world.processes[process].boot - world.now <= 100;
    let is_last_moment = way == Way::Core && (is_overdue || is_woken_early || ends);
    let found = i7_own_key(world, caller.want, token).map(|what| (Invariant::I7, what));
    let found = found.or_else(|| {
        let outlives = lease.recheck.boot > lease.token.expires.boot || lease.recheck.wall > lease.token.expires.wall;
        outlives.then(|| (Invariant::I1, "a lease is good for longer than its token".to_owned()))
    });
    let found = found.or_else(|| {
        let token = token?;
        i1_life_left(world, process, token, caller.min_ttl, settled)
            .map(|what| (Invariant::I1, what))
            .or_else(|| i5_dropped(world, process, token, is_last_moment).map(|what| (Invariant::I5, what)))
            .or_else(|| {
                i6_generation(world, process, caller.want, lease.token.generation).map(|what| (Invariant::I6, what))
            })
            .or_else(|| i11_no_loop(world, process, caller).map(|what| (Invariant::I11, what)))
    });
    if let Some((invariant, what)) = found {
        world.violate(invariant, what);
    }
}

/// Everything that has to be looked at when the store has carried out a command.
pub fn store_wrote(
    world: &mut World,
    process: usize,
    owner: Option<usize>,
    command: &Command,
    result: &Result,
    before: Option<&str>,
) {
    let (Command::Save { expect, record, .. }, Result::Ok) = (command, result) else { return };
    // Without `expect` there was none any more: it had outlived its use.
    if let Some(what) = i6_record(world, before.filter(|_| expect.is_some()), record) {
        world.violate(Invariant::I6, what);
    }
    world.memory.writes += 1;
    let write = world.memory.writes;
    if let Some(owner) = owner.filter(|_| world.plan.rotating) {
        world.processes[process].wrote[owner] = write;
        let stored = world.stored_refresh(owner);
        if stored != world.memory.durable[owner] {
            world.memory.durable_since[owner] = write;
        }
        world.memory.durable[owner] = stored;
    }
}
