//! A client's options: the same ones as in every language, and what only this host can be given.

use core::fmt;
use core::future::{Future, ready};
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::asynchronous::AsyncClient;
use super::blocking::Client;
use super::clock::{Clock, Time};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::driver::Boxed;
use super::store::{AnyStore, AsyncStore, Blocking, Store, StoreError, StoreKey, Waiting};
use super::transport::{AsyncTransport, Transport};
use crate::clock::Entropy;
use crate::config::{Config, ResponseAlgorithm};
use crate::error::{Error, ErrorCode};
use crate::notice::Notice;
use crate::secret::Secret;

/// The options of a client. Everything is checked by [`Builder::build`], at once and by name.
///
/// An option that has no method of its own (a profile's variable, `client_auth`, `audience`, `tls_id` …) is set by
/// [`Builder::option`]. An option that is set twice has the last value.
#[derive(Clone)]
#[must_use = "nothing is checked or made before `build`"]
pub struct Builder {
    /// Each option as JSON.
    options: BTreeMap<String, Secret>,
    parameters: Map<String, Value>,
    policy: Map<String, Value>,
    hooks: Hooks,
    time: Time,
}

/// Functions of the user's.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    client_secret: Option<Arc<Read>>,
    client_assertion: Option<Arc<Read>>,
    subject_token: Option<Arc<ReadFor>>,
    actor_token: Option<Arc<ReadFor>>,
    assertion: Option<Arc<ReadFor>>,
    sign: Option<Arc<Sign>>,
    prove: Option<Arc<Sign>>,
    verify: Option<Arc<Verify>>,
    on_rotated: Option<Arc<OnRotated>>,
    pub(crate) store: Option<Arc<dyn AnyStore>>,
    on_store_error: Option<Arc<OnStoreError>>,
    pub(crate) on_notice: Option<Arc<OnNotice>>,
    pub(crate) random: Option<Arc<dyn Fn() -> Entropy + Send + Sync>>,
}

/// Gives a secret as it is now; nothing if it could not be read.
type Read = dyn Fn() -> Boxed<Option<Secret>> + Send + Sync;
/// The same for a user.
type ReadFor = dyn Fn(Option<String>) -> Boxed<Option<Secret>> + Send + Sync;
/// Signs a text by an algorithm; nothing if it could not.
type Sign = dyn Fn(String, String) -> Boxed<Option<Vec<u8>>> + Send + Sync;
/// Whether a signature is good; nothing if that could not be found out.
type Verify = dyn Fn(&Signed) -> Option<bool> + Send + Sync;
type OnNotice = dyn Fn(&Notice) + Send + Sync;
type OnStoreError = dyn Fn(&StoreError) + Send + Sync;
type OnRotated = dyn Fn(Option<String>, Secret) -> Boxed<bool> + Send + Sync;

/// What a server has signed: its answer to an authorization request (JARM section 2.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Signed {
    /// The JOSE algorithm (RFC 7518 section 3.1): `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`.
    pub alg: String,
    /// The server's public key: a JWK as JSON text, with the members of RFC 7638 alone.
    pub key: String,
    /// What was signed, which is ASCII. There is a code in it.
    pub input: Secret,
    /// The raw signature: for ECDSA r and s (RFC 7518 section 3.4).
    pub signature: Vec<u8>,
}

impl Builder {
    /// The options for a provider: a built-in profile's name, or a profile document as text or as parsed JSON.
    pub fn new(profile: impl Into<Value>) -> Self {
        let builder = Self {
            options: BTreeMap::new(),
            parameters: Map::new(),
            policy: Map::new(),
            hooks: Hooks::default(),
            time: Time::System,
        };
        builder.option("profile", profile)
    }

    /// Sets an option by its name. Durations are seconds here.
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        match (name, value.into()) {
            // What else is told of these is added.
            ("policy", Value::Object(policy)) => self.policy = policy,
            ("parameters", Value::Object(parameters)) => self.parameters = parameters,
            (name, value) => drop(self.options.insert(name.to_owned(), Secret::new(value.to_string()))),
        }
        self
    }

    /// The client's identifier at the provider.
    pub fn client_id(self, id: impl Into<String>) -> Self {
        self.option("client_id", id.into())
    }

    /// The client's secret.
    pub fn client_secret(self, secret: impl Into<Secret>) -> Self {
        self.secret_option("client_secret", &secret.into())
    }

    /// The API token of the grant `api_token`.
    pub fn api_token(self, token: impl Into<Secret>) -> Self {
        self.secret_option("api_token", &token.into()).option("grant", "api_token")
    }

    /// A function that gives the client's secret, called before each token request: a secret that was replaced is picked up
    /// without a restart. An error of its own fails the request; log it there, it is not kept.
    pub fn client_secret_fn<S: Into<Secret>, E>(
        mut self,
        read: impl Fn() -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.client_secret = Some(at_once(read));
        self
    }

    /// Like [`Builder::client_secret_fn`], for a function that has to wait.
    pub fn client_secret_async<S: Into<Secret>, E, F>(mut self, read: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<S, E>> + Send + 'static,
    {
        self.hooks.client_secret = Some(after_a_wait(read));
        self
    }

    /// A function that gives a client assertion that was made elsewhere, called before each token request
    /// (RFC 7523 section 2.2): it reads a projected service-account token again, or asks the platform for one.
    pub fn client_assertion_fn<S: Into<Secret>, E>(
        mut self,
        read: impl Fn() -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.client_assertion = Some(at_once(read));
        self
    }

    /// Like [`Builder::client_assertion_fn`], for a function that has to wait.
    pub fn client_assertion_async<S: Into<Secret>, E, F>(mut self, read: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<S, E>> + Send + 'static,
    {
        self.hooks.client_assertion = Some(after_a_wait(read));
        self
    }

    /// A key for `private_key_jwt` (RFC 7523 section 2.2), and the function that signs with it: by a library, an HSM or a KMS.
    ///
    /// `key` is an object with `name` (the cache tells keys apart by it), `alg` (`ES256`, `ES384`, `EdDSA`, `RS256` or
    /// `PS256`) and perhaps `kid`. The function gets the algorithm and what to sign, and gives the raw signature: for ECDSA
    /// r and s (RFC 7518 section 3.4), not DER.
    pub fn signing_key<E>(
        mut self,
        key: impl Into<Value>,
        sign: impl Fn(&str, &[u8]) -> Result<Vec<u8>, E> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.sign = Some(signed_at_once(sign));
        self.option("signing_key", key)
    }

    /// Like [`Builder::signing_key`], for a signer that has to wait.
    pub fn signing_key_async<E, F>(
        mut self,
        key: impl Into<Value>,
        sign: impl Fn(String, Vec<u8>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
    {
        self.hooks.sign = Some(signed_after_a_wait(sign));
        self.option("signing_key", key)
    }

    /// The key that tokens are bound to (RFC 9449), and the function that signs the proof of each request with it.
    ///
    /// `key` is an object with `alg`, the public key as `jwk` (RFC 7517) and perhaps `required`, which is true unless told:
    /// then a token that is not bound to the key is refused. For the function see [`Builder::signing_key`].
    pub fn dpop<E>(
        mut self,
        key: impl Into<Value>,
        sign: impl Fn(&str, &[u8]) -> Result<Vec<u8>, E> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.prove = Some(signed_at_once(sign));
        self.dpop_option(key.into())
    }

    /// Like [`Builder::dpop`], for a signer that has to wait.
    pub fn dpop_async<E, F>(
        mut self,
        key: impl Into<Value>,
        sign: impl Fn(String, Vec<u8>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
    {
        self.hooks.prove = Some(signed_after_a_wait(sign));
        self.dpop_option(key.into())
    }

    /// The function that checks signatures of the server's, for signed answers to authorization requests (JARM): it says
    /// whether the signature is one of this key over this input. A key or a signature that is malformed is `false`, and no
    /// error.
    pub fn verifier<E>(mut self, verify: impl Fn(&Signed) -> Result<bool, E> + Send + Sync + 'static) -> Self {
        self.hooks.verify = Some(Arc::new(move |signed| verify(signed).ok()));
        self
    }

    fn dpop_option(self, mut key: Value) -> Self {
        if let Value::Object(members) = &mut key {
            members.insert("name".to_owned(), DPOP_KEY.into());
        }
        self.option("dpop", key)
    }

    /// A function that gives the token to be exchanged for a subject (RFC 8693 section 2.1), called before each token request.
    pub fn subject_token_fn<S: Into<Secret>, E>(
        mut self,
        read: impl Fn(Option<&str>) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.subject_token = Some(at_once_for(read));
        self.option("subject_token_provided", true)
    }

    /// A function that gives the token of who acts for a subject (RFC 8693 section 2.1), called before each token request.
    pub fn actor_token_fn<S: Into<Secret>, E>(
        mut self,
        read: impl Fn(Option<&str>) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.actor_token = Some(at_once_for(read));
        self.option("actor_token_provided", true)
    }

    /// A function that gives the assertion of the grant `jwt_bearer` for a subject (RFC 7523 section 2.1), called before each
    /// token request.
    pub fn assertion_fn<S: Into<Secret>, E>(
        mut self,
        read: impl Fn(Option<&str>) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.assertion = Some(at_once_for(read));
        self.option("assertion_provided", true)
    }

    /// The scope set to ask for.
    pub fn scope<S: Into<String>>(self, scope: impl IntoIterator<Item = S>) -> Self {
        self.list("scope", scope)
    }

    /// Where tokens may be sent, beside the origins that the profile declares.
    pub fn api_origins<S: Into<String>>(self, origins: impl IntoIterator<Item = S>) -> Self {
        self.list("api_origins", origins)
    }

    /// A further parameter of the token request.
    pub fn parameter(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parameters.insert(name.to_owned(), Value::String(value.into()));
        self
    }

    /// One constant of the behaviour contract, by its name in [`Policy`](crate::policy::Policy). Durations are seconds here.
    pub fn policy(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.policy.insert(name.to_owned(), value.into());
        self
    }

    /// Permits `http:` for 127.0.0.0/8, ::1 and localhost, and nothing else.
    pub fn allow_loopback_http(self, allow: bool) -> Self {
        self.option("allow_loopback_http", allow)
    }

    /// How long one token request may take: ten seconds unless told.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        self.option("request_timeout", timeout.as_secs_f64())
    }

    /// Whether tokens may be renewed beside their callers, on a thread of its own. `false` is for hosts that freeze between
    /// requests: there one caller runs the renewal while the others go on with the token at hand. Tasks are spawned either way.
    pub fn background_refresh(self, allow: bool) -> Self {
        self.option("aside", allow)
    }

    /// A function that is called with everything that an operator may want to see, never with a secret. It must be quick; if
    /// it panics, that has no effect.
    pub fn on_notice(mut self, notice: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.hooks.on_notice = Some(Arc::new(notice));
        self
    }

    /// A function that saves a user's new refresh token: it is called with the subject and the token before the access token
    /// is handed out. An error of its own is told by the notice `persist_failed`; log it there, it is not kept.
    pub fn on_rotated<E>(self, save: impl Fn(Option<&str>, &Secret) -> Result<(), E> + Send + Sync + 'static) -> Self {
        self.on_rotated_hook(move |subject, token| Box::pin(ready(save(subject.as_deref(), &token).is_ok())))
    }

    /// Like [`Builder::on_rotated`], for a function that has to wait.
    pub fn on_rotated_async<E, F>(self, save: impl Fn(Option<String>, Secret) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.on_rotated_hook(move |subject, token| {
            let save = save(subject, token);
            Box::pin(async move { save.await.is_ok() })
        })
    }

    /// A store that several processes share: then they share tokens, and a refresh token that is replaced is replaced once.
    /// [`FileStore`](super::FileStore) is one; with the feature `redis`, `RedisStore` is another.
    pub fn store(self, store: impl Store) -> Self {
        self.shared_store(Arc::new(Blocking(store)))
    }

    /// Like [`Builder::store`], for a store that has to wait. It is for [`Builder::build_async`].
    pub fn store_async(self, store: impl AsyncStore) -> Self {
        self.shared_store(Arc::new(Waiting(store)))
    }

    /// A function that is called with each error of the store's: the notices say that it is down, and not why. It must be
    /// quick; if it panics, that has no effect.
    pub fn on_store_error(mut self, log: impl Fn(&StoreError) + Send + Sync + 'static) -> Self {
        self.hooks.on_store_error = Some(Arc::new(log));
        self
    }

    /// The keys that records in the store are encrypted with, each with a name of your own: the first one writes, all read. A
    /// key is 32 random bytes, or their base64url text.
    ///
    /// Every process must have them. To replace a key, first put the new one last everywhere, then first, and drop the old one
    /// when all that it wrote has run out.
    pub fn store_keys<I: Into<String>, K: Into<StoreKey>>(mut self, keys: impl IntoIterator<Item = (I, K)>) -> Self {
        let mut text = String::from("[");
        for (id, key) in keys {
            text.push_str(if text.len() > 1 { ",{\"id\":" } else { "{\"id\":" });
            text.push_str(&Value::from(id.into()).to_string());
            text.push_str(",\"key\":");
            text.push_str(Secret::new(Value::from(key.into().0.expose()).to_string()).expose());
            text.push('}');
        }
        text.push(']');
        self.options.insert("store_keys".to_owned(), Secret::new(text));
        self
    }

    /// Clocks of a test's own.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.time = Time::Injected(Arc::new(clock));
        self
    }

    /// Randomness of a test's own: it makes `state`, verifiers and jitter foreseeable.
    pub fn random(mut self, random: impl Fn() -> Entropy + Send + Sync + 'static) -> Self {
        self.hooks.random = Some(Arc::new(random));
        self
    }

    /// A client for threads.
    ///
    /// # Errors
    /// `invalid_option` or `invalid_profile`, with a message that names the option or field and says what is allowed.
    pub fn build<T: Transport>(self, transport: T) -> Result<Client<T>, Error> {
        let (config, hooks, time) = self.finish()?;
        Ok(Client::new(transport, config, hooks, time))
    }

    /// A client for tasks.
    ///
    /// # Errors
    /// Like [`Builder::build`].
    pub fn build_async<T: AsyncTransport>(self, transport: T) -> Result<AsyncClient<T>, Error> {
        let (config, hooks, time) = self.finish()?;
        Ok(AsyncClient::new(transport, config, hooks, time))
    }

    fn finish(mut self) -> Result<(Config, Hooks, Time), Error> {
        if self.hooks.client_secret.is_some() {
            self = self.option("client_secret_provided", true);
        }
        if self.hooks.client_assertion.is_some() {
            self = self.option("client_assertion_provided", true);
        }
        if let Some(store) = &self.hooks.store {
            if let (Some(every), false) = (store.check_every(), self.policy.contains_key("store_check")) {
                self.policy.insert("store_check".to_owned(), every.as_secs_f64().into());
            }
            self = self.option("store", true);
        }
        for (name, members) in
            [("parameters", core::mem::take(&mut self.parameters)), ("policy", core::mem::take(&mut self.policy))]
        {
            if !members.is_empty() {
                self.options.insert(name.to_owned(), Secret::new(Value::Object(members).to_string()));
            }
        }
        // Whoever meant to give some would have records in the clear.
        if self.options.get("store_keys").is_some_and(|keys| keys.expose() == "[]") {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                "option `store_keys` holds no key: give one at least, or leave the option out",
            ));
        }
        let mut document =
            String::with_capacity(self.options.iter().map(|(name, text)| name.len() + text.expose().len() + 8).sum());
        for (name, value) in &self.options {
            document.push(if document.is_empty() { '{' } else { ',' });
            document.push_str(&Value::from(&**name).to_string());
            document.push(':');
            document.push_str(value.expose());
        }
        document.push('}');
        let config = Config::new(&document);
        document.zeroize();
        let config = config?;
        if config.store.is_some() && self.hooks.store.is_none() {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                "`store` is no option of its own here: give the store itself to `Builder::store`",
            ));
        }
        let by_secret = config.authorization_signed_response_alg == Some(ResponseAlgorithm::Hs256);
        if config.wants_signed_answers() && !by_secret && self.hooks.verify.is_none() {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                "`response_mode` asks for signed answers: give the function that checks signatures to `Builder::verifier`",
            ));
        }
        Ok((config, self.hooks, self.time))
    }

    fn shared_store(mut self, store: Arc<dyn AnyStore>) -> Self {
        self.hooks.store = Some(store);
        self
    }

    fn list<S: Into<String>>(self, name: &str, texts: impl IntoIterator<Item = S>) -> Self {
        self.option(name, texts.into_iter().map(Into::into).collect::<Vec<String>>())
    }

    fn secret_option(mut self, name: &str, secret: &Secret) -> Self {
        // A text always serializes.
        let text = serde_json::to_string(secret.expose()).unwrap_or_default();
        self.options.insert(name.to_owned(), Secret::new(text));
        self
    }

    fn on_rotated_hook(mut self, hook: impl Fn(Option<String>, Secret) -> Boxed<bool> + Send + Sync + 'static) -> Self {
        self.hooks.on_rotated = Some(Arc::new(hook));
        self
    }
}

impl Hooks {
    /// The client secret; none if it could not be read.
    pub(crate) async fn client_secret(&self) -> Option<Secret> {
        self.client_secret.as_ref()?().await
    }

    /// An assertion from elsewhere; none if it could not be read.
    pub(crate) async fn client_assertion(&self) -> Option<Secret> {
        self.client_assertion.as_ref()?().await
    }

    /// The token to be exchanged; none if it could not be read.
    pub(crate) async fn subject_token(&self, subject: Option<String>) -> Option<Secret> {
        self.subject_token.as_ref()?(subject).await
    }

    /// The token of who acts for the subject; none if it could not be read.
    pub(crate) async fn actor_token(&self, subject: Option<String>) -> Option<Secret> {
        self.actor_token.as_ref()?(subject).await
    }

    /// The assertion that is the grant; none if it could not be read.
    pub(crate) async fn assertion(&self, subject: Option<String>) -> Option<Secret> {
        self.assertion.as_ref()?(subject).await
    }

    /// The signature, as the core takes it; none if there is no signer or it failed.
    pub(crate) async fn sign(&self, key: &str, alg: String, input: String) -> Option<String> {
        let signer = if key == DPOP_KEY { &self.prove } else { &self.sign };
        Some(URL_SAFE_NO_PAD.encode(signer.as_ref()?(alg, input).await?))
    }

    /// Whether a signature of the server's is good; none if nobody here can tell.
    pub(crate) fn verify(&self, alg: String, key: String, input: Secret, signature: &str) -> Option<bool> {
        match URL_SAFE_NO_PAD.decode(signature) {
            Ok(signature) => self.verify.as_ref()?(&Signed { alg, key, input, signature }),
            Err(_) => Some(false),
        }
    }

    /// Whether the new refresh token is safe.
    pub(crate) async fn rotated(&self, subject: Option<String>, token: Secret) -> bool {
        match &self.on_rotated {
            Some(save) => save(subject, token).await,
            None => true,
        }
    }

    pub(crate) fn store_failed(&self, error: &StoreError) {
        if let Some(log) = &self.on_store_error {
            // Whatever the user's function does, nothing here depends on it.
            let _ = catch_unwind(AssertUnwindSafe(|| log(error)));
        }
    }

    pub(crate) fn wants_rotated(&self) -> bool {
        self.on_rotated.is_some()
    }
}

fn at_once<S: Into<Secret>, E>(read: impl Fn() -> Result<S, E> + Send + Sync + 'static) -> Arc<Read> {
    Arc::new(move || Box::pin(ready(read().ok().map(Into::into))))
}

fn signed_at_once<E>(sign: impl Fn(&str, &[u8]) -> Result<Vec<u8>, E> + Send + Sync + 'static) -> Arc<Sign> {
    Arc::new(move |alg, input| Box::pin(ready(sign(&alg, input.as_bytes()).ok())))
}

fn signed_after_a_wait<E, F>(sign: impl Fn(String, Vec<u8>) -> F + Send + Sync + 'static) -> Arc<Sign>
where
    F: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
{
    Arc::new(move |alg, input| {
        let signing = sign(alg, input.into_bytes());
        Box::pin(async move { signing.await.ok() })
    })
}

fn at_once_for<S: Into<Secret>, E>(
    read: impl Fn(Option<&str>) -> Result<S, E> + Send + Sync + 'static,
) -> Arc<ReadFor> {
    Arc::new(move |subject| Box::pin(ready(read(subject.as_deref()).ok().map(Into::into))))
}

/// The core's name for the key of proofs, by which it is told from the key of assertions.
pub(crate) const DPOP_KEY: &str = "dpop";

fn after_a_wait<S: Into<Secret>, E, F>(read: impl Fn() -> F + Send + Sync + 'static) -> Arc<Read>
where
    F: Future<Output = Result<S, E>> + Send + 'static,
{
    Arc::new(move || {
        let read = read();
        Box::pin(async move { read.await.ok().map(Into::into) })
    })
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.options.keys().collect();
        f.debug_struct("Builder").field("options", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::Builder;
    use crate::client::{Incoming, Outgoing, SendError};
    use crate::error::{Error, ErrorCode};

    fn refused(options: Builder) -> Error {
        options.build(|_: Outgoing| -> Result<Incoming, SendError> { Err(SendError::NotSent) }).unwrap_err()
    }

    fn options() -> Builder {
        Builder::new("phoenix-wallet").client_id("app").client_secret("s3cr\"et\\")
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (wrong, named) in [
            (options().option("client_idd", "x"), "client_idd"),
            (options().policy("soft_margin", -1), "soft_margin"),
            (options().parameter("grant_type", "x"), "grant_type"),
            (options().request_timeout(core::time::Duration::ZERO), "request_timeout"),
            (options().client_secret_fn(|| Ok::<_, Error>("other")), "client_secret"),
            (options().api_origins(["http://example.com"]), "api_origins"),
            (options().option("store", true), "store"),
            (Builder::new("phoenix-walet"), "phoenix-wallet"),
        ] {
            let error = refused(wrong);
            assert_eq!(error.code(), ErrorCode::InvalidOption, "{error}");
            assert!(format!("{error}").contains(named), "{error}");
            assert!(!format!("{error:?}").contains("s3cr"), "{error:?}");
        }
        assert_eq!(refused(Builder::new("{\"name\": 1}")).code(), ErrorCode::InvalidProfile);
    }

    #[test]
    fn the_last_value_counts_and_every_character_of_a_secret_arrives() {
        let sent = |outgoing: Outgoing| -> Result<Incoming, SendError> {
            let body = outgoing.request.body.unwrap_or_default();
            assert!(body.contains("client_id=app&client_secret=s3cr%22et%5C"), "{body}");
            Err(SendError::NotSent)
        };
        let client = options().client_id("other").client_id("app").policy("attempts", 1).build(sent).unwrap();
        assert_eq!(client.token().unwrap_err().code(), ErrorCode::TransportFailed);
    }
}
