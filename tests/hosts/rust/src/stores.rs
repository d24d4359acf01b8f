//! What every store must do, and a Redis of the test's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use remint::Secret;
use remint::client::{Lock, Save, Store};

/// The name of a record.
pub const KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY";
/// Longer than any test.
pub const LONG: Duration = Duration::from_secs(60);
/// Over at once.
const SHORT: Duration = Duration::from_millis(1);

/// A folder that ends with the test.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A fresh one, which is not there yet.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("remint-store-{}-{count}", std::process::id())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server of Debian's package, on a port of its own.
pub struct Redis {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Redis {
    /// Starts one, without anything on the disk.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).expect("a folder");
        let mut server = Self { child: Self::spawn(port, folder.path()), port, _folder: folder };
        server.wait();
        server
    }

    fn spawn(port: u16, folder: &Path) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(folder).stdout(Stdio::null());
        command.spawn().expect("redis-server is installed: apt-get install redis-server")
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.client().get_connection().is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            assert!(matches!(self.child.try_wait(), Ok(None)), "redis-server has ended");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A client of the `redis` crate.
    pub fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).expect("a URL")
    }

    /// What it answers to a command.
    pub fn ask<R: redis::FromRedisValue>(&self, command: &str) -> R {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            asked.arg(word);
        });
        asked.query(&mut self.client()).expect("an answer")
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("a process");
    }

    /// Starts it again, without its data.
    pub fn restart(&mut self) {
        self.kill();
        self.child = Self::spawn(self.port, self._folder.path());
        self.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Waits for what is sure to come.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        thread::sleep(Duration::from_millis(5));
    }
}

fn secret(text: &str) -> Secret {
    Secret::from(text)
}

/// Does everything with a store that a client does, and fails if it is not as the contract says.
pub fn keeps_the_contract(store: &impl Store) {
    let (one, two, three) = (secret("one"), secret("two \"2\" \\ {}"), secret("three"));
    let locked = |record: Option<&Secret>| Lock::Locked { record: record.cloned() };
    let is_held = |found: &Lock, expected: Option<&Secret>| match found {
        Lock::Held { retry_in, record } => {
            *retry_in > Duration::ZERO && *retry_in <= LONG && record.as_ref() == expected
        }
        Lock::Locked { .. } => false,
    };

    assert_eq!(store.load(KEY).unwrap(), None);
    assert_eq!(store.save(KEY, Some(&one), &two, LONG, None).unwrap(), Save::Conflict { record: None });

    assert_eq!(store.lock(KEY, "a", LONG).unwrap(), locked(None));
    assert!(is_held(&store.lock(KEY, "b", LONG).unwrap(), None), "another owner gets the lock");
    assert_eq!(store.lock(KEY, "a", LONG).unwrap(), locked(None), "its owner can't extend it");
    assert_eq!(store.load(KEY).unwrap(), None, "a lock is no record");

    assert_eq!(store.save(KEY, None, &one, LONG, Some("a")).unwrap(), Save::Saved);
    assert_eq!(store.load(KEY).unwrap(), Some(one.clone()));
    assert_eq!(store.lock(KEY, "b", LONG).unwrap(), locked(Some(&one)), "a save did not end its owner's lock");

    assert_eq!(store.save(KEY, None, &two, LONG, Some("b")).unwrap(), Save::Conflict { record: Some(one.clone()) });
    assert_eq!(
        store.save(KEY, Some(&two), &two, LONG, Some("b")).unwrap(),
        Save::Conflict { record: Some(one.clone()) }
    );
    assert!(is_held(&store.lock(KEY, "a", LONG).unwrap(), Some(&one)), "a conflict ended the lock");

    store.lock(KEY, "a", Duration::ZERO).unwrap();
    assert!(is_held(&store.lock(KEY, "a", LONG).unwrap(), Some(&one)), "who has no lock gave it back");
    store.lock(KEY, "b", Duration::ZERO).unwrap();
    assert_eq!(store.lock(KEY, "a", LONG).unwrap(), locked(Some(&one)), "its owner can't give it back");

    assert_eq!(store.save(KEY, Some(&one), &two, LONG, Some("b")).unwrap(), Save::Saved);
    assert!(is_held(&store.lock(KEY, "b", LONG).unwrap(), Some(&two)), "a save ended another's lock");
    assert_eq!(store.save(KEY, Some(&two), &three, LONG, None).unwrap(), Save::Saved);
    assert!(is_held(&store.lock(KEY, "b", LONG).unwrap(), Some(&three)), "a save ended a lock unasked");

    store.lock(KEY, "a", SHORT).unwrap();
    until("a lock ends", || store.lock(KEY, "b", LONG).unwrap() == locked(Some(&three)));
    store.lock(KEY, "b", Duration::ZERO).unwrap();
    assert_eq!(store.load(KEY).unwrap(), Some(three.clone()), "a record ended with its lock");

    let other = KEY.replace("QUJD", "QUJE");
    assert_eq!(store.load(&other).unwrap(), None, "another key's record is read");
    assert_eq!(store.save(KEY, Some(&three), &one, SHORT, None).unwrap(), Save::Saved);
    until("a record ends", || store.load(KEY).unwrap().is_none());
    assert_eq!(store.save(KEY, None, &two, LONG, None).unwrap(), Save::Saved, "an ended record is in the way");
}

/// The number that is stored.
pub fn counted(store: &impl Store) -> u32 {
    store.load(KEY).unwrap().as_ref().map_or(0, number)
}

fn number(record: &Secret) -> u32 {
    record.expose().split(' ').next().unwrap_or_default().parse().expect("a number")
}

/// Adds one to the number that is stored, so many times, whoever else does so at the same time.
pub fn count_up(store: &impl Store, times: u32) {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..times {
        loop {
            let stored = store.load(KEY).unwrap();
            let count = stored.as_ref().map_or(0, number);
            // No two are the same, as records are not.
            let mark = WRITTEN.fetch_add(1, Ordering::Relaxed);
            let next = Secret::new(format!("{} by {} {mark}", count + 1, std::process::id()));
            if store.save(KEY, stored.as_ref(), &next, LONG, None).unwrap() == Save::Saved {
                break;
            }
        }
    }
}
