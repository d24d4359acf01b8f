//! A model of a shared store: three commands on one record per key, on a clock of its own, and what can happen to it.

use std::collections::BTreeMap;
use std::rc::Rc;

use remint::cache::Key;

/// What is kept for one key.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Place {
    pub record: Option<Rc<str>>,
    /// When the record ends, on the store's clock.
    expires: i64,
    /// Whose lease it is, and until when.
    pub lease: Option<(Rc<str>, i64)>,
}

/// A command, as it travels.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Command {
    Load,
    Lock { owner: Rc<str>, ttl: i64 },
    Save { expect: Option<Rc<str>>, record: Rc<str>, ttl: i64, unlock: Option<Rc<str>> },
}

/// What it says. A lease's rest is a length of time: the host that reads it makes a point of its own clock of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Result {
    Ok,
    None,
    Record(Rc<str>),
    Locked(Option<Rc<str>>),
    Held(i64, Option<Rc<str>>),
    Conflict(Option<Rc<str>>),
    Down,
    Unknown,
}

#[derive(Debug, Default)]
pub struct Store {
    pub places: BTreeMap<Key, Place>,
    /// What was there before each of the last writes.
    writes: Vec<(Key, Place)>,
    /// How far its clock is ahead.
    pub ahead: i64,
    /// The most that it ever was.
    pub most_ahead: i64,
    /// How often a lease ended by itself and somebody else took it, by key.
    pub expired: BTreeMap<Key, u32>,
}

/// How many writes a replica can be behind.
const BEHIND: usize = 4;

impl Store {
    pub fn carry_out(&mut self, key: Key, command: &Command, now: i64) -> Result {
        let now = now + self.ahead;
        let place = self.places.entry(key).or_default();
        if place.record.is_some() && place.expires <= now {
            place.record = None;
        }
        let before = place.clone();
        let result = match command {
            Command::Load => {
                return place.record.clone().map_or(Result::None, Result::Record);
            }
            Command::Lock { owner, ttl: 0 } => {
                if place.lease.as_ref().is_some_and(|(holder, _)| holder == owner) {
                    place.lease = None;
                }
                Result::Ok
            }
            Command::Lock { owner, ttl } => {
                if let Some((holder, until)) = &place.lease {
                    if holder != owner && *until > now {
                        return Result::Held(until - now, place.record.clone());
                    }
                    if holder != owner {
                        *self.expired.entry(key).or_default() += 1;
                    }
                }
                place.lease = Some((owner.clone(), now + ttl));
                Result::Locked(place.record.clone())
            }
            Command::Save { expect, record, ttl, unlock } => {
                if place.record != *expect {
                    return Result::Conflict(place.record.clone());
                }
                place.record = Some(record.clone());
                place.expires = now + ttl;
                if place.lease.as_ref().is_some_and(|(holder, _)| Some(holder) == unlock.as_ref()) {
                    place.lease = None;
                }
                Result::Ok
            }
        };
        if self.writes.len() >= BEHIND {
            self.writes.remove(0);
        }
        self.writes.push((key, before));
        result
    }

    /// Whether the lease is this owner's now.
    pub fn holds(&self, key: Key, owner: &str, now: i64) -> bool {
        let lease = self.places.get(&key).and_then(|place| place.lease.as_ref());
        lease.is_some_and(|(holder, until)| **holder == *owner && *until > now + self.ahead)
    }

    pub fn record(&self, key: Key) -> Option<&Rc<str>> {
        self.places.get(&key)?.record.as_ref()
    }

    /// A replica takes over that has not seen the last writes.
    pub fn fail_over(&mut self, behind: usize) {
        for _ in 0..behind.min(BEHIND) {
            if let Some((key, before)) = self.writes.pop() {
                self.places.insert(key, before);
            }
        }
    }

    pub fn flush(&mut self) {
        self.places.clear();
        self.writes.clear();
    }

    pub fn evict(&mut self, key: Key) {
        self.places.remove(&key);
    }

    /// Somebody who has no business there writes.
    pub fn forge(&mut self, key: Key, record: Rc<str>) {
        if let Some(place) = self.places.get_mut(&key) {
            place.record = Some(record);
        }
    }
}
