//! The core for JavaScript. Plain data goes in, plain data comes out; every decision is made in the crate `remint`.
//!
//! Text goes in as UTF-8 bytes, because a JavaScript string costs more to hand over; what belongs together
//! comes out in one call of a method of [`Record`], for the same reason.

use remint::event::Received;
use remint::step::OpId;
use remint::{
    Answer, Config, Error, ErrorCode, Event, HttpResponse, Now, Registered, Secret, Step, TokenRequest, TokenSet,
};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The JavaScript object that is being filled.
    pub type Record;

    /// Lines: method, URL, body, then a name and a value for each header.
    #[wasm_bindgen(method)]
    fn request(this: &Record, lines: &str, has_body: bool);

    /// Lines: access token, type, scope, refresh token, oddities as JSON.
    #[wasm_bindgen(method)]
    fn token(this: &Record, lines: &str, lifetime: f64, has_scope: bool, has_refresh_token: bool);
}

/// The step machine.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Core(remint::Core);

#[wasm_bindgen]
impl Core {
    /// Checks the options, one JSON object, and starts with an empty cache. Throws an error as JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(options: Vec<u8>) -> Result<Self, JsValue> {
        Ok(Self(remint::Core::new(Config::new(text(options).expose()).map_err(thrown)?)))
    }

    /// What follows from one event. Event and step are JSON.
    pub fn handle(&mut self, event: Vec<u8>, wall: f64, boot: f64, entropy: &[u8]) -> String {
        match entropy.try_into() {
            Ok(entropy) => self.0.handle_json(text(event).expose(), now(wall, boot), entropy).to_json(),
            Err(_) => refused(ENTROPY),
        }
    }

    /// What follows from an HTTP answer. `headers` are lines: a name and a value for each header.
    #[expect(clippy::too_many_arguments, reason = "a struct would cost more to cross the boundary")]
    pub fn received(
        &mut self,
        op: &str,
        status: u16,
        headers: &[u8],
        body: Vec<u8>,
        wall: f64,
        boot: f64,
        entropy: &[u8],
    ) -> String {
        let Ok(op) = op.parse::<OpId>() else {
            return refused("`op` must be the id that the operation came with");
        };
        let event = Event::Received(Received { op, status, headers: pairs(headers), body });
        match entropy.try_into() {
            Ok(entropy) => self.0.handle(event, now(wall, boot), entropy).to_json(),
            Err(_) => refused(ENTROPY),
        }
    }

    /// One token request outside of the cache. The request goes into `record`; throws an error as JSON.
    pub fn build(&self, request: &[u8], record: &Record) -> Result<Exchange, JsValue> {
        let request: TokenRequest = serde_json::from_slice(request).map_err(|_| {
            thrown(Error::new(ErrorCode::InvalidOption, "the token request is not one of those that the README lists"))
        })?;
        let (request, exchange) = self.0.config().build(request).map_err(thrown)?;
        let body = request.body.as_deref();
        let mut lines = [request.method, &request.url, body.unwrap_or_default()].join("\n");
        for (name, value) in &request.headers {
            lines.extend(["\n", name, "\n", value]);
        }
        record.request(Secret::new(lines).expose(), body.is_some());
        Ok(Exchange(exchange))
    }
}

/// What alone can read the answer to a request that was built.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Exchange(remint::Exchange);

#[wasm_bindgen]
impl Exchange {
    /// Reads the answer, once. The token goes into `record`; throws an error as JSON.
    pub fn finish(
        self,
        status: u16,
        headers: &[u8],
        body: Vec<u8>,
        wall: f64,
        boot: f64,
        record: &Record,
    ) -> Result<(), JsValue> {
        let response = HttpResponse { status, headers: &pairs(headers), body: &body };
        let TokenSet { access_token, token_type, lifetime, scope, refresh_token, oddities, .. } =
            self.0.finish(response, now(wall, boot)).map_err(thrown)?;
        // Plain enums have no way to fail.
        let oddities =
            if oddities.is_empty() { String::new() } else { serde_json::to_string(&oddities).unwrap_or_default() };
        let lines = Secret::new(
            [
                access_token.expose(),
                &token_type,
                scope.as_deref().unwrap_or_default(),
                refresh_token.as_ref().map_or("", Secret::expose),
                &oddities,
            ]
            .join("\n"),
        );
        record.token(lines.expose(), lifetime as f64, scope.is_some(), refresh_token.is_some());
        Ok(())
    }
}

/// What registers clients (RFC 7591) and looks after registrations (RFC 7592).
#[wasm_bindgen]
#[derive(Debug)]
pub struct Registrar(remint::Registrar);

#[wasm_bindgen]
impl Registrar {
    /// Checks the options, one JSON object. Throws an error as JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(options: Vec<u8>) -> Result<Self, JsValue> {
        remint::Registrar::new(text(options).expose()).map(Self).map_err(thrown)
    }

    /// One request and what reads its answer. Throws an error as JSON.
    pub fn build(&self, request: Vec<u8>) -> Result<Registration, JsValue> {
        let request = serde_json::from_str(text(request).expose()).map_err(|_| {
            thrown(Error::new(
                ErrorCode::InvalidOption,
                "the registration request is not one of those that the README lists",
            ))
        })?;
        self.0.build(request).map(|registration| Registration(Some(registration))).map_err(thrown)
    }
}

/// What alone can read the answer to a registration request.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Registration(Option<remint::Registration>);

#[wasm_bindgen]
impl Registration {
    /// The request as JSON, to be sent once.
    pub fn request(&self) -> String {
        // A plain struct has no way to fail.
        self.0.as_ref().map(|next| serde_json::to_string(next.request()).unwrap_or_default()).unwrap_or_default()
    }

    /// Reads the answer: the client as JSON, `null` once it is deleted, or nothing if there is another request now.
    /// Throws an error as JSON.
    pub fn finish(
        &mut self,
        status: u16,
        headers: &[u8],
        body: Vec<u8>,
        wall: f64,
        boot: f64,
    ) -> Result<Option<String>, JsValue> {
        let Some(registration) = self.0.take() else {
            return Err(thrown(Error::new(ErrorCode::InvalidEvent, "a registration reads one answer: build another")));
        };
        let response = HttpResponse { status, headers: &pairs(headers), body: &body };
        Ok(match registration.finish(response, now(wall, boot)).map_err(thrown)? {
            Registered::Next(next) => {
                self.0 = Some(next);
                None
            }
            Registered::Client(client) => Some(serde_json::to_string(&client).unwrap_or_default()),
            Registered::Deleted => Some("null".to_owned()),
        })
    }
}

/// Text that may hold credentials, overwritten when it has been read. What is not UTF-8 is no JSON either.
fn text(bytes: Vec<u8>) -> Secret {
    Secret::new(String::from_utf8(bytes).unwrap_or_default())
}

fn pairs(lines: &[u8]) -> Vec<(String, String)> {
    let mut lines = lines.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
    std::iter::from_fn(|| Some((lines.next()?, lines.next()?))).collect()
}

fn now(wall: f64, boot: f64) -> Now {
    Now { wall: wall as i64, boot: boot as i64 }
}

fn refused(message: &'static str) -> String {
    failure(Error::new(ErrorCode::InvalidEvent, message)).to_json()
}

fn thrown(error: Error) -> JsValue {
    failure(error).to_json().into()
}

fn failure(error: Error) -> Step {
    Step { answer: Some(Answer::Fail(error)), ..Step::default() }
}

const ENTROPY: &str = "`entropy` must be 32 bytes";
