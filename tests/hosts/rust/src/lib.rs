//! The local authority as a child of the tests, a lane of it for each test, and what the tests have in common.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

pub mod scripted;
pub mod stores;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use remint::Builder;
use remint::client::Clock;
use serde_json::{Value, json};

/// The authority's default client.
pub const CLIENT_ID: &str = "demo-client";
/// Its secret.
pub const SECRET: &str = "s3cret+/%&: odd";
/// The lifetime of most tokens, in milliseconds.
pub const HOUR: i64 = 3_600_000;

/// One authority for all tests of a program. It ends when the program's end closes its stdin.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::start);

/// The program under `tests/authority`.
#[derive(Debug)]
pub struct Authority {
    /// Where it speaks HTTP.
    pub http: String,
    /// Where it speaks HTTPS.
    pub https: String,
    /// Another origin.
    pub other: String,
    /// The certificate of its authority, as PEM.
    pub ca: Vec<u8>,
    _child: Mutex<(Child, Option<ChildStdin>)>,
}

impl Authority {
    fn start() -> Self {
        let ca = std::env::temp_dir().join(format!("remint-ca-{}.pem", std::process::id()));
        let mut command = Command::new(program("authority"));
        command.args(["--exit-with-stdin", "--quiet", "--ca-out"]).arg(&ca);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the authority starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its first line");
        let ready: Value = serde_json::from_str(&line).expect("its first line is JSON");
        let address = |name: &str| ready[name].as_str().expect("an address").to_owned();
        let pem = std::fs::read(&ca).expect("the certificate");
        let _ = std::fs::remove_file(&ca);
        let stdin = child.stdin.take();
        Self {
            http: address("http"),
            https: address("https"),
            other: address("other"),
            ca: pem,
            _child: Mutex::new((child, stdin)),
        }
    }
}

/// A program of the workspace, built if need be.
pub fn program(name: &str) -> PathBuf {
    let package = if name == "authority" { "authority" } else { "examples-rust" };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--message-format=json", "--package", package])
        .args(["--bin", name])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let is_meant = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| is_meant).map(PathBuf::from)
    });
    executable.unwrap_or_else(|| panic!("`{name}` does not build"))
}

/// A corner of the authority that no other test sees.
#[derive(Debug)]
pub struct Lane(String);

impl Lane {
    /// A fresh one.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(format!("rust-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The address that stands for a provider's host.
    pub fn url(&self, provider: &str) -> String {
        format!("{}/{}/{provider}", AUTHORITY.http, self.0)
    }

    /// One request to the lane's control.
    pub fn control(&self, method: &str, what: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let address = AUTHORITY.http.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the authority listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        write!(
            stream,
            "{method} /{}/control/{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.0,
            body.len()
        )
        .expect("the request is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer is read");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an end of headers");
        assert!(head.contains(" 200 ") || head.contains(" 204 "), "{method} {what}: {answer}");
        serde_json::from_str(body).unwrap_or_default()
    }

    /// Adds a rule for the token endpoint, unless it names another.
    pub fn fault(&self, rule: &Value) {
        let mut whole = json!({"endpoint": "token"});
        for (name, value) in rule.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        self.control("POST", "faults", &whole);
    }

    /// Merges into the settings.
    pub fn settings(&self, settings: &Value) {
        self.control("PUT", "settings", settings);
    }

    /// One of the counters, such as `/api/by_status/401`; zero if there is none of that name yet.
    pub fn count(&self, pointer: &str) -> u64 {
        self.control("GET", "counters", &Value::Null).pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// How many token requests arrived.
    pub fn token_requests(&self) -> u64 {
        self.count("/token/total")
    }

    /// A refresh token of a user's.
    pub fn mint(&self, subject: &str) -> String {
        let minted = self.control("POST", "mint", &json!({"provider": "rapidomize", "subject": subject}));
        minted["refresh_token"].as_str().expect("a refresh token").to_owned()
    }

    /// The options of one of the five providers, as its documentation would have them.
    pub fn options(&self, provider: &str) -> Builder {
        let base = self.url(provider);
        let token = if provider == "personify" { "/connect/token" } else { "/oauth/token" };
        let options = Builder::new(provider).client_id(CLIENT_ID).client_secret(SECRET).allow_loopback_http(true);
        let endpoint = format!("{base}{token}");
        match provider {
            "phoenix-security" => options.option("base_url", base),
            "phoenix-wallet" => {
                options.option("token_endpoint", endpoint).option("base_url", base).scope(["wallets:read"])
            }
            "phoenix-market" => options
                .option("token_endpoint", endpoint)
                .option("iframe_url", format!("{base}/embed"))
                .api_origins([&*AUTHORITY.http]),
            "personify" => {
                options.option("token_endpoint", endpoint).option("base_url", base).option("tenant_id", "demo-tenant")
            }
            "rapidomize" => options
                .option("token_endpoint", endpoint)
                .option("authorization_endpoint", format!("{base}/oauth/authorize"))
                .option("issuer", &*base)
                .option("base_url", base)
                .option("redirect_uri", "https://app.example/callback"),
            _ => panic!("no such provider"),
        }
    }
}

/// Both clocks of this machine, which can be moved on.
#[derive(Clone, Debug, Default)]
pub struct MovedClock(Arc<AtomicI64>);

impl MovedClock {
    /// Sets how far it is ahead, in milliseconds.
    pub fn move_to(&self, offset: i64) {
        self.0.store(offset, Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn wall(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or_default() + self.0.load(Ordering::SeqCst)
    }

    fn boot(&self) -> i64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        i64::try_from(START.elapsed().as_millis()).unwrap_or_default() + self.0.load(Ordering::SeqCst)
    }
}

/// Runs something that must not hang.
pub fn within<R: Send + 'static>(seconds: u64, work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(Duration::from_secs(seconds)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: no outcome after {seconds} s"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => panic!("the worker ended without a result"),
        },
    }
}

/// Runs `call` on so many threads at the same moment.
pub fn crowd<R: Send>(count: usize, call: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let gate = std::sync::Barrier::new(count);
    thread::scope(|scope| {
        let (gate, call) = (&gate, &call);
        let run = move |index| {
            gate.wait();
            call(index)
        };
        let thread = |index| {
            let builder = thread::Builder::new().stack_size(256 * 1024);
            builder.spawn_scoped(scope, move || run(index)).expect("a thread")
        };
        let threads: Vec<_> = (0..count).map(thread).collect();
        threads.into_iter().map(|thread| thread.join().expect("no caller panics")).collect()
    })
}

/// How many different tokens there are.
pub fn distinct<'a>(tokens: impl IntoIterator<Item = &'a remint::client::Token>) -> usize {
    tokens.into_iter().map(|token| token.access_token.expose()).collect::<BTreeSet<_>>().len()
}

/// Fails if what is printed holds a secret.
pub fn assert_no_secret(printed: &dyn Debug, secrets: &[&str]) {
    let text = format!("{printed:?} {printed:#?}");
    let encoded: String = SECRET
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    for secret in secrets.iter().copied().chain([SECRET, &encoded]) {
        assert!(!text.contains(secret), "a secret is printed: {text}");
    }
}
