//! One schedule from one number.

use crate::dice::Dice;
use crate::invariants::Violation;
use crate::mutant::Mutant;
use crate::plan::Plan;
use crate::setting::Settings;
use crate::world::World;

/// Plays schedules, one after the other.
#[derive(Default)]
pub struct Runner {
    settings: Settings,
    mutant: Option<Mutant>,
}

/// What came of a schedule.
#[derive(Debug)]
pub struct Outcome {
    /// What did not hold.
    pub violation: Option<Violation>,
    /// How many events there were.
    pub events: u64,
    /// What happened, if it was to be written down.
    pub trace: Vec<String>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("mutant", &self.mutant).finish_non_exhaustive()
    }
}

impl Runner {
    /// Plays with a mistake built in.
    #[must_use]
    pub fn with(mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..Self::default() }
    }

    /// Plays the schedule of a seed. The same seed gives the same schedule.
    pub fn play(&mut self, seed: u64, traced: bool) -> Outcome {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        let config = self.settings.of(&plan, self.mutant != Some(Mutant::WritesInTheClear));
        let mut world = World::new(plan, dice, config, self.mutant, traced);
        world.play();
        let mut trace = world.trace.take().unwrap_or_default();
        if traced {
            trace.insert(0, format!("{:?} faults: {}", world.plan, world.plan.faults.names()));
        }
        Outcome { violation: world.violation.take(), events: world.handled, trace }
    }
}
