//! The constants of the behaviour contract, each of which a user may change.

use alloc::format;

use crate::document::{Field, Object, Value, seconds};
use crate::error::Error;
use crate::response::MissingLifetime;

macro_rules! policy {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty, $unit:ident = $default:literal, $least:literal to $most:literal;)+) => {
        /// The constants of the behaviour contract. Durations are milliseconds here, and seconds where users write them.
        #[derive(Clone, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        pub struct Policy {
            $($(#[doc = $doc])+ pub $name: $type,)+
            /// What to do with a token whose answer tells no lifetime. In JSON seconds, or `"do_not_cache"`. The profile's value unless told.
            pub missing_lifetime: Option<MissingLifetime>,
        }

        impl Default for Policy {
            fn default() -> Self {
                Self { $($name: $default,)+ missing_lifetime: None }
            }
        }

        impl Policy {
            /// Every numeric constant: its name, its unit, its default and its bounds, in the unit that it has in this struct.
            pub const CONSTANTS: &'static [Constant] = &[$(Constant {
                name: stringify!($name),
                unit: Unit::$unit,
                default: $default,
                least: $least,
                most: $most,
            },)+];

            fn read_constants(&mut self, object: &mut Object<'_>) -> Result<(), Error> {
                $(if let Some(field) = object.take(stringify!($name)) {
                    let number = match Unit::$unit {
                        Unit::Seconds => field.duration($least, $most)?,
                        Unit::Bytes | Unit::Count => field.whole($least, $most)?,
                    };
                    // The bounds fit the type: there is no other way for this to go.
                    self.$name = <$type>::try_from(number).unwrap_or($default);
                })+
                Ok(())
            }
        }
    };
}

policy! {
    /// A token with less life left than this is renewed aside, while callers go on with it; at most the lifetime over `soft_divisor`.
    soft_margin: i64, Seconds = 300_000, 0 to 86_400_000;
    /// The soft margin is at most the lifetime divided by this.
    soft_divisor: i64, Count = 4, 2 to 1_000;
    /// A margin that a profile asks for is at most the lifetime divided by this.
    profile_margin_divisor: i64, Count = 2, 2 to 1_000;
    /// The soft margin is brought forward by a random part of at most this, drawn once per client, so that a fleet does not renew at one moment.
    jitter: i64, Seconds = 30_000, 0 to 3_600_000;
    /// The jitter is at most the lifetime divided by this.
    jitter_divisor: i64, Count = 10, 4 to 1_000;
    /// With less life left than this, callers wait for the renewal; at most the lifetime over `hard_divisor`.
    hard_margin: i64, Seconds = 30_000, 0 to 86_400_000;
    /// The hard margin is at most the lifetime divided by this.
    hard_divisor: i64, Count = 8, 2 to 1_000;
    /// Inside the hard margin a caller waits no longer than this for the renewal, and no longer than half of what is left.
    max_wait: i64, Seconds = 5_000, 0 to 600_000;
    /// How long a caller waits for a token unless it says so itself.
    caller_timeout: i64, Seconds = 30_000, 1 to 86_400_000;
    /// After this many failed attempts in a row, callers without a valid token fail at once until the next attempt is due.
    attempts: u32, Count = 3, 1 to 100;
    /// The shortest first pause after a passing failure. It doubles with every further failure.
    backoff_first_min: i64, Seconds = 100, 1 to 3_600_000;
    /// The longest first pause after a passing failure.
    backoff_first_max: i64, Seconds = 500, 1 to 3_600_000;
    /// No pause after a passing failure is longer.
    backoff_max: i64, Seconds = 60_000, 1 to 86_400_000;
    /// The shortest first pause after a refusal that trying again would not help. It doubles with every further refusal.
    terminal_first_min: i64, Seconds = 1_000, 1 to 3_600_000;
    /// The longest first pause after such a refusal.
    terminal_first_max: i64, Seconds = 5_000, 1 to 3_600_000;
    /// No pause after such a refusal is longer.
    terminal_max: i64, Seconds = 60_000, 1 to 86_400_000;
    /// A server's `Retry-After` is obeyed up to this.
    retry_after_max: i64, Seconds = 3_600_000, 0 to 604_800_000;
    /// A longer lifetime is cut to this, with a notice: ten years of 365 days.
    max_lifetime: i64, Seconds = 315_360_000_000, 1_000 to 3_153_600_000_000;
    /// The two clocks may move apart by this before it is reported.
    clock_jump: i64, Seconds = 30_000, 1_000 to 86_400_000;
    /// How long the shared store may take for one command.
    store_timeout: i64, Seconds = 1_000, 1 to 60_000;
    /// The longest answer that is read, in bytes.
    answer_cap: usize, Bytes = 262_144, 1_024 to 16_777_216;
    /// How many keys a client's cache holds.
    max_keys: usize, Count = 10_000, 1 to 100_000_000;
}

/// One constant of [`Policy`], for documentation and tests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Constant {
    /// Its name, in the struct and in JSON.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Its value unless told.
    pub default: i64,
    /// The least that is allowed.
    pub least: i64,
    /// The most that is allowed.
    pub most: i64,
}

/// What a constant counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unit {
    /// Time: milliseconds in [`Policy`], seconds where users write them.
    Seconds,
    /// Bytes.
    Bytes,
    /// Pieces, or a divisor.
    Count,
}

impl Policy {
    /// Reads what a user wrote under the option `policy`.
    pub(crate) fn read(field: Field<'_>) -> Result<Self, Error> {
        let mut object = field.object()?;
        let mut policy = Self::default();
        policy.read_constants(&mut object)?;
        if let Some(field) = object.take("missing_lifetime") {
            policy.missing_lifetime = Some(read_missing_lifetime(field)?);
        }
        let place = object.place.clone();
        object.end()?;

        // Each pair: the first must not be longer than the second.
        for (shorter, a, longer, b) in [
            ("hard_margin", policy.hard_margin, "soft_margin", policy.soft_margin),
            ("backoff_first_min", policy.backoff_first_min, "backoff_first_max", policy.backoff_first_max),
            ("backoff_first_max", policy.backoff_first_max, "backoff_max", policy.backoff_max),
            ("terminal_first_min", policy.terminal_first_min, "terminal_first_max", policy.terminal_first_max),
            ("terminal_first_max", policy.terminal_first_max, "terminal_max", policy.terminal_max),
            // A hard margin is the smaller share of a lifetime, so its divisor is the larger number.
            ("soft_divisor", policy.soft_divisor, "hard_divisor", policy.hard_divisor),
            ("profile_margin_divisor", policy.profile_margin_divisor, "hard_divisor", policy.hard_divisor),
        ] {
            if a > b {
                let show = |number| if shorter.ends_with("divisor") { format!("{number}") } else { seconds(number) };
                let what = format!("is {}: it must not exceed `{longer}`, which is {}", show(a), show(b));
                return Err(place.member(shorter).error(what));
            }
        }
        Ok(policy)
    }
}

/// What to do with a token whose answer tells no lifetime: seconds to assume, or `"do_not_cache"`.
pub(crate) fn read_missing_lifetime(field: Field<'_>) -> Result<MissingLifetime, Error> {
    match field.value {
        Value::Number(_) => field.duration(1_000, Policy::default().max_lifetime).map(MissingLifetime::Assume),
        _ => field.one_of(&[("do_not_cache", MissingLifetime::DoNotCache)]),
    }
}
