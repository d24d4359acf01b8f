//! Every interleaving of a small story, not some of them: three callers in two processes, and what may befall them.
//!
//! Nothing takes time here but what waits for it: whenever nothing else is under way, the clock goes to the next timer. A path is
//! replayed from its beginning, since a core cannot be copied. Two paths that gave every core the same events, and left the
//! same messages, store and authority behind, are one state. What callers are about to ask in a process that nothing else can befall
//! by then comes first: in whatever order the other process goes on meanwhile, it comes to the same.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;

use crate::dice::Dice;
use crate::invariants::Violation;
use crate::plan::{Faults, Plan, Reuse, Sharing};
use crate::setting::Settings;
use crate::world::{Choice, World};

/// What a story has.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// What it is about, for people.
    pub name: &'static str,
    rotating: bool,
    /// How often each may happen: a failing request, a rejected token, a caller that goes away, a process that dies, the end of a
    /// token's life after which all callers ask again.
    fails: u8,
    rejects: u8,
    cancels: u8,
    crashes: u8,
    lives: u8,
    /// Whether the other process hears of what is written.
    messages: bool,
}

const NOTHING: Story =
    Story { name: "", rotating: false, fails: 0, rejects: 0, cancels: 0, crashes: 0, lives: 0, messages: false };
const FETCH: Story = Story { name: "fetch", ..NOTHING };
const REFRESH: Story = Story { name: "refresh", rotating: true, lives: 1, ..NOTHING };

/// The stories that are explored. In the last two the store tells the other process of what is written, which can come before
/// and after everything else.
pub const STORIES: [Story; 10] = [
    FETCH,
    Story { name: "fetch, fail and cancel", fails: 1, cancels: 1, ..FETCH },
    Story { name: "fetch and reject", rejects: 1, ..FETCH },
    Story { name: "fetch and crash", crashes: 1, ..FETCH },
    REFRESH,
    Story { name: "refresh, fail and cancel", fails: 1, cancels: 1, lives: 0, ..REFRESH },
    Story { name: "refresh and reject", rejects: 1, lives: 0, ..REFRESH },
    Story { name: "refresh and crash", crashes: 1, lives: 0, ..REFRESH },
    Story { name: "fetch, with messages", messages: true, ..FETCH },
    Story { name: "fetch and crash, with messages", crashes: 1, messages: true, ..FETCH },
];

/// What an exploration came to.
#[derive(Debug, Default)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// States in which nothing is left to happen.
    pub ends: usize,
    /// The longest path.
    pub depth: usize,
    /// Whether all there are were seen, or the bound was reached.
    pub whole: bool,
    /// The first thing that did not hold, and the way there.
    pub violation: Option<(Violation, Vec<String>)>,
}

impl Story {
    fn plan(&self) -> Plan {
        Plan {
            rotating: self.rotating,
            reuse: Reuse::Strict,
            sharing: Sharing::Plain,
            processes: 2,
            wants: 1,
            life: 3_600_000,
            views: false,
            faults: Faults::default(),
            acts: 0,
            all_adopt: true,
            on_rotated: false,
            aside: true,
            looks_at_debug: false,
        }
    }
}

/// Explores a story, depth first, up to so many states.
#[must_use]
pub fn explore(story: &Story, most: usize) -> Explored {
    let plan = story.plan();
    let mut settings = Settings::default();
    let config = settings.of(&plan, true);
    let mut seen = HashSet::new();
    let mut explored = Explored { whole: true, ..Explored::default() };
    // A path is the number of each choice; the states that it leads to are told apart by their digests.
    let mut open: Vec<Vec<u16>> = vec![Vec::new()];
    let replay = |path: &[u16], traced: bool| {
        let mut world = World::new(plan.clone(), Dice::new(0), config, None, traced);
        world.lay_out(story.budget());
        for choice in path {
            let choices = world.choices();
            world.choose(choices[usize::from(*choice)]);
        }
        world
    };
    'paths: while let Some(mut path) = open.pop() {
        let mut world = replay(&path, false);
        // It goes on from here with the last choice; the others are for later.
        loop {
            let choices: Vec<Choice> = if world.violation.is_some() { Vec::new() } else { world.choices() };
            if choices.is_empty() {
                world.conclude();
            }
            if world.violation.is_some() {
                let mut world = replay(&path, true);
                if choices.is_empty() && world.violation.is_none() {
                    world.conclude();
                }
                explored.violation =
                    world.violation.take().map(|violation| (violation, world.trace.take().unwrap_or_default()));
                break 'paths;
            }
            let mut hasher = DefaultHasher::new();
            world.digest(&mut hasher);
            if !seen.insert(hasher.finish()) {
                break;
            }
            explored.depth = explored.depth.max(path.len());
            explored.ends += usize::from(choices.is_empty());
            if seen.len() >= most {
                explored.whole = false;
                break 'paths;
            }
            let Some((last, others)) = choices.split_last() else { break };
            for number in 0..others.len() {
                let mut next = path.clone();
                next.push(u16::try_from(number).unwrap_or_default());
                open.push(next);
            }
            path.push(u16::try_from(others.len()).unwrap_or_default());
            world.choose(*last);
        }
    }
    explored.states = seen.len();
    explored
}

/// What may still happen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Budget {
    pub fails: u8,
    pub rejects: u8,
    pub cancels: u8,
    pub crashes: u8,
    pub lives: u8,
    pub messages: bool,
}

impl Story {
    fn budget(&self) -> Budget {
        let Self { fails, rejects, cancels, crashes, lives, messages, .. } = *self;
        Budget { fails, rejects, cancels, crashes, lives, messages }
    }
}
