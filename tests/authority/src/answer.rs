//! An answer before it goes out, and the body that can be slow, huge or cut off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use httpdate::fmt_http_date;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{DATE, Entry, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::time::{Sleep, sleep};

/// What a contract, the control or a fault wants to say.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Content,
    /// How far the answer's `Date` is off; `None` leaves the header out.
    pub date_skew_s: Option<i64>,
}

impl Answer {
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Content::Bytes(Bytes::new()), date_skew_s: Some(0) }
    }

    pub fn text(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Content::Bytes(body.into()),
            ..Self::empty(status)
        }
    }

    pub fn json(status: u16, body: &impl Serialize) -> Self {
        // Only maps with keys that aren't strings can fail, and none is ever passed.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self::text(status, "application/json", body)
    }

    /// An answer of the control, or of the authority itself, that says what to do about it.
    pub fn hint(status: u16, error: &str, hint: &str) -> Self {
        Self::json(status, &serde_json::json!({"error": error, "hint": hint}))
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn replace(&mut self, name: &str, value: String) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value));
    }

    /// The time that the answer's `Date` tells.
    pub fn date(&self) -> SystemTime {
        shifted(self.date_skew_s.unwrap_or(0))
    }

    pub fn into_response(self, spoiling: Spoiling) -> Response<Spoilt> {
        let date = self.date();
        let content = match self.body {
            // What is empty can't be cut: one byte is promised, and never comes.
            Content::Bytes(bytes) if bytes.is_empty() && spoiling.cut_at.is_some() => {
                Content::Bytes(Bytes::from_static(b" "))
            }
            content => content,
        };
        let mut response = Response::new(Spoilt { content, spoiling, sent: 0, pause: None, paused: false });
        *response.status_mut() =
            hyper::StatusCode::from_u16(self.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
            {
                headers.append(name, value);
            }
        }
        if self.date_skew_s.is_some() {
            // A `Date` that a fault put there stays.
            if let (Entry::Vacant(place), Ok(date)) = (headers.entry(DATE), HeaderValue::from_str(&fmt_http_date(date)))
            {
                place.insert(date);
            }
        }
        response
    }
}

/// Now, by a clock that is `skew_s` seconds ahead.
pub fn shifted(skew_s: i64) -> SystemTime {
    let by = Duration::from_secs(skew_s.unsigned_abs());
    let now = SystemTime::now();
    if skew_s < 0 { now.checked_sub(by) } else { now.checked_add(by) }
        // `fmt_http_date` panics after the year 9999.
        .filter(|time| *time < SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799))
        .filter(|time| *time > SystemTime::UNIX_EPOCH)
        .unwrap_or(now)
}

/// The bytes of a body.
pub enum Content {
    Bytes(Bytes),
    /// JSON of this many bytes, made while it is sent.
    Filler(u64),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Filler(size) => *size,
        }
    }

    fn chunk(&self, from: u64, limit: u64) -> Bytes {
        let to = self.size().min(from.saturating_add(limit));
        match self {
            Self::Bytes(bytes) => bytes.slice(position(from)..position(to)),
            Self::Filler(size) => filler(from, to, *size),
        }
    }
}

/// How a body is sent.
#[derive(Clone, Copy, Default)]
pub struct Spoiling {
    /// Where the connection is dropped, as a part of the body: 0 is right after the headers.
    pub cut_at: Option<f64>,
    pub ms_per_byte: Option<f64>,
}

/// A body that does what its [`Spoiling`] says.
pub struct Spoilt {
    content: Content,
    spoiling: Spoiling,
    sent: u64,
    pause: Option<Pin<Box<Sleep>>>,
    paused: bool,
}

impl Spoilt {
    fn end(&self) -> u64 {
        let size = self.content.size();
        match self.spoiling.cut_at {
            Some(part) => whole(size as f64 * part),
            None => size,
        }
    }

    /// How many bytes go at once, and how long to wait before them.
    fn pace(&self) -> (u64, Duration) {
        match self.spoiling.ms_per_byte {
            Some(ms) if ms > 0.0 => {
                let bytes = whole((1.0 / ms).ceil()).max(1);
                let wait = Duration::try_from_secs_f64(bytes as f64 * ms / 1000.0);
                (bytes, wait.unwrap_or(Duration::MAX))
            }
            _ => (CHUNK, Duration::ZERO),
        }
    }
}

impl Body for Spoilt {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
            self.paused = true;
        }
        let finished = self.sent >= self.end();
        if finished && self.spoiling.cut_at.is_none() {
            return Poll::Ready(None);
        }
        let (limit, wait) = self.pace();
        // Before a cut, a moment of quiet lets hyper flush what it has.
        let wait = if finished { FLUSH } else { wait };
        if !wait.is_zero() && !self.paused {
            let mut pause = Box::pin(sleep(wait));
            let elapsed = pause.as_mut().poll(context);
            self.pause = Some(pause);
            ready!(elapsed);
            self.pause = None;
        }
        self.paused = false;
        if finished {
            return Poll::Ready(Some(Err(io::Error::other("cut off by a fault"))));
        }
        let left = self.end() - self.sent;
        let chunk = self.content.chunk(self.sent, limit.min(left));
        self.sent += chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.spoiling.cut_at.is_none() && self.sent >= self.content.size()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.size() - self.sent)
    }
}

/// A part of `{"filler":"xxx…"}`, or of a number where there is no room for that.
fn filler(from: u64, to: u64, size: u64) -> Bytes {
    let frame = FILLER_HEAD.len() + FILLER_TAIL.len();
    let inside = if size < frame as u64 { b'1' } else { b'x' };
    let mut chunk = vec![inside; position(to - from)];
    if size >= frame as u64 {
        let head = (0..).zip(FILLER_HEAD);
        let tail = (size - FILLER_TAIL.len() as u64..).zip(FILLER_TAIL);
        for (at, byte) in head.chain(tail).filter(|(at, _)| (from..to).contains(at)) {
            if let Some(place) = chunk.get_mut(position(at - from)) {
                *place = *byte;
            }
        }
    }
    chunk.into()
}

fn position(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates, and a count of bytes isn't negative"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

const CHUNK: u64 = 64 * 1024;
const FLUSH: Duration = Duration::from_millis(5);
const FILLER_HEAD: &[u8] = b"{\"filler\":\"";
const FILLER_TAIL: &[u8] = b"\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_is_json_however_it_is_cut_into_chunks() {
        for size in [1, 12, 13, 14, 100] {
            let content = Content::Filler(size);
            let bytes: Vec<u8> = (0..size).step_by(7).flat_map(|from| content.chunk(from, 7)).collect();
            assert_eq!(bytes.len() as u64, size);
            assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok(), "{bytes:?}");
        }
    }
}
