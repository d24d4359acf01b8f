//! Who is who, and what is kept for them: cache keys, and the entry of each.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::clock::Now;
use crate::config::{Config, Credential};
use crate::error::Error;
use crate::event::Want;
use crate::record::{fingerprint, remember};
use crate::response::Verdict;
use crate::secret::Secret;
use crate::step::FlightId;
use crate::token::Token;

/// The identity of a token: a digest over everything that can change it, and over no secret.
///
/// In JSON: 43 characters of base64url.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(pub(crate) [u8; 32]);

/// The part of every key that a client's configuration fixes, digested once.
#[derive(Clone)]
pub(crate) struct KeyPrefix(Sha256);

impl KeyPrefix {
    pub(crate) fn new(config: &Config) -> Self {
        let mut digest = Sha256::new();
        field(&mut digest, b"remint key 1");
        // Where the endpoint is discovered, the issuer stands for it, so that a key is the same before and after.
        field(&mut digest, config.server().as_bytes());
        field(&mut digest, config.client_id.as_deref().unwrap_or_default().as_bytes());
        match &config.credential {
            Credential::Secret(secret) => {
                // Thirty-two bits tell two secrets of one client apart, and are too few to confirm a guess by.
                let fingerprint = Sha256::digest(secret.expose().as_bytes());
                field(&mut digest, fingerprint.get(..4).unwrap_or_default());
            }
            Credential::Provided { name } => field(&mut digest, name.as_bytes()),
            Credential::Key => {
                let names = config.signing_key.as_ref().map(|key| [&*key.name, key.id.as_deref().unwrap_or_default()]);
                fields(&mut digest, names.into_iter().flatten().collect::<Vec<_>>().into_iter());
            }
            Credential::Certificate | Credential::None => field(&mut digest, b""),
        }
        for text in [config.client_auth.as_str(), config.grant.as_str(), config.tls_id.as_deref().unwrap_or_default()] {
            field(&mut digest, text.as_bytes());
        }
        fields(&mut digest, config.audience.iter().map(String::as_str));
        for pairs in [&config.identity, &config.parameters] {
            fields(&mut digest, pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        }
        let exchanged = &config.exchanged;
        let assertion = config.grant_assertion.as_ref();
        fields(
            &mut digest,
            [
                config.dpop.as_ref().map(|dpop| &dpop.thumbprint),
                config.authorization_details.as_ref(),
                exchanged.requested_type.as_ref(),
                assertion.and_then(|rules| rules.issuer.as_ref()),
                assertion.and_then(|rules| rules.subject.as_ref()),
                assertion.and_then(|rules| rules.audience.as_ref()),
            ]
            .map(|text| text.map(String::as_str).unwrap_or_default())
            .into_iter(),
        );
        let claims = assertion.map(|rules| &*rules.claims).unwrap_or_default();
        fields(&mut digest, claims.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        Self(digest)
    }

    /// The key of one wish. The scope is a set: its order and repetitions make no difference (STD-12).
    pub(crate) fn key(&self, want: &Want, own_scope: &[String], own_resource: &[String]) -> Key {
        let mut digest = self.0.clone();
        fields(&mut digest, want.subject.as_deref().into_iter());
        let mut scope: Vec<&str> = want.scope.as_deref().unwrap_or(own_scope).iter().map(String::as_str).collect();
        scope.sort_unstable();
        scope.dedup();
        fields(&mut digest, scope.into_iter());
        fields(&mut digest, want.resource.as_deref().unwrap_or(own_resource).iter().map(String::as_str));
        Key(digest.finalize().into())
    }
}

/// Every field is preceded by its length, so that no two lists of fields read alike (P-22).
fn field(digest: &mut Sha256, bytes: &[u8]) {
    digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    digest.update(bytes);
}

fn fields<'a>(digest: &mut Sha256, texts: impl Iterator<Item = &'a str> + Clone) {
    digest.update(u64::try_from(texts.clone().count()).unwrap_or(u64::MAX).to_be_bytes());
    texts.for_each(|text| field(digest, text.as_bytes()));
}

/// All that is kept, bounded.
pub(crate) struct Cache {
    entries: HashMap<Key, Entry, BuildHasherDefault<DigestHasher>>,
    /// Who goes first when room is needed: by the end of the token's life on the boot clock; no token, no life.
    ends: BTreeSet<(i64, Key)>,
    capacity: usize,
}

/// What is kept for one key.
#[derive(Default)]
pub(crate) struct Entry {
    /// The token in hand; it may have run out.
    pub(crate) held: Option<Held>,
    /// The flight in the air.
    pub(crate) flight: Option<FlightId>,
    /// Counts the tokens of this key.
    pub(crate) generation: u64,
    /// What few entries have.
    pub(crate) rare: Option<Box<Rare>>,
    end: i64,
}

/// A token in hand.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) token: Arc<Token>,
    /// The life it had left when it arrived: what the margins are made of.
    pub(crate) life: i64,
    /// The flight that brought it.
    pub(crate) flight: FlightId,
}

/// What an entry has only while something is out of the ordinary, or where a person is behind it.
#[derive(Default)]
pub(crate) struct Rare {
    pub(crate) refresh: Option<Refresh>,
    /// The key that has the refresh token and the record in the shared store, if it is not this one: a person's tokens for
    /// several resources or scopes come of one consent.
    pub(crate) owner: Option<Key>,
    /// The other keys whose owner this one is.
    pub(crate) views: Vec<Key>,
    /// What is known of its record in the shared store.
    pub(crate) shared: Shared,
    /// The token to be exchanged, and that of who acts, as the host's database has them.
    pub(crate) subject_token: Option<Secret>,
    pub(crate) actor_token: Option<Secret>,
    /// The host wants to be told of every new refresh token.
    pub(crate) on_rotated: bool,
    pub(crate) trouble: Option<Trouble>,
    /// How the last flight ended, for those who waited for it and have yet to ask, if not with the token in hand.
    pub(crate) outcome: Option<(FlightId, Outcome)>,
    pub(crate) rejections: Rejections,
}

/// What is known of a record in the shared store. Instants are on the boot clock.
#[derive(Default)]
pub(crate) struct Shared {
    /// The record as it was when we last looked.
    pub(crate) stored: Option<Secret>,
    /// The highest generation that it has had.
    pub(crate) generation: u64,
    /// The store has yet to be told something: when to try again.
    pub(crate) unsaved: Option<i64>,
    /// When we last looked.
    pub(crate) checked: i64,
    /// The store has something newer, perhaps.
    pub(crate) reload: bool,
    /// The fingerprints of tokens that must not come back out of the store.
    pub(crate) rejected: Vec<String>,
    /// Those of them that the store has yet to be told.
    pub(crate) untold: Vec<String>,
    /// The fingerprints of refresh tokens that were replaced.
    pub(crate) spent: Vec<String>,
}

impl Shared {
    /// A token is no good, although it has not run out.
    pub(crate) fn reject(&mut self, name: String) {
        remember(&mut self.rejected, name.clone());
        remember(&mut self.untold, name);
    }

    /// Whether a token was taken out of use, here or elsewhere.
    pub(crate) fn has_rejected(&self, token: &Secret) -> bool {
        !self.rejected.is_empty() && self.rejected.contains(&fingerprint(token))
    }

    /// The server gave a token again that was taken out of use: it is not for us to say that it is no good.
    pub(crate) fn accept(&mut self, token: &Secret) {
        if !self.rejected.is_empty() {
            let name = fingerprint(token);
            self.rejected.retain(|rejected| *rejected != name);
            self.untold.retain(|rejected| *rejected != name);
        }
    }
}

/// A refresh token, and what is known of its fate.
#[derive(Clone)]
pub(crate) struct Refresh {
    pub(crate) token: Secret,
    pub(crate) state: RefreshState,
    /// The scope it was granted for.
    pub(crate) scope: Option<String>,
    /// The generation of the record that first had it; 0 if it is not in the store yet.
    pub(crate) generation: u64,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum RefreshState {
    /// Never sent, or surely not used up.
    Unspent,
    /// Sent once without a clear answer.
    Ambiguous,
    /// Sent a second time after that.
    Resent,
    /// Sent twice without a clear answer: a third time would be a guess.
    Exhausted,
}

/// What went wrong last, and until when nothing is tried.
#[derive(Clone)]
pub(crate) struct Trouble {
    pub(crate) verdict: Verdict,
    /// How many attempts failed in this way since the last success.
    pub(crate) count: u32,
    /// How many failed in the other way: that a store was down for a moment makes no terminal failure younger.
    pub(crate) others: u32,
    /// The next attempt, on the boot clock.
    pub(crate) next: i64,
    pub(crate) error: Error,
    /// The next attempt as another process wrote it, if it is its failure that is heeded: it is heeded once.
    pub(crate) told: Option<i64>,
}

impl Trouble {
    /// How many attempts failed in this way since the last success, and how many in the other.
    pub(crate) fn counts(trouble: Option<&Self>, passing: bool) -> (u32, u32) {
        match trouble {
            Some(trouble) if (trouble.verdict == Verdict::Transient) == passing => (trouble.count, trouble.others),
            Some(trouble) => (trouble.others, trouble.count),
            None => (0, 0),
        }
    }
}

/// How a flight ended.
#[derive(Clone)]
pub(crate) enum Outcome {
    /// With a token, which is not necessarily kept.
    Token(Held),
    /// With an error. Whether another flight may follow is in the entry's [`Trouble`].
    Error { error: Error, last: bool },
    /// With a code that came to nothing: whatever token is in hand, it is not the one that a person has just agreed to.
    Refused(Error),
}

/// How often the API has refused this key's tokens in a row.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rejections {
    /// Generations refused in a row.
    pub(crate) count: u32,
    /// The last of them.
    pub(crate) generation: u64,
    /// Until when no other token is asked for on an API's word.
    pub(crate) pause: i64,
    /// The token was dropped because of it, and its successor is still to come.
    pub(crate) dropped: bool,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::default(), ends: BTreeSet::new(), capacity }
    }

    pub(crate) fn find(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn find_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Entry)> {
        self.entries.iter_mut()
    }

    /// The key's entry, made if there is none. A full cache gives up the entry that is nearest its end and
    /// holds nothing irreplaceable; none if there is no such entry.
    pub(crate) fn entry(&mut self, key: Key, shared_store: bool) -> Option<&mut Entry> {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.capacity {
            let victim = self
                .ends
                .iter()
                .find(|(_, key)| self.entries.get(key).is_some_and(|entry| entry.is_replaceable(shared_store)))
                .copied()?;
            self.ends.remove(&victim);
            self.entries.remove(&victim.1);
        }
        let ends = &mut self.ends;
        Some(self.entries.entry(key).or_insert_with(|| {
            ends.insert((i64::MIN, key));
            Entry { end: i64::MIN, ..Entry::default() }
        }))
    }

    /// The key that has the refresh token and the record in the shared store.
    pub(crate) fn owner(&self, key: &Key) -> Key {
        self.find(key).and_then(|entry| entry.rare.as_ref()?.owner).unwrap_or(*key)
    }

    pub(crate) fn shared(&self, owner: &Key) -> Option<&Shared> {
        Some(&self.find(owner)?.rare.as_ref()?.shared)
    }

    pub(crate) fn shared_mut(&mut self, owner: &Key) -> Option<&mut Shared> {
        Some(&mut self.find_mut(owner)?.rare().shared)
    }

    /// Takes the token in hand out of use.
    pub(crate) fn drop_token(&mut self, key: Key) {
        if let Some(rare) = self.entries.get_mut(&key).and_then(|entry| entry.rare.as_mut()) {
            rare.outcome = None;
        }
        self.hold(key, None);
    }

    /// Puts a token into an entry, or takes it out.
    pub(crate) fn hold(&mut self, key: Key, held: Option<Held>) {
        if let Some(entry) = self.entries.get_mut(&key) {
            let end = held.as_ref().map_or(i64::MIN, |held| held.token.expires.boot);
            if end != entry.end {
                self.ends.remove(&(entry.end, key));
                self.ends.insert((end, key));
                entry.end = end;
            }
            entry.held = held;
        }
    }
}

impl Entry {
    /// The rare part, made if there is none.
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn refresh(&self) -> Option<&Refresh> {
        self.rare.as_ref()?.refresh.as_ref()
    }

    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.rare.as_ref()?.trouble.as_ref()
    }

    pub(crate) fn rejections(&self) -> Rejections {
        self.rare.as_ref().map(|rare| rare.rejections).unwrap_or_default()
    }

    /// The token of a generation, in hand or just handed out.
    pub(crate) fn token(&self, generation: u64) -> Option<&Arc<Token>> {
        let outcome = self.rare.as_ref().and_then(|rare| match &rare.outcome {
            Some((_, Outcome::Token(held))) => Some(held),
            _ => None,
        });
        self.held.iter().chain(outcome).map(|held| &held.token).find(|token| token.generation == generation)
    }

    /// Nothing is lost with it: no flight, and no refresh token that is nowhere else.
    fn is_replaceable(&self, shared_store: bool) -> bool {
        let is_needed = self.rare.as_ref().is_some_and(|rare| rare.subject_token.is_some() || !rare.views.is_empty());
        self.flight.is_none() && !is_needed && (shared_store || self.refresh().is_none())
    }
}

impl Held {
    /// The life left, in milliseconds: what the clock that is further on says.
    pub(crate) fn left(&self, now: Now) -> i64 {
        now.until(self.token.expires)
    }
}

/// A key is a digest already: its first eight bytes are as good as any hash of it.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_be_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl core::str::FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| de::Error::custom("a key of 43 base64url characters is expected"))
    }
}
