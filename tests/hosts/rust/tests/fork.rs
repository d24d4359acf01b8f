//! A fork while a flight is in the air and other threads hold the client's locks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use examples_rust::ureq::{self, Ureq};
use hosts_rust::{HOUR, Lane, MovedClock};
use remint::client::{Client, Outgoing, TokenOptions};
use remint::{ErrorCode, Secret, Transport};
use serde_json::json;

/// What a child found out, as its exit status.
const GOOD: i32 = 0;
const BAD: i32 = 1;

#[test]
fn a_forked_child_gets_its_own_token_and_does_not_hang() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    // An agent's own locks may be held in the child: it makes one for each request.
    let transport = |outgoing: Outgoing| Ureq(ureq::agent()).send(outgoing);
    let client = lane.options("phoenix-wallet").clock(clock.clone()).build(transport).unwrap();
    client.token().unwrap();
    lane.settings(&json!({"token_latency_ms": 50}));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    client.invalidate();
                    client.token().unwrap();
                    drop(client.peek());
                }
            });
        }
        let failed = (0..20).filter(|_| !in_child(|| is_useful(&client))).count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
    clock.move_to(2 * HOUR);
    assert!(in_child(|| is_useful(&client)));
    client.token().unwrap();
}

#[test]
fn a_forked_child_has_no_refresh_token_and_the_parent_keeps_its_own() {
    let lane = Lane::new();
    let clock = MovedClock::default();
    let transport = |outgoing: Outgoing| Ureq(ureq::agent()).send(outgoing);
    let client = lane.options("rapidomize").clock(clock.clone()).build(transport).unwrap();
    let ann = client.with_subject("ann", Secret::new(lane.mint("ann"))).unwrap();
    ann.token().unwrap();
    clock.move_to(3 * HOUR);
    assert!(in_child(|| ann.token().is_err_and(|error| error.code() == ErrorCode::ReauthorizationRequired)));
    ann.token().unwrap();
    assert_eq!(lane.count("/refresh_tokens_reused"), 0);
}

/// It hands out what it has, and fetches what it has not.
fn is_useful<T: Transport>(client: &Client<T>) -> bool {
    drop(client.peek());
    let patience = TokenOptions { timeout: Some(Duration::from_secs(10)), force: true, ..TokenOptions::default() };
    client.token().is_ok() && client.token_with(patience).is_ok() && client.peek().is_some()
}

/// Whether `work` succeeds in a forked child within some seconds.
fn in_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs on with this thread alone, whose memory is whole. glibc keeps its own locks across a fork; those
    // of other threads are what is tested here. `_exit` runs no destructors of the parent's.
    #[expect(unsafe_code, reason = "there is no other way to fork")]
    let child = unsafe {
        match libc::fork() {
            0 => libc::_exit(if work() { GOOD } else { BAD }),
            child => child,
        }
    };
    assert!(child > 0, "no fork");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut status = 0;
        // SAFETY: `child` is a child of this process that nobody else waits for, and `status` outlives the call.
        #[expect(unsafe_code, reason = "the child was not started by std")]
        let ended = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if ended == child {
            return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == GOOD;
        }
        if Instant::now() > deadline {
            // SAFETY: as above; it has not been waited for, so the number is still its own.
            #[expect(unsafe_code, reason = "the child was not started by std")]
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &raw mut status, 0);
            }
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
