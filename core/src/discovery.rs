//! The server's metadata in the loop: asked for once, shared by all that wait for it, kept for a day (RFC 8414 section 3).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use crate::config::Config;
use crate::flight::What;
use crate::header;
use crate::machine::{Core, Turn};
use crate::metadata::Metadata;
use crate::request::HttpRequest;
use crate::response::{HttpResponse, Refusal, Verdict};
use crate::step::FlightId;

/// What is known of the server.
pub(crate) struct Discovered {
    /// The configuration as the user gave it, to which metadata is applied.
    configured: Arc<Config>,
    known: Option<Known>,
    /// A request is in the air.
    asked: bool,
    /// Who goes on when it is answered.
    waiting: Vec<FlightId>,
}

struct Known {
    metadata: Metadata,
    /// When it was read, on the boot clock.
    since: i64,
    /// An endpoint turned out not to be there: it is read once more before the next request.
    doubted: bool,
}

/// One attempt to read the metadata.
pub(crate) struct MetadataRequest {
    /// Which of the document's addresses is tried.
    form: usize,
}

impl Discovered {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self { configured: config.clone(), known: None, asked: false, waiting: Vec::new() }
    }

    pub(crate) fn configured(&self) -> &Config {
        &self.configured
    }

    /// The parent's request is not ours.
    pub(crate) fn forget_requests(&mut self) {
        self.asked = false;
        self.waiting.clear();
    }
}

impl Core {
    /// Whether a request can be built as far as the server's metadata goes. If not, it is asked for, and `id` goes on then.
    pub(crate) fn is_metadata_here(&mut self, id: FlightId, turn: &mut Turn<'_>) -> bool {
        if self.config.discovery.is_none() || self.errands.get(&id).is_some_and(|errand| errand.is_proof()) {
            return true;
        }
        let lifetime = self.config.policy.metadata_lifetime;
        let fresh = self
            .discovered
            .known
            .as_ref()
            .is_some_and(|known| !known.doubted && turn.now.boot < known.since.saturating_add(lifetime));
        if fresh {
            return true;
        }
        if !self.discovered.waiting.contains(&id) {
            self.discovered.waiting.push(id);
        }
        if !mem::replace(&mut self.discovered.asked, true) {
            self.ask_for_metadata(id, 0, turn);
        }
        false
    }

    fn ask_for_metadata(&mut self, id: FlightId, form: usize, turn: &mut Turn<'_>) {
        let url = self.config.discovery.as_ref().and_then(|discovery| discovery.urls.get(form)).cloned();
        let headers = [("accept", "application/json".into())].into();
        let request = HttpRequest { method: "GET", url: url.unwrap_or_default(), headers, body: None };
        self.dispatch(id, request, What::Metadata(MetadataRequest { form }), turn);
    }

    pub(crate) fn metadata_answered(
        &mut self,
        id: FlightId,
        request: MetadataRequest,
        response: HttpResponse<'_>,
        turn: &mut Turn<'_>,
    ) {
        let configured = self.discovered.configured.clone();
        let read = Metadata::read(&response, &configured)
            .and_then(|metadata| metadata.applied(&configured).map(|config| (metadata, config)));
        match read {
            Ok((metadata, config)) => {
                let since = turn.now.boot;
                self.discovered.known = Some(Known { metadata, since, doubted: false });
                self.config = Arc::new(config);
                self.go_on(None, turn);
            }
            Err(error) => {
                let verdict = match response.status {
                    408 | 429 | 500..=599 => Verdict::Transient,
                    _ => Verdict::Unexpected,
                };
                let retry_after = header::retry_after(response.headers, turn.now.wall);
                self.metadata_lost(id, request, Refusal { verdict, error, retry_after, refresh_token: None }, turn);
            }
        }
    }

    /// One form of its address led nowhere: try the next, or live with what was known before.
    pub(crate) fn metadata_lost(
        &mut self,
        id: FlightId,
        request: MetadataRequest,
        refusal: Refusal,
        turn: &mut Turn<'_>,
    ) {
        let next = request.form.saturating_add(1);
        let forms = self.config.discovery.as_ref().map_or(0, |discovery| discovery.urls.len());
        // A server that is out of order is not asked at another address (STD-65).
        if next < forms && refusal.verdict != Verdict::Transient {
            self.ask_for_metadata(id, next, turn);
            return;
        }
        let now = turn.now.boot;
        if let Some(known) = &mut self.discovered.known {
            // Old metadata beats none. It is looked at again after a while.
            known.doubted = false;
            known.since = now.saturating_sub(self.config.policy.metadata_lifetime).saturating_add(AGAIN);
            self.go_on(None, turn);
        } else {
            self.go_on(Some(refusal), turn);
        }
    }

    fn go_on(&mut self, refusal: Option<Refusal>, turn: &mut Turn<'_>) {
        self.discovered.asked = false;
        for id in mem::take(&mut self.discovered.waiting) {
            match &refusal {
                Some(refusal) => self.fail(id, refusal.clone(), turn),
                None if self.flights.contains_key(&id) || self.errands.contains_key(&id) => self.gather(id, turn),
                None => {}
            }
        }
    }

    /// An endpoint was not where the metadata says: perhaps it has moved.
    pub(crate) fn doubt_metadata(&mut self, id: FlightId, status: u16) {
        let started = self.flights.get(&id).map_or(i64::MAX, |flight| flight.started.boot);
        if let (Some(known), 404 | 405 | 410) = (&mut self.discovered.known, status) {
            // What was read for this very request is no older than the request.
            known.doubted = known.doubted || known.since < started;
        }
    }

    /// The user's configuration has changed: what the metadata says is applied to it anew, or asked for again.
    pub(crate) fn reconfigure(&mut self, config: Config) {
        let config = Arc::new(config);
        self.config = config.clone();
        match self.discovered.known.as_ref().map(|known| known.metadata.applied(&config)) {
            Some(Ok(applied)) => self.config = Arc::new(applied),
            Some(Err(_)) => self.discovered.known = None,
            None => {}
        }
        self.discovered.configured = config;
    }
}

/// How long metadata that could not be read anew is used before the next attempt, in milliseconds.
const AGAIN: i64 = 60_000;
