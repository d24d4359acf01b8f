//! What was received: counters, and a log without secrets.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Api,
    Authorize,
    Echo,
    Token,
}

/// One request in the log.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub number: u64,
    pub at_ms: u128,
    pub kind: Kind,
    pub origin: &'static str,
    pub provider: String,
    pub method: String,
    pub path: String,
    pub header_names: Vec<String>,
    pub query_names: Vec<String>,
    pub parameter_names: Vec<String>,
    pub authentication: &'static str,
    pub client_id: Option<String>,
    pub grant: Option<String>,
    pub scope: Option<String>,
    pub subject: Option<String>,
    pub token_sha256: Option<String>,
    pub issued_sha256: Option<String>,
    pub refresh_token_sha256: Option<String>,
    /// `open` until it is answered.
    pub status: String,
    /// The fault that took it.
    pub fault: Option<serde_json::Value>,
    pub problems: Vec<String>,
}

impl Entry {
    fn key(&self) -> String {
        let mut scope: Vec<_> = self.scope.as_deref().unwrap_or("-").split(' ').collect();
        scope.sort_unstable();
        let client_id = self.client_id.as_deref().unwrap_or(UNKNOWN);
        let subject = self.subject.as_deref().unwrap_or("-");
        format!("{} {client_id} {} {subject}", self.provider, scope.join(" "))
    }
}

/// The counters of a lane, or of one of its clients.
#[derive(Debug, Default, Serialize)]
pub struct Counters {
    token: Tally,
    api: Tally,
    authorize: Tally,
    echo: Tally,
    pub access_tokens_issued: u64,
    pub refresh_tokens_issued: u64,
    pub refresh_tokens_reused: u64,
}

impl Counters {
    fn tally(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Api => &mut self.api,
            Kind::Authorize => &mut self.authorize,
            Kind::Echo => &mut self.echo,
            Kind::Token => &mut self.token,
        }
    }

    fn restart(&mut self) {
        let running =
            [Kind::Api, Kind::Authorize, Kind::Echo, Kind::Token].map(|kind| (kind, self.tally(kind).running));
        *self = Self::default();
        for (kind, running) in running {
            let tally = self.tally(kind);
            tally.running = running;
            tally.running_max = running;
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Tally {
    total: u64,
    running: u64,
    running_max: u64,
    by_grant: BTreeMap<String, u64>,
    by_status: BTreeMap<String, u64>,
    by_provider: BTreeMap<String, u64>,
    by_client: BTreeMap<String, u64>,
    by_key: BTreeMap<String, u64>,
}

impl Tally {
    fn arrived(&mut self, entry: &Entry) {
        self.total += 1;
        self.running += 1;
        self.running_max = self.running_max.max(self.running);
        let client_id = entry.client_id.as_deref().unwrap_or(UNKNOWN);
        count(&mut self.by_provider, &entry.provider);
        count(&mut self.by_client, client_id);
        if let Some(grant) = &entry.grant {
            count(&mut self.by_grant, grant);
        }
        if entry.kind == Kind::Token {
            count(&mut self.by_key, &entry.key());
        }
    }

    fn answered(&mut self, status: &str) {
        self.running = self.running.saturating_sub(1);
        count(&mut self.by_status, status);
    }
}

/// All that a lane remembers of its requests.
#[derive(Debug, Default)]
pub struct Record {
    all: Counters,
    by_client: HashMap<String, Counters>,
    log: VecDeque<Entry>,
    arrived: u64,
}

impl Record {
    /// Takes note of a request and gives it its number.
    pub fn arrived(&mut self, mut entry: Entry) -> u64 {
        self.arrived += 1;
        entry.number = self.arrived;
        self.change(entry.client_id.clone().as_deref(), |counters| counters.tally(entry.kind).arrived(&entry));
        if self.log.len() == LOG_LENGTH {
            self.log.pop_front();
        }
        self.log.push_back(entry);
        self.arrived
    }

    pub fn answered(&mut self, kind: Kind, client_id: Option<&str>, number: u64, status: &str) {
        self.change(client_id, |counters| counters.tally(kind).answered(status));
        if let Some(entry) = self.entry(number) {
            status.clone_into(&mut entry.status);
        }
    }

    pub fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        // The numbers in the log have no gaps.
        let first = self.log.front()?.number;
        self.log.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// Changes the counters of the lane and those of the client.
    pub fn change(&mut self, client_id: Option<&str>, change: impl Fn(&mut Counters)) {
        change(&mut self.all);
        if let Some(client_id) = client_id {
            change(self.by_client.entry(client_id.to_owned()).or_default());
        }
    }

    pub fn counters(&mut self, client_id: Option<&str>) -> &Counters {
        match client_id {
            Some(client_id) => self.by_client.entry(client_id.to_owned()).or_default(),
            None => &self.all,
        }
    }

    pub fn restart_counters(&mut self, client_id: Option<&str>) {
        match client_id {
            Some(client_id) => self.by_client.entry(client_id.to_owned()).or_default().restart(),
            None => {
                self.all.restart();
                self.by_client.values_mut().for_each(Counters::restart);
            }
        }
    }

    pub fn log(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<&Entry> {
        self.log.iter().filter(|entry| wanted(entry)).collect()
    }

    pub fn clear_log(&mut self) {
        self.log.clear();
    }
}

/// Names a secret without telling it.
pub fn fingerprint(secret: impl AsRef<[u8]>) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        counts.insert(name.to_owned(), 1);
    }
}

const LOG_LENGTH: usize = 10_000;
const UNKNOWN: &str = "?";
