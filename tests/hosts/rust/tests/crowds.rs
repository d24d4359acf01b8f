//! Many callers at once, on threads and on tasks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use examples_rust::reqwest::{self, Reqwest};
use examples_rust::ureq::{self, Ureq};
use hosts_rust::{HOUR, Lane, MovedClock, crowd, distinct, within};
use remint::client::{Incoming, Outgoing, SendError, TokenOptions};
use remint::{Builder, ErrorCode};
use serde_json::json;

fn threads() -> Ureq {
    Ureq(ureq::agent())
}

fn tasks() -> Reqwest {
    Reqwest(reqwest::client().unwrap())
}

#[test]
fn a_thousand_threads_on_a_cold_key_cause_one_token_request() {
    let lane = Lane::new();
    lane.settings(&json!({"token_latency_ms": 100}));
    let client = lane.options("phoenix-wallet").build(threads()).unwrap();
    let tokens = within(60, move || crowd(1_000, |_| client.token().unwrap()));
    assert_eq!(distinct(&tokens), 1);
    assert_eq!(lane.token_requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_on_a_cold_key_cause_one_token_request() {
    let lane = Lane::new();
    lane.settings(&json!({"token_latency_ms": 100}));
    let client = lane.options("phoenix-wallet").build_async(tasks()).unwrap();
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.token().await.unwrap() })
        })
        .collect();
    let mut tokens = Vec::new();
    for caller in callers {
        tokens.push(tokio::time::timeout(Duration::from_secs(60), caller).await.unwrap().unwrap());
    }
    assert_eq!(distinct(&tokens), 1);
    assert_eq!(lane.token_requests(), 1);
}

#[test]
fn a_thousand_threads_at_the_soft_margin_cause_one_request_and_none_waits() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    let client = lane.options("phoenix-wallet").clock(clock.clone()).build(threads()).unwrap();
    let first = client.token().unwrap();
    lane.settings(&json!({"token_latency_ms": 3_000}));
    clock.move_to(HOUR - 200_000);
    let callers = client.clone();
    let results = within(60, move || {
        crowd(1_000, |_| {
            let started = Instant::now();
            (callers.token().unwrap(), started.elapsed())
        })
    });
    assert!(results.iter().all(|(token, _)| token.generation == first.generation));
    let longest = results.iter().map(|(_, took)| *took).max().unwrap();
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    client.close();
    assert_eq!(lane.token_requests(), 2);
}

#[test]
fn a_thousand_threads_at_the_hard_margin_wait_for_one_request() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    let client = lane.options("phoenix-wallet").clock(clock.clone()).build(threads()).unwrap();
    let first = client.token().unwrap();
    lane.settings(&json!({"token_latency_ms": 300}));
    clock.move_to(HOUR - 20_000);
    let tokens = within(60, move || crowd(1_000, |_| client.token().unwrap()));
    assert_eq!(distinct(&tokens), 1);
    assert!(tokens.iter().all(|token| token.generation == first.generation + 1));
    assert_eq!(lane.token_requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_at_the_soft_margin_do_not_wait_and_at_the_hard_margin_they_do() {
    for (left, latency, waits) in [(200_000, 2_000, false), (20_000, 300, true)] {
        let lane = Lane::new();
        let clock = MovedClock::default();
        let client = lane.options("phoenix-wallet").clock(clock.clone()).build_async(tasks()).unwrap();
        let first = client.token().await.unwrap();
        lane.settings(&json!({"token_latency_ms": latency}));
        clock.move_to(HOUR - left);
        let callers: Vec<_> = (0..1_000)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.token().await.unwrap() })
            })
            .collect();
        for caller in callers {
            let token = tokio::time::timeout(Duration::from_secs(60), caller).await.unwrap().unwrap();
            assert_eq!(token.generation != first.generation, waits);
        }
        client.close().await;
        assert_eq!(lane.token_requests(), 2);
    }
}

#[test]
fn a_caller_at_the_hard_margin_goes_on_with_its_token_when_the_server_is_slow() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    let client = lane.options("phoenix-wallet").clock(clock.clone()).build(threads()).unwrap();
    let first = client.token().unwrap();
    lane.settings(&json!({"token_latency_ms": 3_000}));
    clock.move_to(HOUR - 2_500);
    let started = Instant::now();
    let again = client.token().unwrap();
    assert_eq!(again.generation, first.generation);
    // Half of what was left.
    assert!((Duration::from_millis(900)..Duration::from_millis(2_400)).contains(&started.elapsed()));
    client.close();
}

#[test]
fn a_thousand_keys_cause_a_thousand_requests_and_none_waits_for_another() {
    let lane = Lane::new();
    let scopes: Vec<String> = (0..1_000).map(|index| format!("scope-{index}")).collect();
    lane.control("POST", "clients", &json!({"client_id": "many", "client_secret": "x", "scopes": scopes}));
    lane.settings(&json!({"token_latency_ms": 1_000}));
    let options = lane.options("phoenix-market").client_id("many").client_secret("x");
    let client = options.request_timeout(Duration::from_secs(60)).build(threads()).unwrap();
    let started = Instant::now();
    let patient = TokenOptions { timeout: Some(Duration::from_secs(60)), ..TokenOptions::default() };
    let tokens = within(90, move || {
        crowd(1_000, |index| client.with_scope([&*scopes[index]]).unwrap().token_with(patient).unwrap())
    });
    assert_eq!(distinct(&tokens), 1_000);
    assert_eq!(lane.token_requests(), 1_000);
    // One after the other they would take 1,000 s.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(lane.count("/token/running_max") > 100);
}

#[test]
fn a_slow_key_does_not_delay_another() {
    let lane = Lane::new();
    lane.control("POST", "clients", &json!({"client_id": "two", "client_secret": "x", "scopes": ["slow", "fast"]}));
    let client = lane.options("phoenix-market").client_id("two").client_secret("x").build(threads()).unwrap();
    lane.fault(&json!({"hold": true}));
    let slow = client.with_scope(["slow"]).unwrap();
    let slow = std::thread::spawn(move || slow.token().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    client.with_scope(["fast"]).unwrap().token().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    lane.control("POST", "release", &json!(null));
    slow.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_tasks_that_are_cancelled_at_random_harm_nobody() {
    let lane = Lane::new();
    lane.settings(&json!({"token_latency_ms": 500}));
    let client = lane.options("phoenix-wallet").build_async(tasks()).unwrap();
    let callers: Vec<_> = (0..1_000_u64)
        .map(|index| {
            let client = client.clone();
            let caller = tokio::spawn(async move { client.token().await.unwrap() });
            if index % 10 < 3 {
                let handle = caller.abort_handle();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(index * 7919 % 400)).await;
                    handle.abort();
                });
            }
            caller
        })
        .collect();
    let mut tokens = Vec::new();
    let mut cancelled = 0;
    for caller in callers {
        match tokio::time::timeout(Duration::from_secs(60), caller).await.unwrap() {
            Ok(token) => tokens.push(token),
            Err(error) => {
                assert!(error.is_cancelled());
                cancelled += 1;
            }
        }
    }
    assert_eq!((tokens.len(), cancelled, distinct(&tokens)), (700, 300, 1));
    assert_eq!(lane.token_requests(), 1);
    assert!(client.peek().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_fills_the_cache_even_if_all_who_wait_are_cancelled() {
    let lane = Lane::new();
    lane.settings(&json!({"token_latency_ms": 300}));
    let client = lane.options("phoenix-wallet").build_async(tasks()).unwrap();
    for _ in 0..20 {
        assert!(tokio::time::timeout(Duration::from_millis(5), client.token()).await.is_err());
    }
    client.token().await.unwrap();
    assert_eq!(lane.token_requests(), 1);
}

#[test]
fn threads_without_patience_are_told_so_and_harm_nobody() {
    let lane = Lane::new();
    lane.settings(&json!({"token_latency_ms": 800}));
    let client = lane.options("phoenix-wallet").build(threads()).unwrap();
    let results = within(60, move || {
        crowd(500, |index| {
            let timeout = if index % 5 == 0 { Duration::from_millis(100) } else { Duration::from_secs(30) };
            client.token_with(TokenOptions { timeout: Some(timeout), ..TokenOptions::default() })
        })
    });
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(failed.len(), 100);
    assert!(failed.iter().all(|error| error.code() == ErrorCode::Timeout && error.is_retryable()));
    assert_eq!(lane.token_requests(), 1);
}

#[test]
fn without_background_refresh_one_caller_runs_the_renewal_and_the_others_go_on() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    let options = lane.options("phoenix-wallet").clock(clock.clone()).background_refresh(false);
    let client = options.build(threads()).unwrap();
    let first = client.token().unwrap();
    lane.settings(&json!({"token_latency_ms": 1_500}));
    clock.move_to(HOUR - 200_000);
    let tokens = within(60, move || crowd(100, |_| client.token().unwrap()));
    let waited = tokens.iter().filter(|token| token.generation != first.generation).count();
    assert_eq!(waited, 1);
    assert_eq!(lane.token_requests(), 2);
}

#[test]
fn where_the_system_has_no_thread_to_spare_the_caller_sends_the_request() {
    const STACK: &str = "RUST_MIN_STACK";

    if std::env::var_os(STACK).is_none() {
        // Once more in a process whose threads can't be made: none can have a stack of that size.
        let name = "where_the_system_has_no_thread_to_spare_the_caller_sends_the_request";
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.args([name, "--exact", "--test-threads=1"]).env(STACK, (1_u64 << 50).to_string()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    let caller = std::thread::current().id();
    let body = br#"{"access_token":"T1","token_type":"Bearer","expires_in":3600}"#;
    let client = Builder::new("phoenix-wallet").client_id("app").client_secret("s3cret");
    let client = client.build(move |_: Outgoing| -> Result<Incoming, SendError> {
        assert_eq!(std::thread::current().id(), caller);
        Ok(Incoming { status: 200, headers: Vec::new(), body: body.to_vec() })
    });
    assert_eq!(client.unwrap().token().unwrap().access_token.expose(), "T1");
}
