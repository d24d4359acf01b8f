//! A lane: everything that one test has to itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use crate::faults::Rules;
use crate::grants::{Client, Grants};
use crate::record::Record;
use crate::settings::Layers;

pub struct Lane {
    pub grants: Grants,
    pub record: Record,
    pub rules: Rules,
    pub settings: Layers,
    /// How many requests a fault holds.
    pub held: u64,
}

impl Lane {
    fn new(seed: String, client: Client) -> Self {
        let mut grants = Grants::new(seed);
        grants.register(client);
        Self { grants, record: Record::default(), rules: Rules::default(), settings: Layers::default(), held: 0 }
    }
}

/// A lane as its requests share it.
pub struct SharedLane {
    lane: Mutex<Lane>,
    pub release: watch::Sender<u64>,
}

impl SharedLane {
    pub fn lock(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All lanes by name; the default one has the empty name.
pub struct Lanes {
    default_client: Client,
    started: (Instant, SystemTime),
    lanes: Mutex<(HashMap<String, Arc<SharedLane>>, u64)>,
}

impl Lanes {
    pub fn new(default_client: Client) -> Self {
        Self { default_client, started: (Instant::now(), SystemTime::now()), lanes: Mutex::default() }
    }

    pub fn started(&self) -> Instant {
        self.started.0
    }

    /// The lane of this name, made now if nobody used it before; `None` if there are too many.
    pub fn get(&self, name: &str) -> Option<Arc<SharedLane>> {
        let (lanes, made) = &mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(name) {
            return Some(Arc::clone(lane));
        }
        if lanes.len() >= MOST_LANES {
            return None;
        }
        *made += 1;
        let seed = format!("{:?} {made}", self.started.1);
        let lane = Arc::new(SharedLane {
            lane: Mutex::new(Lane::new(seed, self.default_client.clone())),
            release: watch::channel(0).0,
        });
        lanes.insert(name.to_owned(), Arc::clone(&lane));
        Some(lane)
    }

    /// Forgets a lane; requests that still run end in the forgotten one.
    pub fn forget(&self, name: &str) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.0.remove(name) {
            lane.release.send_modify(|released| *released += 1);
        }
    }
}

const MOST_LANES: usize = 100_000;
