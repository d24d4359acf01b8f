//! Callers as tasks of `AsyncClient`, on a runtime that does nothing but what the vector lets happen.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use remint::client::{
    AsyncClient, AsyncTransport, Builder, Headers, Incoming, Outgoing, SendError, Task, Token, TokenOptions,
};
use remint::event::Want;
use remint::step::Verdict;
use remint::{Error, Secret};

use super::world::World;
use super::{Caller, Shell};

/// The transport and its runtime: everything runs when the runner says so, in the order in which it began.
#[derive(Clone)]
pub(crate) struct Runtime {
    world: World,
    tasks: Arc<Mutex<Vec<Task>>>,
}

impl Runtime {
    fn add(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }

    /// Runs all tasks until none of them can go on.
    fn run(&self) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        while woken.0.swap(false, Ordering::AcqRel) {
            let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            tasks.retain_mut(|task| Pin::new(task).poll(&mut context).is_pending());
            let mut now = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            if !now.is_empty() {
                woken.0.store(true, Ordering::Release);
            }
            tasks.append(&mut now);
            *now = tasks;
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl AsyncTransport for Runtime {
    fn send(&self, request: Outgoing) -> impl Future<Output = Result<Incoming, SendError>> + Send {
        let wire = self.world.put_on_the_wire(request);
        // Answers and time come from outside, and then everything is polled anyway.
        poll_fn(move |_| wire.peek().map_or(Poll::Pending, Poll::Ready))
    }

    fn spawn(&self, task: Task) {
        self.add(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let world = self.world.clone();
        let until = world.now().boot.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
        poll_fn(move |_| if world.now().boot >= until { Poll::Ready(()) } else { Poll::Pending })
    }
}

/// The asynchronous client.
pub(crate) struct Tasks {
    client: AsyncClient<Runtime>,
    runtime: Runtime,
}

impl Tasks {
    fn run<T: Send + 'static, F>(&self, act: impl FnOnce(AsyncClient<Runtime>) -> F) -> Caller<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let caller = Caller::new();
        let theirs = caller.clone();
        let mut work = Some(Box::pin(act(self.client.clone())));
        self.runtime.add(poll_fn(move |context| {
            if theirs.is_cancelled() {
                // This is how a task is cancelled: it is dropped where it waits.
                work = None;
            }
            match work.as_mut().map(|work| work.as_mut().poll(context)) {
                None => Poll::Ready(()),
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(result)) => {
                    theirs.end(result);
                    Poll::Ready(())
                }
            }
        }));
        caller
    }
}

impl Shell for Tasks {
    const TITLE: &'static str = "AsyncClient";
    const PATIENCE: u32 = 1;

    fn new(builder: Builder, world: World) -> Result<Self, Error> {
        let runtime = Runtime { world, tasks: Arc::default() };
        Ok(Self { client: builder.build_async(runtime.clone())?, runtime })
    }

    fn view(&self, want: &Want) -> Result<Self, Error> {
        let mut client = self.client.clone();
        if let Some(subject) = &want.subject {
            client = client.with_subject(subject.clone(), None)?;
        }
        if let Some(scope) = &want.scope {
            client = client.with_scope(scope.clone())?;
        }
        Ok(Self { client, runtime: self.runtime.clone() })
    }

    fn adopt(&self, subject: &str, refresh_token: &str) -> Result<(), Error> {
        self.client.with_subject(subject, Secret::from(refresh_token)).map(drop)
    }

    fn token(&self, options: TokenOptions) -> Caller<Token> {
        // Who has no wishes takes the short way, past the core.
        let plain = options == TokenOptions::default();
        self.run(
            move |client| async move { if plain { client.token().await } else { client.token_with(options).await } },
        )
    }

    fn headers(&self, method: &str, url: &str) -> Caller<Headers> {
        let (method, url) = (method.to_owned(), url.to_owned());
        self.run(move |client| async move { client.headers(&method, &url).await })
    }

    fn reject(&self, token: &Token, url: &str, status: u16, headers: &[(String, String)]) -> Result<Verdict, Error> {
        self.client.reject(token, "GET", url, status, headers)
    }

    fn invalidate(&self) {
        self.client.invalidate();
    }

    fn close(&self) {
        self.run(|client| async move {
            client.close().await;
            Ok(())
        });
    }

    fn rest(&self) {
        self.runtime.run();
    }
}
