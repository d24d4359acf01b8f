//! API calls: what is put on them, where it may go, and what a 401 leads to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error;

use examples_rust::reqwest::{self, Reqwest};
use examples_rust::ureq::{self, Ureq};
use hosts_rust::{AUTHORITY, HOUR, Lane, MovedClock, assert_no_secret};
use remint::client::{Client, Headers, Reply};
use remint::step::Verdict;
use remint::{ErrorCode, Secret, Transport};
use serde_json::{Value, json};

/// One GET request; the status and the body that the caller sees.
fn get<T: Transport>(client: &Client<T>, url: &str) -> (u16, String) {
    let agent = ureq::agent();
    let sent = client.call("GET", url, |headers| ureq::get(&agent, url, headers));
    let mut response = sent.unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn a_revoked_token_costs_one_request_and_the_call_succeeds() {
    for provider in ["phoenix-security", "phoenix-wallet", "phoenix-market", "personify", "rapidomize"] {
        let lane = Lane::new();
        let client = lane.options(provider).build(Ureq(ureq::agent())).unwrap();
        let client = match provider {
            "rapidomize" => client.with_subject("ann", Secret::new(lane.mint("ann"))).unwrap(),
            _ => client,
        };
        let url = format!("{}/v1/wallets", lane.url(provider));
        assert_eq!(get(&client, &url).0, 200, "{provider}");
        lane.control("POST", "revoke", &json!({}));
        assert_eq!(get(&client, &url).0, 200, "{provider}");
        assert_eq!(get(&client, &url).0, 200, "{provider}");
        assert_eq!(lane.token_requests(), 2, "{provider}");
        assert_eq!(lane.count("/api/by_status/401"), 1, "{provider}");
    }
}

#[tokio::test]
async fn tasks_get_another_token_for_a_revoked_one_too() {
    let lane = Lane::new();
    let http = reqwest::client().unwrap();
    let client = lane.options("personify").build_async(Reqwest(http.clone())).unwrap();
    let url = format!("{}/v1/customers", lane.url("personify"));
    for _ in 0..2 {
        let sent = client.call("GET", &url, |headers| reqwest::get(&http, &url, headers)).await;
        assert_eq!(sent.unwrap().status().as_u16(), 200);
        lane.control("POST", "revoke", &json!({}));
    }
    assert_eq!(lane.token_requests(), 2);
}

#[test]
fn an_api_that_refuses_every_token_does_not_cost_a_token_request_per_call() {
    let lane = Lane::new();
    let client = lane.options("phoenix-wallet").build(Ureq(ureq::agent())).unwrap();
    lane.fault(&json!({"endpoint": "api", "count": null, "status": 401}));
    let url = format!("{}/v1/wallets", lane.url("phoenix-wallet"));
    for _ in 0..20 {
        assert_eq!(get(&client, &url).0, 401);
    }
    let requests = lane.token_requests();
    assert!(requests <= 3, "{requests} requests");
}

#[test]
fn a_token_with_too_little_scope_is_not_replaced() {
    let lane = Lane::new();
    let client = lane.options("phoenix-wallet").build(Ureq(ureq::agent())).unwrap();
    let challenge = json!({"www-authenticate": r#"Bearer error="insufficient_scope", scope="ledger:read""#});
    lane.fault(&json!({"endpoint": "api", "count": null, "status": 401, "headers": challenge}));
    let url = format!("{}/v1/wallets", lane.url("phoenix-wallet"));
    assert_eq!(get(&client, &url).0, 401);
    assert_eq!(lane.token_requests(), 1);
    assert_eq!(lane.count("/api/total"), 1);
}

#[test]
fn bodies_are_sent_again_with_the_second_token() {
    let lane = Lane::new();
    let client = lane.options("phoenix-wallet").scope(["wallets:write"]).build(Ureq(ureq::agent())).unwrap();
    let agent = ureq::agent();
    let url = format!("{}/v1/wallets", lane.url("phoenix-wallet"));
    client.token().unwrap();
    lane.control("POST", "revoke", &json!({}));
    let mut response = client
        .call("POST", &url, |headers: &Headers| -> Result<_, Box<dyn Error>> {
            let mut request = agent.post(&url);
            for (name, value) in headers.iter() {
                request = request.header(name, value);
            }
            let response = request.send("seventeen bytes!!")?;
            Ok(Reply::new(response.status().as_u16(), Vec::new(), response))
        })
        .unwrap();
    let answer: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!((&answer["body_bytes"], &answer["token_number"]), (&json!(17), &json!(2)));
}

#[test]
fn users_who_send_requests_themselves_are_told_whether_to_try_again() {
    let lane = Lane::new();
    let client = lane.options("phoenix-wallet").build(Ureq(ureq::agent())).unwrap();
    let url = format!("{}/v1/wallets", lane.url("phoenix-wallet"));
    client.token().unwrap();
    let token = client.token().unwrap();
    assert_eq!(client.reject(&token, "GET", &url, 200, &[]).unwrap(), Verdict::Pass);
    assert_eq!(client.reject(&token, "GET", &url, 401, &[]).unwrap(), Verdict::Retry);
    let next = client.token().unwrap();
    assert_eq!(next.generation, token.generation + 1);
    // A late answer to the old token does not cost the new one.
    assert_eq!(client.reject(&token, "GET", &url, 401, &[]).unwrap(), Verdict::Retry);
    assert_eq!(client.token().unwrap().generation, next.generation);
}

#[test]
fn tokens_go_nowhere_that_nobody_declared() {
    let lane = Lane::new();
    let client = lane.options("phoenix-wallet").build(Ureq(ureq::agent())).unwrap();
    for url in [&*AUTHORITY.other, "https://attacker.example/", "http://attacker.example/", "not a url"] {
        let error = client.headers("GET", url).unwrap_err();
        assert_eq!(error.code(), ErrorCode::OriginNotAllowed, "{url}");
    }
    let error = client.insecure_url(&lane.url("phoenix-wallet")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption);
}

#[test]
fn what_is_printed_holds_no_secret() {
    let lane = Lane::new();
    let options = lane.options("phoenix-market").parameter("resource_owner", "hush-hush");
    assert_no_secret(&options, &["hush-hush"]);
    let client = options.build(Ureq(ureq::agent())).unwrap();
    let token = client.token().unwrap();
    let access_token = token.access_token.expose();
    let url = format!("{}/v1/wallets", lane.url("phoenix-market"));
    let headers = client.headers("GET", &url).unwrap();
    assert!(headers.iter().any(|(_, value)| value.ends_with(access_token)));
    let embedded = client.insecure_url(&format!("{}/embed", lane.url("phoenix-market"))).unwrap();
    assert!(embedded.url.expose().contains(access_token));
    assert!(embedded.headers.iter().any(|(_, value)| value == "no-store"));
    assert_no_secret(&(&client, &token, &headers, &embedded, client.peek()), &[access_token, "hush-hush"]);
}

#[test]
fn another_scope_set_is_another_token() {
    let lane = Lane::new();
    let client = lane.options("phoenix-wallet").build(Ureq(ureq::agent())).unwrap();
    let ledger = client.with_scope(["ledger:read"]).unwrap();
    assert_ne!(client.token().unwrap().access_token, ledger.token().unwrap().access_token);
    // The same one, through another handle.
    let again = client.with_scope(["ledger:read"]).unwrap();
    assert_eq!(again.peek().unwrap().generation, 1);
    assert_eq!(lane.token_requests(), 2);
    assert_eq!(client.with_scope(["ledger:raed"]).map(drop).map_err(|error| error.code()), Ok(()));
    assert_eq!(client.with_scope(["two words"]).unwrap_err().code(), ErrorCode::InvalidOption);
}

#[test]
fn what_is_forgotten_is_fetched_anew_and_what_is_closed_stays_closed() {
    let lane = Lane::new();
    let client = lane.options("phoenix-wallet").build(Ureq(ureq::agent())).unwrap();
    client.token().unwrap();
    client.invalidate();
    assert!(client.peek().is_none());
    assert_eq!(client.token().unwrap().generation, 2);
    client.close();
    assert!(client.peek().is_none());
    assert_eq!(client.clone().token().unwrap_err().code(), ErrorCode::Closed);
    assert_eq!(lane.token_requests(), 2);
}

#[test]
fn the_cached_token_is_shown_until_it_ends_and_no_longer() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    let client = lane.options("phoenix-wallet").clock(clock.clone()).build(Ureq(ureq::agent())).unwrap();
    assert!(client.peek().is_none());
    client.token().unwrap();
    for (left, is_there) in [(HOUR / 2, true), (100_000, true), (1_000, true), (-1, false)] {
        clock.move_to(HOUR - left);
        assert_eq!(client.peek().is_some(), is_there, "{left}");
    }
    assert_eq!(lane.token_requests(), 1);
}

#[test]
fn a_static_token_is_for_the_users_own_tests() {
    let lane = Lane::new();
    let client = Client::static_token("t0ken").api_origins([&*AUTHORITY.http]).allow_loopback_http(true);
    let client = client.build(Ureq(ureq::agent())).unwrap();
    assert_eq!(client.token().unwrap().access_token.expose(), "t0ken");
    assert!(client.token().unwrap().expires_in() > std::time::Duration::from_secs(3_600 * 24 * 365));
    assert_eq!(get(&client, &format!("{}/v1/wallets", lane.url("phoenix-wallet"))).0, 401);
    assert_eq!(lane.token_requests(), 0);
}
