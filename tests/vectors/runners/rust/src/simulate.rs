//! A stretch of time with a caller at every tick and a server that always says the same, for bounds on the number of requests.

use std::collections::BTreeMap;

use remint::Core;
use remint::client::Incoming;
use remint::clock::{Entropy, Now};
use remint::event::{Event, Received};
use remint::step::OpId;
use serde_json::{Value, json};

use crate::fields::Fields;
use crate::machine::{answer, outcome};

/// A caller that has been told to wait.
struct Waiter {
    deadline: i64,
    flight: String,
    until: i64,
}

/// What is still to happen, and when on the boot clock.
enum Due {
    Ask,
    Answer(OpId),
    Tick(String),
}

/// Plays `for` milliseconds: a caller every `every`, each request answered `latency` later. Tokens are told apart by `{n}`,
/// the number of the request that brought them. At most `requests_at_most` requests may be sent; every caller must be `served`
/// an unexpired token, unless `served` is false: then none may be.
pub(crate) fn simulate(core: &mut Core, start: Now, entropy: &Entropy, value: &Value) -> Result<(), String> {
    let mut fields = Fields::of("`simulate`", value)?;
    let mut number = |name: &str| fields.integer(name)?.ok_or_else(|| format!("  `simulate` needs `{name}`"));
    let (length, every, latency, bound) =
        (number("for")?, number("every")?, number("latency")?, number("requests_at_most")?);
    let served = fields.take("served").is_none_or(|served| served == json!(true));
    let mut answer_fields =
        Fields::of("the answer", &Value::Object(fields.some(&["status", "headers", "json", "text", "base64"])))?;
    fields.end()?;
    let Incoming { status, headers, body } = answer(&mut answer_fields)?;
    let body = String::from_utf8(body).map_err(|_| "  a simulated answer is text".to_owned())?;

    let mut agenda: BTreeMap<(i64, u64), Due> = BTreeMap::new();
    let mut counter = 0;
    let mut add = |agenda: &mut BTreeMap<(i64, u64), Due>, at: i64, due: Due| {
        counter += 1;
        agenda.insert((at, counter), due);
    };
    let mut offset = 0;
    while offset <= length {
        add(&mut agenda, offset, Due::Ask);
        offset += every.max(1);
    }
    let mut waiters: Vec<Waiter> = Vec::new();
    let (mut requests, mut callers) = (0, 0);
    while let Some(((offset, _), due)) = agenda.pop_first() {
        if offset > length {
            break;
        }
        let now = start.plus(offset);
        let mut events = vec![match due {
            Due::Ask => {
                callers += 1;
                (json!({ "ask": {} }), Some(now.boot + 30_000))
            }
            Due::Tick(flight) => (json!({ "tick": { "flight": flight } }), None),
            Due::Answer(op) => (json!(op), None),
        }];
        while let Some((event, deadline)) = events.pop() {
            let step = if let Value::String(op) = &event {
                let op = op.parse().map_err(|()| format!("  `{op}` is no operation"))?;
                let body = body.replace("{n}", &requests.to_string()).into_bytes();
                core.handle(Event::Received(Received { op, status, headers: headers.clone(), body }), now, entropy)
            } else {
                let event =
                    serde_json::from_value(event).map_err(|error| format!("  no event of the machine: {error}"))?;
                core.handle(event, now, entropy)
            };
            let outcome = outcome(&step)?;
            for operation in outcome.get("operations").and_then(Value::as_array).into_iter().flatten() {
                if let Some(op) = operation.get("send").and_then(Value::as_str) {
                    requests += 1;
                    let op = op.parse().map_err(|()| format!("  `{op}` is no operation"))?;
                    add(&mut agenda, offset + latency, Due::Answer(op));
                } else if let Some(flight) = operation.get("sleep").and_then(Value::as_str) {
                    let until = operation.get("until").and_then(Value::as_i64).unwrap_or(now.boot);
                    add(&mut agenda, (until - start.boot).max(offset), Due::Tick(flight.to_owned()));
                } else {
                    return Err(format!("  an operation that a simulation cannot answer: {operation}"));
                }
            }
            if let Some(deadline) = deadline {
                settle(&outcome, now, deadline, served, &mut waiters)?;
            }
            let settled: Vec<&str> = outcome
                .get("settled")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let (woken, waiting) = waiters
                .into_iter()
                .partition(|waiter: &Waiter| settled.contains(&waiter.flight.as_str()) || waiter.until <= now.boot);
            waiters = waiting;
            for waiter in woken {
                events.push((
                    json!({ "ask": { "after": waiter.flight, "deadline": waiter.deadline } }),
                    Some(waiter.deadline),
                ));
            }
        }
    }
    if requests > bound {
        return Err(format!(
            "    requests\n      expected at most {bound}\n      came     {requests}, for {callers} callers"
        ));
    }
    Ok(())
}

fn settle(outcome: &Value, now: Now, deadline: i64, served: bool, waiters: &mut Vec<Waiter>) -> Result<(), String> {
    let answer = outcome.get("answer").unwrap_or(&Value::Null);
    let at = || format!("at boot {}", now.boot);
    if let Some(flight) = answer.get("wait").and_then(Value::as_str) {
        let until = answer.get("until").and_then(Value::as_i64).unwrap_or(deadline);
        waiters.push(Waiter { deadline, flight: flight.to_owned(), until });
        Ok(())
    } else if answer.get("use").is_some() {
        let expires = answer.get("expires").and_then(Value::as_i64).unwrap_or_default();
        match (served, expires > now.boot) {
            (true, true) => Ok(()),
            (true, false) => Err(format!("  a caller got an expired token {}: {answer}", at())),
            (false, _) => Err(format!("  a caller got a token {}, and none was to be had: {answer}", at())),
        }
    } else if served {
        Err(format!("  a caller was not served {}: {answer}", at()))
    } else {
        Ok(())
    }
}
