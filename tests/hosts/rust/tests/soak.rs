//! Threads and tasks that do all at once whatever a client can, before a server that fails at random: nobody hangs, nobody
//! gets an expired token, and no two requests are in the air for one token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hosts_rust::within;
use remint::client::{Builder, Incoming, Outgoing, SendError, Task, TokenOptions};
use remint::{AsyncTransport, Error, Family};

const SPAN: Duration = Duration::from_secs(4);

/// A server that answers in many ways, and what it saw.
#[derive(Clone, Debug, Default)]
struct Server {
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    draws: Arc<AtomicU32>,
}

impl Server {
    /// A number that looks random and is the same in each run.
    fn draw(&self) -> u32 {
        let number = self.draws.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9);
        (number ^ (number >> 15)).wrapping_mul(0x85EB_CA6B) >> 8
    }

    fn begin(&self) -> Duration {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        Duration::from_millis(u64::from(self.draw() % 30))
    }

    fn end(&self) -> Result<Incoming, SendError> {
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let answer = |status: u16, body: String| Ok(Incoming { status, headers: Vec::new(), body: body.into_bytes() });
        match self.draw() % 12 {
            0 => answer(503, String::new()),
            1 => answer(400, r#"{"error":"invalid_scope"}"#.to_owned()),
            2 => answer(200, "garbage".to_owned()),
            3 => Err(SendError::MaybeSent),
            4 => Err(SendError::NotSent),
            5 => answer(200, format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":0}}"#, self.draw())),
            lifetime => answer(
                200,
                format!(
                    r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{}}}"#,
                    self.draw(),
                    lifetime % 3 + 1
                ),
            ),
        }
    }
}

impl AsyncTransport for Server {
    async fn send(&self, _: Outgoing) -> Result<Incoming, SendError> {
        tokio::time::sleep(self.begin()).await;
        self.end()
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }
}

fn options() -> Builder {
    let options = Builder::new("phoenix-market").client_id("soak").client_secret("s3cret");
    let options = options.option("token_endpoint", "https://auth.example/token").on_notice(|_| {});
    // Else refusals would be remembered for longer than the test lasts.
    options.policy("terminal_first_min", 0.01).policy("terminal_first_max", 0.05).policy("terminal_max", 0.1)
}

fn wish(draw: u32) -> TokenOptions {
    TokenOptions {
        min_ttl: Duration::from_millis(if draw % 5 == 0 { 400 } else { 0 }),
        force: draw % 7 == 0,
        timeout: Some(Duration::from_millis(u64::from(draw % 400))),
    }
}

fn is_expected(error: &Error) -> bool {
    error.code().family() != Family::Usage
}

#[test]
fn threads() {
    let server = Server::default();
    let seen = server.clone();
    let served = within(60, move || {
        let transport = server.clone();
        let send = move |_: Outgoing| {
            thread::sleep(transport.begin());
            transport.end()
        };
        for aside in [true, false] {
            let client = options().background_refresh(aside).build(send.clone()).unwrap();
            let end = Instant::now() + SPAN / 2;
            let served = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        while Instant::now() < end {
                            let draw = server.draw();
                            match client.token_with(wish(draw)) {
                                Ok(_) => served.fetch_add(1, Ordering::Relaxed),
                                Err(error) => {
                                    assert!(is_expected(&error), "{error:?}");
                                    0
                                }
                            };
                            assert!(client.peek().is_none_or(|token| token.expires_in() <= Duration::from_secs(3)));
                            if draw % 211 == 0 {
                                client.invalidate();
                            }
                            if draw % 97 == 0 {
                                if let Some(token) = client.peek() {
                                    client.reject(&token, "GET", "https://api.example/", 401, &[]).unwrap();
                                }
                            }
                            thread::sleep(Duration::from_micros(u64::from(draw % 2_000)));
                        }
                    });
                }
            });
            client.close();
            assert!(served.load(Ordering::Relaxed) > 100, "{served:?}");
        }
        server
    });
    assert_eq!(served.at_once.load(Ordering::SeqCst), 0);
    assert_eq!(seen.most_at_once.load(Ordering::SeqCst), 1);
    assert!(seen.requests.load(Ordering::SeqCst) > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks() {
    let server = Server::default();
    let client = options().build_async(server.clone()).unwrap();
    let end = Instant::now() + SPAN;
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (client, server) = (client.clone(), server.clone());
            tokio::spawn(async move {
                while Instant::now() < end {
                    let draw = server.draw();
                    let patience = Duration::from_millis(u64::from(draw % 300));
                    // Some are cancelled in the middle.
                    if let Ok(Err(error)) = tokio::time::timeout(patience, client.token_with(wish(draw))).await {
                        assert!(is_expected(&error), "{error:?}");
                    }
                    if draw % 211 == 0 {
                        client.invalidate();
                    }
                    tokio::time::sleep(Duration::from_micros(u64::from(draw % 2_000))).await;
                }
            })
        })
        .collect();
    for caller in callers {
        tokio::time::timeout(Duration::from_secs(30), caller).await.unwrap().unwrap();
    }
    tokio::time::timeout(Duration::from_secs(30), client.close()).await.unwrap();
    assert_eq!(server.most_at_once.load(Ordering::SeqCst), 1);
}
