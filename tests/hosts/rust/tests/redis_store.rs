//! The store in Redis, against a real server that stops, forgets and refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use examples_rust::reqwest::{self, Reqwest};
use examples_rust::ureq::{self, Ureq};
use hosts_rust::stores::{KEY, LONG, Redis, count_up, counted, keeps_the_contract, until};
use hosts_rust::{Lane, crowd, distinct};
use remint::client::{AsyncRedisStore, AsyncStore, Lock, RedisStore, Save, Store, StoreError};
use remint::notice::Notice;
use remint::{ErrorCode, Secret};
use tokio::runtime::Runtime;

/// The store for tasks, for what is written for threads.
struct Awaited(AsyncRedisStore, Runtime);

impl Awaited {
    fn new(redis: &Redis) -> Self {
        Self(AsyncRedisStore::new(redis.client()).unwrap(), Runtime::new().unwrap())
    }
}

impl Store for Awaited {
    fn load(&self, key: &str) -> Result<Option<Secret>, StoreError> {
        self.1.block_on(self.0.load(key))
    }

    fn lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lock, StoreError> {
        self.1.block_on(self.0.lock(key, owner, ttl))
    }

    fn save(
        &self,
        key: &str,
        expect: Option<&Secret>,
        record: &Secret,
        ttl: Duration,
        unlock: Option<&str>,
    ) -> Result<Save, StoreError> {
        self.1.block_on(self.0.save(key, expect, record, ttl, unlock))
    }
}

fn store(redis: &Redis) -> RedisStore {
    RedisStore::new(redis.client()).unwrap()
}

#[test]
fn the_scripts_are_those_of_all_languages() {
    for name in ["lock.lua", "save.lua"] {
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../core/src/client/redis/");
        let all = concat!(env!("CARGO_MANIFEST_DIR"), "/../../stores/redis/");
        let [ours, all] = [ours, all].map(|folder| fs::read_to_string(format!("{folder}{name}")).unwrap());
        assert_eq!(ours, all, "{name}");
    }
}

#[test]
fn both_keep_the_contract() {
    let redis = Redis::new();
    keeps_the_contract(&store(&redis));
    redis.ask::<()>("FLUSHALL");
    keeps_the_contract(&Awaited::new(&redis));
    redis.ask::<()>("FLUSHALL");
    keeps_the_contract(&RedisStore::over(move |_| redis.client().get_connection()).unwrap());
}

#[test]
fn everything_has_an_end_and_a_prefix() {
    let redis = Redis::new();
    let store = store(&redis).prefix("app:");
    let name = format!("app:{KEY}");
    store.lock(KEY, "a", LONG).unwrap();
    assert!((1..=60_000).contains(&redis.ask::<i64>(&format!("PTTL {name}"))));
    store.save(KEY, None, &"record".into(), 2 * LONG, Some("a")).unwrap();
    assert!((60_001..=120_000).contains(&redis.ask::<i64>(&format!("PTTL {name}"))));
    assert_eq!(redis.ask::<Vec<String>>("KEYS *"), [name]);
    assert!(!format!("{store:?}").contains("record"));
}

#[test]
fn nothing_is_lost_between_threads_and_tasks() {
    let redis = Redis::new();
    crowd(6, |index| if index % 2 == 0 { count_up(&store(&redis), 30) } else { count_up(&Awaited::new(&redis), 30) });
    assert_eq!(counted(&store(&redis)), 180);
}

#[test]
fn a_server_that_forgot_the_scripts_gets_them_again() {
    let mut redis = Redis::new();
    let (threads, tasks) = (store(&redis), Awaited::new(&redis));
    count_up(&threads, 1);
    redis.ask::<()>("SCRIPT FLUSH");
    count_up(&tasks, 1);
    redis.ask::<()>("SCRIPT FLUSH");
    count_up(&threads, 1);
    assert_eq!(counted(&tasks), 3);
    // Its connections are cut, too: what only reads is sent once more.
    redis.restart();
    assert_eq!(threads.load(KEY).unwrap(), None);
    assert_eq!(tasks.load(KEY).unwrap(), None);
    count_up(&threads, 1);
    count_up(&tasks, 1);
}

#[test]
fn a_server_that_refuses_or_is_not_there_has_written_nothing() {
    let mut redis = Redis::new();
    let stores: [&dyn Fn(&Redis) -> StoreError; 2] =
        [&|redis| store(redis).save(KEY, None, &"record".into(), LONG, None).unwrap_err(), &|redis| {
            Awaited::new(redis).save(KEY, None, &"record".into(), LONG, None).unwrap_err()
        }];
    redis.ask::<()>("REPLICAOF 127.0.0.1 1");
    for save in stores {
        let error = save(&redis);
        assert!(error.is_down(), "read-only: {error}");
    }
    redis.ask::<()>("REPLICAOF NO ONE");
    redis.ask::<()>("CONFIG SET maxmemory 1");
    for save in stores {
        let error = save(&redis);
        assert!(error.is_down(), "no memory: {error}");
    }
    redis.kill();
    for save in stores {
        let error = save(&redis);
        assert!(error.is_down(), "not there: {error}");
        assert!(!format!("{error:?} {error}").contains("record"), "{error:?}");
    }
}

#[test]
fn a_server_that_does_not_answer_may_have_written() {
    let redis = Redis::new();
    let soon = Duration::from_millis(100);
    let (threads, tasks) = (store(&redis).timeout(soon), AsyncRedisStore::new(redis.client()).unwrap().timeout(soon));
    let tasks = Awaited(tasks, Runtime::new().unwrap());
    count_up(&threads, 1);
    count_up(&tasks, 1);
    let stored = threads.load(KEY).unwrap();
    redis.ask::<()>("CLIENT PAUSE 1000");
    for late in [
        threads.save(KEY, stored.as_ref(), &"late".into(), LONG, None),
        tasks.save(KEY, stored.as_ref(), &"late".into(), LONG, None),
    ] {
        let error = late.unwrap_err();
        assert!(!error.is_down(), "{error}");
    }
    // Neither takes a late answer for that of the next command.
    redis.ask::<()>("CLIENT UNPAUSE");
    until("it answers again", || threads.load(KEY).is_ok() && tasks.load(KEY).is_ok());
    let found = threads.load(KEY).unwrap();
    assert!(found == stored || found == Some("late".into()));
    assert_eq!(tasks.load(KEY).unwrap(), found);
}

#[test]
fn a_server_elsewhere_needs_tls() {
    for url in ["redis://redis.example:6379", "redis://10.0.0.1", "redis://[2001:db8::1]"] {
        let client = || redis::Client::open(url).unwrap();
        let refused = [RedisStore::new(client()).err(), AsyncRedisStore::new(client()).err()];
        for error in refused {
            let error = error.unwrap();
            assert_eq!(error.code(), ErrorCode::InvalidOption);
            assert!(error.message().contains("rediss:"), "{error}");
        }
        assert!(RedisStore::insecure_plaintext(client()).is_ok());
    }
    for url in ["redis://127.0.0.1", "redis://localhost", "redis://[::1]", "unix:///run/redis.sock"] {
        assert!(RedisStore::new(redis::Client::open(url).unwrap()).is_ok(), "{url}");
    }
}

#[test]
fn clients_share_one_token_and_hear_of_each_other_until_they_are_closed() {
    let (lane, redis) = (Lane::new(), Redis::new());
    let hear = || redis.ask::<(String, u32)>("PUBSUB NUMSUB remint:changed").1;
    let client = || lane.options("phoenix-wallet").store(store(&redis)).build(Ureq(ureq::agent())).unwrap();
    let clients = [client(), client(), client()];
    let tokens: Vec<_> = clients.iter().map(|client| client.token().unwrap()).collect();
    assert_eq!(distinct(&tokens), 1);
    assert_eq!(lane.token_requests(), 1);
    until("all of them hear", || hear() == 3);
    let [first, others @ ..] = clients;
    first.close();
    until("the closed one does no more", || hear() == 2);
    drop(others);
    until("nor do those that are gone", || hear() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_share_one_token_and_hear_of_each_other_until_they_are_closed() {
    let (lane, redis) = (Lane::new(), Redis::new());
    let hear = || tokio::task::block_in_place(|| redis.ask::<(String, u32)>("PUBSUB NUMSUB remint:changed").1);
    let client = || {
        let store = AsyncRedisStore::new(redis.client()).unwrap();
        lane.options("phoenix-wallet").store_async(store).build_async(Reqwest(reqwest::client().unwrap())).unwrap()
    };
    let (first, second, third) = (client(), client(), client());
    let tokens = [first.token().await.unwrap(), second.token().await.unwrap(), third.token().await.unwrap()];
    assert_eq!(distinct(&tokens), 1);
    assert_eq!(lane.token_requests(), 1);
    until("all of them hear", || hear() == 3);
    first.close().await;
    until("the closed one does no more", || hear() == 2);
    drop((second, third));
    until("nor do those that are gone", || hear() == 0);
}

#[test]
fn a_store_that_is_gone_stops_nobody_and_says_why() {
    let (lane, mut redis) = (Lane::new(), Redis::new());
    redis.kill();
    let (heard, hears) = mpsc::channel();
    let options = lane.options("phoenix-wallet").store(store(&redis));
    let client = options.on_store_error(move |error| heard.send(error.to_string()).unwrap());
    client.build(Ureq(ureq::agent())).unwrap().token().unwrap();
    assert_eq!(lane.token_requests(), 1);
    let reason = hears.recv().unwrap();
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn what_one_invalidates_all_let_go_of() {
    let (lane, redis) = (Lane::new(), Redis::new());
    let client = || lane.options("phoenix-wallet").store(store(&redis)).build(Ureq(ureq::agent())).unwrap();
    let (one, other) = (client(), client());
    let first = [one.token().unwrap(), other.token().unwrap()];
    assert_eq!(distinct(&first), 1);
    until("both hear", || redis.ask::<(String, u32)>("PUBSUB NUMSUB remint:changed").1 == 2);
    one.invalidate();
    until("the other lets go of it", || distinct([&first[0], &other.token().unwrap()]) == 2);
    assert_eq!(distinct(&[one.token().unwrap(), other.token().unwrap()]), 1);
    assert_eq!(lane.token_requests(), 2);
}

#[test]
fn with_keys_the_server_sees_no_token_and_a_wrong_key_is_told() {
    let (lane, redis) = (Lane::new(), Redis::new());
    let (heard, hears) = mpsc::channel();
    let options = || {
        let heard = heard.clone();
        let told = move |notice: &Notice| drop(heard.send(serde_json::json!(notice).to_string()));
        lane.options("phoenix-wallet").store(store(&redis)).on_notice(told)
    };
    let client =
        |keys: &[(&str, [u8; 32])]| options().store_keys(keys.iter().copied()).build(Ureq(ureq::agent())).unwrap();
    let token = client(&[("old", [1; 32])]).token().unwrap();
    let names: Vec<String> = redis.ask("KEYS *");
    let stored: Vec<String> = redis.ask(&format!("HGETALL {}", names[0]));
    assert_eq!(names.len(), 1);
    assert!(!stored.concat().contains(token.access_token.expose()) && stored.concat().contains("old"), "{stored:?}");
    let replaced = client(&[("new", [2; 32]), ("old", [1; 32])]).token().unwrap();
    assert_eq!(distinct(&[token, replaced]), 1);
    assert_eq!(lane.token_requests(), 1);
    let _ = client(&[("old", [3; 32])]).token();
    let notices: Vec<_> = hears.try_iter().collect();
    assert!(notices.iter().any(|notice| notice.contains("record_refused")), "{notices:?}");
    let none = options().store_keys([("", ""); 0]).build(Ureq(ureq::agent())).unwrap_err();
    assert_eq!(none.code(), ErrorCode::InvalidOption);
    let short = options().store_keys([("short", "AAAA")]).build(Ureq(ureq::agent())).unwrap_err();
    assert_eq!(short.code(), ErrorCode::InvalidOption);
    assert!(short.message().contains("store_keys") && !short.message().contains("AAAA"), "{short}");
}
