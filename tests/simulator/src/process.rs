//! One process of the fleet: a core, the shell around it, and what the shell remembers.

use std::collections::BTreeMap;
use std::rc::Rc;

use remint::cache::Key;
use remint::event::Want;
use remint::step::{Call, FlightId, OpId};
use remint::{Config, Core, Entropy, Event, Lease, Now, Step};

use crate::plan::Plan;

/// How many callers a process has at once.
pub const CALLERS: usize = 3;

/// A caller who waits.
#[derive(Clone, Debug)]
pub struct Caller {
    pub want: usize,
    pub min_ttl: i64,
    pub force: bool,
    pub call: Option<Call>,
    /// On the boot clock.
    pub deadline: i64,
    /// What it waits for.
    pub flight: Option<FlightId>,
    /// On the boot clock.
    pub until: i64,
    /// Tells this wait from earlier ones of the same caller.
    pub stamp: u64,
    pub rounds: u32,
    /// What the process had sent, and what had failed, when the question was put.
    pub sent: u32,
    pub failed: u32,
    /// How many tokens had been taken out of use by then, anywhere, and how many had been insisted on, here.
    pub dropped: usize,
    pub forced: usize,
    /// When its flight was settled.
    pub settled: Option<i64>,
    /// It belongs to the last questions, which must be answered well.
    pub last: bool,
}

/// An operation without an end.
#[derive(Clone, Debug)]
pub struct Running {
    pub op: OpId,
    pub flight: FlightId,
    pub until: i64,
    pub what: Kind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    Token { owner: usize, want: usize, refresh: Option<usize>, wall: i64, boot: i64, at: i64 },
    Revocation { owner: usize },
    Store,
    Rotated { owner: usize, token: usize },
}

/// What is remembered about attempts for one wish, for the sake of the pauses between them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    /// How many callers insisted on another token than the one in hand.
    pub forced: usize,
    pub sent: u32,
    pub failed: u32,
    /// Failures of one kind in a row.
    pub row: u32,
    pub passing: bool,
    /// The server has refused the refresh token itself.
    pub refused: bool,
    /// When the last one failed, on the boot clock, and what the server asked for.
    pub at: i64,
    pub asked: Option<i64>,
    pub refresh: Option<usize>,
}

pub struct Process {
    pub core: Option<Core>,
    pub incarnation: u32,
    /// How far its clocks are ahead of true time. The boot clock starts anywhere.
    pub wall: i64,
    pub boot: i64,
    /// It handles nothing until then.
    pub stopped_until: i64,
    pub closed: bool,
    pub running: Vec<Running>,
    pub callers: [Option<Caller>; CALLERS],
    pub leases: Vec<Option<Lease>>,
    /// Flights that began while somebody was given a token, and its key.
    pub aside: BTreeMap<FlightId, Key>,
    /// The last token of each wish that was seen here, and its generation.
    pub seen: Vec<Option<(usize, u64)>>,
    /// The call that each wish's last token was handed out for.
    pub calls: Vec<Option<Call>>,
    pub attempts: Vec<Attempts>,
    /// The names by which it took its last leases, by key.
    pub names: Vec<(Key, Rc<str>)>,
    /// Its clocks, less true time, when a token was last taken out of the store, by wish.
    pub adopted: Vec<Option<(i64, i64)>>,
    /// Whether the shell's boot clock has missed time since it began.
    pub missed: bool,
    /// It has been stopped since it began.
    pub was_stopped: bool,
    /// Everything that its core was told, for a child that begins with the same memory.
    pub history: Option<Vec<(Event, Now, Entropy)>>,
    /// How many events its core was told.
    pub told: u64,
    /// A digest of everything that its core was told.
    pub digest: u64,
    /// The newest refresh token that it knows, by owner.
    pub knows: Vec<Option<usize>>,
    /// When it last revoked a session, by owner: nobody waits for requests that were out then.
    pub revoked: Vec<i64>,
    /// Its last write of a record, by owner.
    pub wrote: Vec<u64>,
    /// When each flight had its first operation.
    pub began: BTreeMap<FlightId, i64>,
    /// Token requests that were given up: they may be answered late.
    pub late: Vec<Running>,
}

impl Process {
    pub fn new(wants: usize, owners: usize) -> Self {
        Self {
            core: None,
            incarnation: 0,
            wall: 0,
            boot: 0,
            stopped_until: i64::MIN,
            closed: false,
            running: Vec::new(),
            callers: Default::default(),
            leases: (0..wants).map(|_| None).collect(),
            aside: BTreeMap::new(),
            seen: vec![None; wants],
            calls: vec![None; wants],
            attempts: vec![Attempts::default(); wants],
            names: Vec::new(),
            adopted: vec![None; wants],
            missed: false,
            was_stopped: false,
            history: None,
            told: 0,
            digest: 0,
            knows: vec![None; owners],
            revoked: vec![i64::MIN; owners],
            wrote: vec![0; owners],
            began: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// Whether something is under way that a refresh token of this owner's may be lost with.
    pub fn is_busy_for(&self, owner: usize) -> bool {
        self.running.iter().any(|running| match running.what {
            Kind::Token { owner: other, .. } | Kind::Rotated { owner: other, .. } => other == owner,
            // Perhaps what came was about to be saved.
            Kind::Store => true,
            Kind::Revocation { .. } => false,
        })
    }

    pub fn now(&self, now: i64) -> Now {
        Now { wall: now + self.wall, boot: now + self.boot }
    }

    /// Begins with an empty memory.
    pub fn begin(&mut self, config: &Config, keeps_history: bool) {
        self.end();
        self.core = Some(Core::new(config.clone()));
        self.history = keeps_history.then(Vec::new);
        self.closed = false;
        self.missed = false;
        self.was_stopped = false;
    }

    /// Ends without a word.
    pub fn end(&mut self) {
        self.core = None;
        self.incarnation += 1;
        self.running.clear();
        self.callers = Default::default();
        self.leases.iter_mut().for_each(|lease| *lease = None);
        self.aside.clear();
        self.seen.iter_mut().for_each(|seen| *seen = None);
        self.calls.iter_mut().for_each(|call| *call = None);
        self.attempts.iter_mut().for_each(|attempts| *attempts = Attempts::default());
        self.adopted.iter_mut().for_each(|adopted| *adopted = None);
        self.knows.iter_mut().for_each(|known| *known = None);
        self.names.clear();
        self.began.clear();
        self.late.clear();
        self.told = 0;
        self.digest = 0;
    }

    /// The child of a fork: the same memory, and nothing of what is under way.
    pub fn become_child_of(&mut self, parent: &Self, config: &Config) {
        self.begin(config, true);
        let mut core = Core::new(config.clone());
        for (event, now, entropy) in parent.history.iter().flatten() {
            let _: Step = core.handle(event.clone(), *now, entropy);
        }
        self.core = Some(core);
        self.history.clone_from(&parent.history);
        (self.wall, self.boot) = (parent.wall, parent.boot);
        self.seen.clone_from(&parent.seen);
        self.adopted.clone_from(&parent.adopted);
        self.knows.clone_from(&parent.knows);
        self.attempts.clone_from(&parent.attempts);
        if !parent.running.is_empty() {
            // Perhaps what failed was still being looked into.
            self.attempts.iter_mut().for_each(|attempts| attempts.row = 0);
        }
        self.missed = parent.missed;
        self.was_stopped = parent.was_stopped;
    }

    pub fn waiting(&self) -> usize {
        self.callers.iter().flatten().count()
    }
}

/// The wish with this number.
pub fn want(plan: &Plan, want: usize) -> Want {
    if plan.rotating {
        let scope = (plan.views && want % 2 == 1).then(|| vec!["a".to_owned()]);
        Want { subject: Some(format!("u{}", plan.owner(want))), scope, resource: None }
    } else {
        Want { subject: None, scope: Some(vec![format!("s{want}")]), resource: None }
    }
}
