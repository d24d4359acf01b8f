//! What a lane may change about its providers without a fault.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::provider::Contract;
use crate::received::ClientAuth;

/// One layer of settings. A field that is `None` leaves the layer below as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    provider: Option<String>,
    client_id: Option<String>,
    lifetime_s: Option<f64>,
    #[serde(deserialize_with = "present")]
    expires_in: Option<Box<RawValue>>,
    omit_expires_in: Option<bool>,
    #[serde(deserialize_with = "present")]
    token_type: Option<Option<String>>,
    omit_scope: Option<bool>,
    token_bytes: Option<usize>,
    rotation: Option<bool>,
    refresh_lifetime_s: Option<f64>,
    reuse_grace_s: Option<f64>,
    same_token_on_refresh: Option<bool>,
    body_on_401: Option<bool>,
    challenges: Option<Vec<String>>,
    date_skew_s: Option<i64>,
    token_latency_ms: Option<u64>,
    api_latency_ms: Option<u64>,
    client_auth: Option<Vec<ClientAuth>>,
    approve: Option<bool>,
    #[serde(deserialize_with = "present")]
    iss: Option<Option<String>>,
    require_pkce: Option<bool>,
    short_token_path: Option<bool>,
}

impl Layer {
    pub fn problem(&self) -> Option<String> {
        let names = ["lifetime_s", "refresh_lifetime_s", "reuse_grace_s"];
        let values = [self.lifetime_s, self.refresh_lifetime_s, self.reuse_grace_s];
        let wrong = names.iter().zip(values).find(|(_, value)| value.is_some_and(|value| value < 0.0));
        if let Some((name, _)) = wrong {
            return Some(format!("`{name}` may not be negative; to send an odd lifetime, set `expires_in`"));
        }
        if self.token_bytes.is_some_and(|bytes| !(64..=1 << 24).contains(&bytes)) {
            return Some("`token_bytes` must be between 64 and 16777216".to_owned());
        }
        crate::provider::unknown_name(self.provider.as_deref())
    }

    fn specificity(&self) -> u8 {
        2 * u8::from(self.client_id.is_some()) + u8::from(self.provider.is_some())
    }

    fn concerns(&self, provider: &str, client_id: Option<&str>) -> bool {
        self.provider.as_deref().is_none_or(|name| name == provider)
            && (self.client_id.is_none() || self.client_id.as_deref() == client_id)
    }

    fn cover(&mut self, over: &Self) {
        macro_rules! cover {
            ($($field:ident),*) => { $( if over.$field.is_some() { self.$field.clone_from(&over.$field); } )* };
        }
        cover!(
            lifetime_s,
            expires_in,
            omit_expires_in,
            token_type,
            omit_scope,
            token_bytes,
            rotation,
            refresh_lifetime_s,
            reuse_grace_s,
            same_token_on_refresh,
            body_on_401,
            challenges,
            date_skew_s,
            token_latency_ms,
            api_latency_ms,
            client_auth,
            approve,
            iss,
            require_pkce,
            short_token_path
        );
    }
}

/// All layers of a lane.
#[derive(Debug, Default)]
pub struct Layers(Vec<Layer>);

impl Layers {
    pub fn add(&mut self, layer: Layer) {
        let same = |other: &&mut Layer| other.provider == layer.provider && other.client_id == layer.client_id;
        match self.0.iter_mut().find(same) {
            Some(other) => other.cover(&layer),
            None => {
                self.0.push(layer);
                self.0.sort_by_key(Layer::specificity);
            }
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn resolve(&self, contract: &Contract, client_id: Option<&str>) -> Settings {
        let mut all = Layer::default();
        for layer in &self.0 {
            if layer.concerns(contract.name, client_id) {
                all.cover(layer);
            }
        }
        Settings {
            lifetime_s: all.lifetime_s.unwrap_or(contract.lifetime_s),
            expires_in: all.expires_in,
            omit_expires_in: all.omit_expires_in.unwrap_or(false),
            token_type: all.token_type.unwrap_or_else(|| Some("Bearer".to_owned())),
            omit_scope: all.omit_scope.unwrap_or(contract.omit_scope),
            token_bytes: all.token_bytes,
            rotation: all.rotation.unwrap_or(true),
            refresh_lifetime_s: all.refresh_lifetime_s,
            reuse_grace_s: all.reuse_grace_s.unwrap_or(0.0),
            same_token_on_refresh: all.same_token_on_refresh.unwrap_or(false),
            body_on_401: all.body_on_401.unwrap_or(contract.body_on_401),
            challenges: all.challenges,
            date_skew_s: all.date_skew_s.unwrap_or(contract.date_skew_s),
            token_latency_ms: all.token_latency_ms.unwrap_or(0),
            api_latency_ms: all.api_latency_ms.unwrap_or(0),
            client_auth: all.client_auth.unwrap_or_else(|| contract.client_auth.to_vec()),
            approve: all.approve.unwrap_or(true),
            iss: all.iss,
            require_pkce: all.require_pkce.unwrap_or(true),
            short_token_path: all.short_token_path.unwrap_or(false),
        }
    }
}

/// What holds for one request.
pub struct Settings {
    pub lifetime_s: f64,
    pub expires_in: Option<Box<RawValue>>,
    pub omit_expires_in: bool,
    pub token_type: Option<String>,
    pub omit_scope: bool,
    pub token_bytes: Option<usize>,
    pub rotation: bool,
    pub refresh_lifetime_s: Option<f64>,
    pub reuse_grace_s: f64,
    pub same_token_on_refresh: bool,
    pub body_on_401: bool,
    /// Told: other challenges than the contract's.
    pub challenges: Option<Vec<String>>,
    pub date_skew_s: i64,
    pub token_latency_ms: u64,
    pub api_latency_ms: u64,
    pub client_auth: Vec<ClientAuth>,
    pub approve: bool,
    /// Told: another issuer than ours, or none.
    pub iss: Option<Option<String>>,
    pub require_pkce: bool,
    pub short_token_path: bool,
}

/// Tells a field that is `null` from one that is absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
