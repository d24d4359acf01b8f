//! Callers as threads of `Client`.

use std::thread;
use std::time::Duration;

use remint::client::{Builder, Client, Headers, Outgoing, Token, TokenOptions, Transport};
use remint::event::Want;
use remint::step::Verdict;
use remint::{Error, Secret};

use super::world::World;
use super::{Caller, Shell};

/// A transport that waits for what the vector says.
pub(crate) struct Wires(World);

impl Transport for Wires {
    fn send(&self, request: Outgoing) -> Result<remint::client::Incoming, remint::client::SendError> {
        self.0.put_on_the_wire(request).wait()
    }
}

/// The blocking client.
pub(crate) struct Threads(Client<Wires>);

impl Threads {
    fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Client<Wires>) -> Result<T, Error> + Send + 'static,
    ) -> Caller<T> {
        let caller = Caller::new();
        let (theirs, client) = (caller.clone(), self.0.clone());
        let work = move || theirs.end(act(&client));
        // A caller is small: a thousand of them are at work in some vectors.
        if thread::Builder::new().stack_size(128 * 1024).spawn(work).is_err() {
            eprintln!("no thread could be started");
        }
        caller
    }
}

impl Shell for Threads {
    const TITLE: &'static str = "Client";
    const PATIENCE: u32 = 1_500;

    fn new(builder: Builder, world: World) -> Result<Self, Error> {
        builder.build(Wires(world)).map(Self)
    }

    fn view(&self, want: &Want) -> Result<Self, Error> {
        let mut client = self.0.clone();
        if let Some(subject) = &want.subject {
            client = client.with_subject(subject.clone(), None)?;
        }
        if let Some(scope) = &want.scope {
            client = client.with_scope(scope.clone())?;
        }
        Ok(Self(client))
    }

    fn adopt(&self, subject: &str, refresh_token: &str) -> Result<(), Error> {
        self.0.with_subject(subject, Secret::from(refresh_token)).map(drop)
    }

    fn token(&self, options: TokenOptions) -> Caller<Token> {
        // Who has no wishes takes the short way, past the core.
        let plain = options == TokenOptions::default();
        self.run(move |client| if plain { client.token() } else { client.token_with(options) })
    }

    fn headers(&self, method: &str, url: &str) -> Caller<Headers> {
        let (method, url) = (method.to_owned(), url.to_owned());
        self.run(move |client| client.headers(&method, &url))
    }

    fn reject(&self, token: &Token, url: &str, status: u16, headers: &[(String, String)]) -> Result<Verdict, Error> {
        self.0.reject(token, "GET", url, status, headers)
    }

    fn invalidate(&self) {
        self.0.invalidate();
    }

    fn close(&self) {
        self.run(|client| {
            client.close();
            Ok(())
        });
    }

    fn rest(&self) {
        thread::sleep(Duration::from_millis(2));
    }
}
