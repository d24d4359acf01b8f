//! Each way in which the authority can misbehave: the outcome that is expected, no hang, no secret in what is said.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use examples_rust::reqwest::{self, Reqwest};
use examples_rust::ureq::{self, Ureq};
use hosts_rust::{AUTHORITY, HOUR, Lane, MovedClock, assert_no_secret, crowd, within};
use remint::client::{Token, TokenOptions};
use remint::notice::Notice;
use remint::{Builder, Error, ErrorCode, Secret};
use serde_json::{Value, json};

/// What a caller with two seconds of patience is told while the rule lasts.
struct Fault {
    name: &'static str,
    rule: Value,
    code: ErrorCode,
    status: Option<u16>,
    /// `retry_after` is at least so long.
    least: Option<Duration>,
}

fn faults() -> Vec<Fault> {
    use ErrorCode::{
        AnswerTooLarge, InvalidClient, InvalidScope, ServerUnavailable, Timeout, TransportFailed, UnexpectedAnswer,
    };

    let fault = |name, rule, code, status| Fault { name, rule, code, status, least: None };
    let page = json!({"status": 502, "body": "<html>", "content_type": "text/html"});
    let mut faults = vec![
        fault("500", json!({"status": 500}), ServerUnavailable, Some(500)),
        fault("502 with a page", page, ServerUnavailable, Some(502)),
        fault("503", json!({"status": 503}), ServerUnavailable, Some(503)),
        fault("408", json!({"status": 408}), ServerUnavailable, Some(408)),
        fault("a code in a 503", json!({"status": 503, "error": "invalid_client"}), ServerUnavailable, Some(503)),
        fault("invalid_client", json!({"status": 401, "error": "invalid_client"}), InvalidClient, Some(401)),
        fault("invalid_scope", json!({"error": "invalid_scope"}), InvalidScope, Some(400)),
        fault("a bare 401", json!({"status": 401}), InvalidClient, Some(401)),
        fault("a bare 403", json!({"status": 403}), UnexpectedAnswer, Some(403)),
        fault("a bare 404", json!({"status": 404}), UnexpectedAnswer, Some(404)),
        fault("a code that nobody knows", json!({"error": "whatever"}), UnexpectedAnswer, Some(400)),
        fault("garbage", json!({"garbage": true}), UnexpectedAnswer, Some(200)),
        fault("an empty 200", json!({"status": 200, "body": ""}), UnexpectedAnswer, Some(200)),
        fault("100 MB", json!({"body_bytes": 104_857_600}), AnswerTooLarge, None),
        fault("cut before", json!({"cut": "before"}), TransportFailed, None),
        fault("cut after processing", json!({"cut": "after_processing"}), TransportFailed, None),
        fault("cut after the headers", json!({"cut": "after_headers"}), TransportFailed, None),
        fault("cut in the body", json!({"cut": "mid_body"}), TransportFailed, None),
        fault("no answer", json!({"hold": true}), Timeout, None),
        fault("a body byte by byte", json!({"slow_body_ms_per_byte": 100}), Timeout, None),
        fault("a redirect", json!({"redirect": format!("{}/echo", AUTHORITY.other)}), UnexpectedAnswer, Some(307)),
    ];
    let pause = |name, status, retry_after, least| Fault {
        name,
        rule: json!({"status": status, "retry_after": retry_after}),
        code: ServerUnavailable,
        status: Some(status),
        least: Some(least),
    };
    faults.push(pause("503 with Retry-After in seconds", 503, "7", Duration::from_secs(6)));
    faults.push(pause("429 with Retry-After as a date", 429, "date+9", Duration::from_secs(7)));
    faults
}

/// Runs all faults at once, each in its own lane.
fn each(run: impl Fn(&Fault, &Lane) + Sync) {
    let faults = faults();
    let failed: Vec<_> = thread::scope(|scope| {
        let run = &run;
        let start = |fault| {
            scope.spawn(move || {
                let lane = Lane::new();
                run(fault, &lane);
                lane.control("POST", "release", &Value::Null);
            })
        };
        let threads: Vec<_> = faults.iter().map(|fault| (fault.name, start(fault))).collect();
        threads.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}

fn lasting(fault: &Fault, lane: &Lane) {
    let mut rule = fault.rule.clone();
    rule.as_object_mut().unwrap().insert("count".to_owned(), Value::Null);
    lane.fault(&rule);
}

fn patience() -> TokenOptions {
    TokenOptions { timeout: Some(Duration::from_secs(2)), ..TokenOptions::default() }
}

fn quick(lane: &Lane, notices: &Arc<Mutex<Vec<Notice>>>) -> Builder {
    let notices = notices.clone();
    let options = lane.options("phoenix-wallet").request_timeout(Duration::from_millis(700));
    options.on_notice(move |notice| notices.lock().unwrap().push(notice.clone()))
}

fn check(fault: &Fault, lane: &Lane, results: &[Result<Token, Error>], notices: &Mutex<Vec<Notice>>) {
    for result in results {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.code(), fault.code, "{}: {error:?}", fault.name);
        assert_eq!(error.status(), fault.status, "{}: {error:?}", fault.name);
        assert!(fault.least.is_none_or(|least| error.retry_after() >= Some(least)), "{}: {error:?}", fault.name);
        assert_no_secret(error, &[]);
        assert_no_secret(&error.to_string(), &[]);
    }
    assert_no_secret(&notices.lock().unwrap(), &[]);
    let requests = lane.token_requests();
    assert!((1..=5).contains(&requests), "{}: {requests} requests", fault.name);
    assert_eq!(lane.count("/echo/total"), 0, "{}", fault.name);
}

#[test]
fn threads_without_a_token_are_told_what_is_wrong() {
    each(|fault, lane| {
        lasting(fault, lane);
        let notices = Arc::default();
        let client = quick(lane, &notices).build(Ureq(ureq::agent())).unwrap();
        let results = within(20, move || crowd(20, |_| client.token_with(patience())));
        check(fault, lane, &results, &notices);
    });
}

#[test]
fn tasks_without_a_token_are_told_what_is_wrong() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    each(|fault, lane| {
        lasting(fault, lane);
        let notices = Arc::default();
        let client = quick(lane, &notices).build_async(Reqwest(reqwest::client().unwrap())).unwrap();
        let results = runtime.block_on(async {
            let callers: Vec<_> = (0..20)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { client.token_with(patience()).await })
                })
                .collect();
            let mut results = Vec::new();
            for caller in callers {
                results.push(tokio::time::timeout(Duration::from_secs(20), caller).await.unwrap().unwrap());
            }
            results
        });
        check(fault, lane, &results, &notices);
    });
}

#[test]
fn with_a_token_in_hand_nobody_fails() {
    each(|fault, lane| {
        let clock = MovedClock::default();
        let options = quick(lane, &Arc::default()).clock(clock.clone());
        let client = options.build(Ureq(ureq::agent())).unwrap();
        let first = client.token().unwrap();
        lasting(fault, lane);
        for left in [200_000, 20_000] {
            clock.move_to(HOUR - left);
            let callers = client.clone();
            let tokens = within(20, move || crowd(30, |_| callers.token().unwrap()));
            assert!(tokens.iter().all(|token| token.generation == first.generation), "{}", fault.name);
        }
    });
}

#[test]
fn what_passes_within_a_callers_patience_is_not_seen() {
    each(|fault, lane| {
        let passes =
            matches!(fault.code, ErrorCode::ServerUnavailable | ErrorCode::TransportFailed | ErrorCode::Timeout);
        if !passes || fault.least.is_some() {
            return;
        }
        lane.fault(&fault.rule);
        let client = quick(lane, &Arc::default()).build(Ureq(ureq::agent())).unwrap();
        within(30, move || client.token().unwrap());
        assert_eq!(lane.token_requests(), 2, "{}", fault.name);
    });
}

#[test]
fn a_soft_renewal_that_fails_is_tried_again_long_before_the_token_ends() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    let client = quick(&lane, &Arc::default()).clock(clock.clone()).build(Ureq(ureq::agent())).unwrap();
    let first = client.token().unwrap();
    lane.fault(&json!({"status": 503}));
    clock.move_to(HOUR - 200_000);
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.token().unwrap().generation == first.generation {
        assert!(Instant::now() < deadline, "nobody tried again");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lane.token_requests(), 3);
}

#[test]
fn where_nothing_listens_callers_are_told_so() {
    let lane = Lane::new();
    let client = quick(&lane, &Arc::default())
        .option("token_endpoint", "http://127.0.0.1:9/token")
        .build(Ureq(ureq::agent()))
        .unwrap();
    let error = within(20, move || client.token_with(patience()).unwrap_err());
    assert_eq!(error.code(), ErrorCode::TransportFailed);
    assert!(error.message().contains("could not be reached"), "{error}");
}

#[test]
fn odd_answers_are_understood() {
    for settings in [
        json!({"expires_in": "3600"}),
        json!({"expires_in": 1e3}),
        json!({"omit_expires_in": true}),
        json!({"date_skew_s": 600}),
        json!({"date_skew_s": -600}),
        json!({"token_bytes": 16_000}),
    ] {
        let lane = Lane::new();
        lane.settings(&settings);
        let client = quick(&lane, &Arc::default()).build(Ureq(ureq::agent())).unwrap();
        client.token().unwrap();
        client.token().unwrap();
        assert!(client.peek().unwrap().expires_in() > Duration::from_secs(800), "{settings}");
        assert_eq!(lane.token_requests(), 1, "{settings}");
    }
}

#[test]
fn a_lifetime_of_a_second_does_not_cost_a_request_per_call() {
    let lane = Lane::new();
    lane.settings(&json!({"lifetime_s": 1}));
    let client = quick(&lane, &Arc::default()).build(Ureq(ureq::agent())).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert!(client.token().unwrap().expires_in() > Duration::ZERO);
        thread::sleep(Duration::from_millis(2));
    }
    let requests = lane.token_requests();
    assert!(requests <= 8, "{requests} requests");
}

#[test]
fn an_answer_that_was_lost_after_a_rotation_costs_one_attempt_within_the_servers_grace() {
    let lane = Lane::new();
    lane.settings(&json!({"reuse_grace_s": 60}));
    let refresh_token = Secret::new(lane.mint("dave"));
    lane.fault(&json!({"grant": "refresh_token", "cut": "after_processing"}));
    let client = lane.options("rapidomize").build(Ureq(ureq::agent())).unwrap();
    let dave = client.with_subject("dave", refresh_token).unwrap();
    within(20, move || dave.token().unwrap());
}

#[test]
fn an_answer_that_was_lost_after_a_rotation_without_grace_needs_the_person_and_the_error_says_why() {
    let lane = Lane::new();
    let refresh_token = lane.mint("erin");
    lane.fault(&json!({"grant": "refresh_token", "cut": "after_processing"}));
    let client = lane.options("rapidomize").build(Ureq(ureq::agent())).unwrap();
    let erin = client.with_subject("erin", Secret::new(&*refresh_token)).unwrap();
    let error = within(20, move || erin.token().unwrap_err());
    assert_eq!(error.code(), ErrorCode::ReauthorizationRequired);
    assert!(error.is_ambiguous());
    assert_no_secret(&error, &[&refresh_token]);
}

#[test]
fn a_transport_that_panics_or_ignores_its_time_limit_holds_nobody() {
    use remint::client::{Incoming, Outgoing, SendError};

    let lane = Lane::new();
    let panics = |_: Outgoing| -> Result<Incoming, SendError> { std::panic::resume_unwind(Box::new("as it happens")) };
    let client = quick(&lane, &Arc::default()).build(panics).unwrap();
    let error = within(20, move || client.token_with(patience()).unwrap_err());
    assert_eq!(error.code(), ErrorCode::TransportFailed);

    let sleeps = |_: Outgoing| -> Result<Incoming, SendError> {
        thread::sleep(Duration::from_secs(60));
        Err(SendError::Timeout)
    };
    let client = quick(&lane, &Arc::default()).build(sleeps).unwrap();
    let started = Instant::now();
    let error = within(20, move || client.token_with(patience()).unwrap_err());
    assert_eq!(error.code(), ErrorCode::Timeout);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}
