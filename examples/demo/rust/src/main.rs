//! The demo's Rust side: one client of one provider, told line by line what to do. `cargo xtask demo` runs it.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::io;
use std::sync::Barrier;
use std::thread;

use examples_rust::ureq::{Ureq, agent, get};
use remint::client::Token;
use remint::event::AuthorizationUrl;
use remint::{Builder, Client, Secret};
use serde_json::{Map, Value, json};

type Outcome = Result<Value, Box<dyn Error>>;

struct Demo {
    provider: String,
    options: Map<String, Value>,
    /// Where one API call goes.
    api: String,
    client: Client<Ureq>,
}

impl Demo {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut arguments = env::args().skip(1);
        let (Some(provider), Some(base)) = (arguments.next(), arguments.next()) else {
            return Err("usage: demo-rust PROVIDER BASE_URL, with DEMO_OPTIONS in the environment".into());
        };
        let options = serde_json::from_str(&env::var("DEMO_OPTIONS")?)?;
        let client = client(&provider, &options)?;
        Ok(Self { provider, options, api: format!("{base}/v1/wallets"), client })
    }

    fn step(&mut self, words: &[&str]) -> Outcome {
        match words {
            ["new"] => self.new_client(),
            ["subject", name, refresh_token] => self.subject(name, refresh_token),
            ["sign_in"] => self.sign_in(),
            ["token"] => Ok(about(&self.client.token()?)),
            ["call"] => self.call(),
            ["crowd", size] => self.crowd(size.parse()?),
            _ => Err("no such step".into()),
        }
    }

    /// A client that holds nothing yet.
    fn new_client(&mut self) -> Outcome {
        self.client = client(&self.provider, &self.options)?;
        Ok(json!({}))
    }

    /// The client for one user, whose refresh token comes from a database.
    fn subject(&mut self, name: &str, refresh_token: &str) -> Outcome {
        self.client = self.client.with_subject(name, Secret::new(refresh_token))?;
        Ok(json!({}))
    }

    fn sign_in(&self) -> Outcome {
        let redirect_uri = self.options.get("redirect_uri").and_then(Value::as_str).unwrap_or_default().to_owned();
        let asked = self.client.authorization_url(AuthorizationUrl { redirect_uri, ..AuthorizationUrl::default() })?;
        let consent = agent().get(&asked.url).call()?;
        let callback = consent.headers().get("location").ok_or("no redirect")?.to_str()?;
        Ok(about(&self.client.exchange(callback, asked.session, None)?))
    }

    fn call(&self) -> Outcome {
        let agent = agent();
        let answer = self.client.call("GET", &self.api, |headers| get(&agent, &self.api, headers))?;
        Ok(json!({ "status": answer.status().as_u16() }))
    }

    fn crowd(&self, size: usize) -> Outcome {
        let gate = Barrier::new(size);
        let caller = || {
            gate.wait();
            self.client.token()
        };
        let tokens = thread::scope(|scope| {
            let callers: Vec<_> = (0..size).map(|_| scope.spawn(caller)).collect();
            callers
                .into_iter()
                .map(|caller| caller.join().map_err(|_| "a caller panicked"))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let tokens: Vec<Token> = tokens.into_iter().collect::<Result<_, _>>()?;
        let different: HashSet<&str> = tokens.iter().map(|token| token.access_token.expose()).collect();
        Ok(json!({ "tokens": different.len() }))
    }
}

fn client(provider: &str, options: &Map<String, Value>) -> Result<Client<Ureq>, remint::Error> {
    let builder = Builder::new(provider);
    options.iter().fold(builder, |builder, (name, value)| builder.option(name, value.clone())).build(Ureq(agent()))
}

fn about(token: &Token) -> Value {
    json!({ "expires_in": token.expires_in().as_secs_f64() })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut demo = Demo::start()?;
    for line in io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let mut answer = match demo.step(&words) {
            Ok(answer) => answer,
            Err(error) => json!({ "detail": error.to_string() }),
        };
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("ok".to_owned(), (!answer.contains_key("detail")).into());
            answer.insert("provider".to_owned(), demo.provider.as_str().into());
            answer.insert("step".to_owned(), words.first().copied().into());
        }
        println!("{answer}");
    }
    Ok(())
}
