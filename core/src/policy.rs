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
            #[cfg(test)]
            const CONSTANTS: &'static [tests::Constant] = &[$(tests::Constant {
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
    /// How long the server's metadata is used before it is read again.
    metadata_lifetime: i64, Seconds = 86_400_000, 60_000 to 2_592_000_000;
    /// How long a token in hand is used without a look at the shared store.
    store_check: i64, Seconds = 60_000, 1 to 3_600_000;
    /// How long the server's keys are used before they are read again (JARM section 2.4).
    jwks_lifetime: i64, Seconds = 3_600_000, 1_000 to 2_592_000_000;
    /// How long the shared store may take for one command.
    store_timeout: i64, Seconds = 1_000, 1 to 60_000;
    /// The longest answer that is read, in bytes.
    answer_cap: usize, Bytes = 262_144, 1_024 to 16_777_216;
    /// How many keys a client's cache holds.
    max_keys: usize, Count = 10_000, 1 to 100_000_000;
}

/// What a constant counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unit {
    /// Milliseconds in [`Policy`], seconds where users write them.
    Seconds,
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

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::string::{String, ToString};

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::document::{self, Kind};

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let policy = Policy::default();
        assert_eq!((policy.soft_margin, policy.soft_divisor, policy.profile_margin_divisor), (300_000, 4, 2));
        assert_eq!((policy.jitter, policy.jitter_divisor), (30_000, 10));
        assert_eq!((policy.hard_margin, policy.hard_divisor, policy.max_wait), (30_000, 8, 5_000));
        assert_eq!((policy.caller_timeout, policy.attempts), (30_000, 3));
        assert_eq!((policy.backoff_first_min, policy.backoff_first_max, policy.backoff_max), (100, 500, 60_000));
        assert_eq!((policy.terminal_first_min, policy.terminal_first_max, policy.terminal_max), (1_000, 5_000, 60_000));
        assert_eq!((policy.retry_after_max, policy.clock_jump, policy.store_timeout), (3_600_000, 30_000, 1_000));
        assert_eq!(policy.max_lifetime, 10 * 365 * 86_400_000);
        assert_eq!((policy.answer_cap, policy.max_keys, policy.missing_lifetime), (262_144, 10_000, None));
        assert_eq!(read(json!({})), Ok(policy));
    }

    #[test]
    fn every_constant_has_its_default_within_bounds_that_are_kept() {
        for constant in Policy::CONSTANTS {
            assert!((constant.least..=constant.most).contains(&constant.default), "{constant:?}");
            for (number, is_within) in
                [(constant.least, true), (constant.most, true), (constant.least - 1, false), (constant.most + 1, false)]
            {
                let is_refused_for_bounds = match read(json!({ constant.name: written(constant, number) })) {
                    Err(message) => message.starts_with(&format!("option `policy.{}` is `", constant.name)),
                    Ok(_) => false,
                };
                assert_eq!(is_refused_for_bounds, !is_within, "{} as {number}", constant.name);
            }
            for wrong in [json!("5"), json!(true), json!([]), json!({})] {
                assert!(read(json!({ constant.name: wrong })).is_err(), "{} as {wrong}", constant.name);
            }
        }
    }

    #[test]
    fn a_nonsensical_policy_is_refused_with_both_names() {
        for (policy, message) in [
            (
                json!({"hard_margin": 301}),
                "option `policy.hard_margin` is 301: it must not exceed `soft_margin`, which is 300",
            ),
            (
                json!({"soft_margin": 10}),
                "option `policy.hard_margin` is 30: it must not exceed `soft_margin`, which is 10",
            ),
            (
                json!({"backoff_first_min": 0.6}),
                "option `policy.backoff_first_min` is 0.6: it must not exceed `backoff_first_max`, which is 0.5",
            ),
            (
                json!({"terminal_max": 2}),
                "option `policy.terminal_first_max` is 5: it must not exceed `terminal_max`, which is 2",
            ),
            (
                json!({"hard_divisor": 3}),
                "option `policy.soft_divisor` is 4: it must not exceed `hard_divisor`, which is 3",
            ),
            (json!({"max_keys": 0}), "option `policy.max_keys` is `0`: a whole number from 1 to 100000000 is allowed"),
            (json!({"attempts": 1.5}), "option `policy.attempts` is `1.5`: a whole number from 1 to 100 is allowed"),
            (json!({"jitter": -1}), "option `policy.jitter` is `-1`: a number of seconds from 0 to 3600 is allowed"),
            (json!({"softMargin": 1}), "option `policy.softMargin` is not known: did you mean `soft_margin`?"),
            (
                json!({"missing_lifetime": "forever"}),
                "option `policy.missing_lifetime` is `forever`: `do_not_cache` is allowed",
            ),
            (json!([]), "option `policy` is a list: an object is allowed"),
        ] {
            assert_eq!(read(policy), Err(message.to_owned()));
        }
    }

    #[test]
    fn durations_are_seconds_outside_and_milliseconds_inside() {
        let policy =
            read(json!({"soft_margin": 60.5, "backoff_max": 1e1, "missing_lifetime": 900, "answer_cap": 2048}))
                .unwrap();
        assert_eq!((policy.soft_margin, policy.backoff_max, policy.answer_cap), (60_500, 10_000, 2048));
        assert_eq!(policy.missing_lifetime, Some(MissingLifetime::Assume(900_000)));
        assert_eq!(
            read(json!({"missing_lifetime": "do_not_cache"})).unwrap().missing_lifetime,
            Some(MissingLifetime::DoNotCache)
        );
    }

    /// One constant, in the unit that it has in the struct.
    #[derive(Debug)]
    pub(super) struct Constant {
        pub(super) name: &'static str,
        pub(super) unit: Unit,
        pub(super) default: i64,
        pub(super) least: i64,
        pub(super) most: i64,
    }

    fn read(policy: Json) -> Result<Policy, String> {
        let options = json!({ "policy": policy }).to_string();
        let mut options = document::parse(&options, Kind::Options).unwrap().object().unwrap();
        Policy::read(options.take("policy").unwrap()).map_err(|error| error.message().to_owned())
    }

    fn written(constant: &Constant, number: i64) -> Json {
        match constant.unit {
            Unit::Seconds => json!(number as f64 / 1000.0),
            Unit::Bytes | Unit::Count => json!(number),
        }
    }
}
