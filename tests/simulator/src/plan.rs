//! What a schedule is about, drawn from its seed before anything happens.

use crate::dice::Dice;

/// How the authority treats a refresh token that it has replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reuse {
    /// It revokes the whole family.
    Strict,
    /// For so long after the first use it gives the successor once more; then it revokes the family.
    Grace(i64),
    /// It replaces none.
    NoRotation,
}

/// What the fleet shares.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sharing {
    /// Nothing: every process is alone.
    Alone,
    /// A store whose records hold plain secrets.
    Plain,
    /// A store whose records are encrypted.
    Sealed,
}

/// A kind of thing that may go wrong, or that a program may do. One bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Fault {
    /// 429, 503, 500, 502, 504 and answers that are none.
    Server,
    /// Requests and answers that get lost.
    Loss,
    /// Answers that take seconds, some of them longer than the request's timeout.
    Slow,
    /// The `Date` header is wrong.
    Date,
    /// The store is away for a while.
    StoreDown,
    /// The store takes longer than its timeout now and then.
    StoreSlow,
    /// The answer to a command is lost after it was carried out.
    StoreUnknown,
    /// The store loses its last writes.
    Failover,
    /// The store loses everything.
    Flush,
    /// The store loses a key.
    Evict,
    /// Records are truncated, swapped, or of a later version.
    Forge,
    /// The store's clock jumps.
    StoreClock,
    /// Messages of a change are late, lost or repeated.
    Messages,
    /// Wall clocks differ, and jump.
    Clocks,
    /// Processes are stopped for a while.
    Pause,
    /// Machines sleep, and some clocks with them.
    Suspend,
    /// Processes end between any two events.
    Crash,
    Fork,
    Close,
    /// Callers go away.
    Cancel,
    /// APIs refuse tokens.
    Reject,
    Invalidate,
    Revoke,
    /// Callers insist on a new token.
    Force,
    /// Callers want life left.
    MinTtl,
    /// Answers without a lifetime, or with none left.
    OddLife,
    /// The server gives the token again that it gave before, as long as that is good.
    SameToken,
}

impl Fault {
    const ALL: [Self; 27] = [
        Self::Server,
        Self::Loss,
        Self::Slow,
        Self::Date,
        Self::StoreDown,
        Self::StoreSlow,
        Self::StoreUnknown,
        Self::Failover,
        Self::Flush,
        Self::Evict,
        Self::Forge,
        Self::StoreClock,
        Self::Messages,
        Self::Clocks,
        Self::Pause,
        Self::Suspend,
        Self::Crash,
        Self::Fork,
        Self::Close,
        Self::Cancel,
        Self::Reject,
        Self::Invalidate,
        Self::Revoke,
        Self::Force,
        Self::MinTtl,
        Self::OddLife,
        Self::SameToken,
    ];

    fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// The faults of a schedule.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Faults(u32);

impl Faults {
    pub fn of(faults: &[Fault]) -> Self {
        Self(faults.iter().fold(0, |bits, fault| bits | fault.bit()))
    }

    pub fn has(self, fault: Fault) -> bool {
        self.0 & fault.bit() != 0
    }

    pub fn any(self, faults: &[Fault]) -> bool {
        faults.iter().any(|fault| self.has(*fault))
    }

    /// Nothing but these.
    pub fn only(self, faults: &[Fault]) -> bool {
        self.0 & !Self::of(faults).0 == 0
    }

    pub fn names(self) -> String {
        let names = Fault::ALL.iter().filter(|fault| self.has(**fault)).map(|fault| format!("{fault:?}"));
        names.collect::<Vec<_>>().join(" ")
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    /// A person's rotating refresh token; client credentials otherwise.
    pub rotating: bool,
    pub reuse: Reuse,
    pub sharing: Sharing,
    pub processes: usize,
    /// Wishes that differ.
    pub wants: usize,
    /// A token's life, in milliseconds.
    pub life: i64,
    pub faults: Faults,
    /// Whether every person has a second wish, with another scope and the same refresh token.
    pub views: bool,
    /// How much is done from outside before everything heals.
    pub acts: u32,
    /// Every process is given the first refresh token by its own database; otherwise only the first process is.
    pub all_adopt: bool,
    /// The host's database is told of every new refresh token.
    pub on_rotated: bool,
    /// Whether a refresh may run beside its caller.
    pub aside: bool,
    /// Whether Debug texts are searched for secrets, which takes long.
    pub looks_at_debug: bool,
}

impl Plan {
    pub fn draw(dice: &mut Dice) -> Self {
        let rotating = dice.chance(55);
        let reuse = match dice.below(10) {
            0..=5 => Reuse::Strict,
            6..=8 => Reuse::Grace(dice.pick(&[10_000, 60_000])),
            _ => Reuse::NoRotation,
        };
        let sharing = match dice.below(20) {
            0..=2 => Sharing::Alone,
            3..=11 => Sharing::Plain,
            _ => Sharing::Sealed,
        };
        // A fifth of all schedules is calm, a fifth is stormy, and the rest has a few faults at a time, which alone can be told apart.
        let likely = match dice.below(5) {
            0 => 0,
            1 => 45,
            _ => 12,
        };
        let mut faults = Fault::ALL
            .into_iter()
            .filter(|fault| *fault != Fault::SameToken && dice.chance(likely))
            .collect::<Vec<_>>();
        // Whose clock a token's life is counted by could not be told any more.
        let unclear = [Fault::Clocks, Fault::Suspend, Fault::Pause, Fault::Date, Fault::OddLife];
        // With dice of its own, so that all other schedules are what they were before.
        let mut aside = dice.clone();
        if !rotating && !Faults::of(&faults).any(&unclear) && aside.chance(10) {
            faults.push(Fault::SameToken);
        }
        // Alone, a refresh token belongs to one process: that is what users without a store are told.
        let processes = if rotating && sharing == Sharing::Alone { 1 } else { dice.pick(&[1, 2, 2, 3, 3, 4, 6]) };
        Self {
            rotating,
            reuse,
            sharing,
            processes,
            wants: dice.pick(&[1, 1, 2, 3]),
            life: dice.pick(&[1_000, 5_000, 30_000, 60_000, 300_000, 3_600_000, 3_600_000]),
            faults: Faults::of(&faults),
            views: rotating,
            acts: u32::try_from(dice.between(8, 40)).unwrap_or_default(),
            all_adopt: dice.chance(50),
            on_rotated: dice.chance(25),
            aside: dice.chance(80),
            looks_at_debug: dice.chance(10),
        }
    }

    /// Whose refresh token a wish needs.
    pub fn owner(&self, want: usize) -> usize {
        if self.views { want / 2 } else { want }
    }

    /// The wish that a request is for: the one without a scope of its own, or the other one.
    pub fn want_of(&self, owner: usize, has_scope: bool) -> usize {
        let want = self.first_want(owner) + usize::from(self.views && has_scope);
        if want < self.wants { want } else { self.first_want(owner) }
    }

    /// The first wish of an owner: with a person, the one without a scope of its own.
    pub fn first_want(&self, owner: usize) -> usize {
        if self.views { owner * 2 } else { owner }
    }

    pub fn owners(&self) -> usize {
        self.owner(self.wants.saturating_sub(1)) + 1
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }
}
