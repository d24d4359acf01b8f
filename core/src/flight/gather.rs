//! What a request needs that only the host can give: gathered piece by piece before the request is built.

use crate::config::{ClientAuth, Credential, Grant};
use crate::error::{Error, ErrorCode};
use crate::flight::{Flight, What, passing};
use crate::jwt::UnsignedJwt;
use crate::machine::{Core, Turn};
use crate::proof::Proven;
use crate::secret::Secret;
use crate::step::{FlightId, Operation, Provision};
use crate::url::EndpointUrl;

/// What was gathered. Each piece is good for one request.
#[derive(Default)]
pub(crate) struct Ingredients {
    pub(super) subject_token: Option<Secret>,
    pub(super) actor_token: Option<Secret>,
    /// The assertion that is the grant.
    pub(super) grant: Option<Secret>,
    /// The client secret, or the client's assertion.
    pub(crate) client: Option<Secret>,
    /// The signed authorization request.
    pub(crate) request_object: Option<Secret>,
    /// The proof of possession.
    pub(crate) proof: Option<Secret>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ingredient {
    SubjectToken,
    ActorToken,
    Grant,
    Client,
    RequestObject,
    Proof,
}

impl Ingredient {
    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SubjectToken => "the token to be exchanged",
            Self::ActorToken => "the actor's token",
            Self::Grant => "the assertion",
            Self::Client => "the client secret or assertion",
            Self::RequestObject => "the signed request",
            Self::Proof => "the proof",
        }
    }
}

impl Core {
    /// Asks for the next piece that is missing, or goes on if there is none.
    pub(crate) fn gather(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        if !self.is_metadata_here(id, turn) {
            return;
        }
        if self.unchecked_answer(id).is_some() {
            self.check_answer(id, turn);
            return;
        }
        match self.missing_ingredient(id) {
            Some(ingredient) => self.ask_for(id, ingredient, turn),
            None if self.errands.contains_key(&id) => self.run_errand(id, turn),
            None => self.secure(id, turn),
        }
    }

    fn missing_ingredient(&mut self, id: FlightId) -> Option<Ingredient> {
        let config = self.config.clone();
        let asks_the_host = matches!(config.credential, Credential::Provided { .. } | Credential::Key);
        if let Some(errand) = self.errands.get(&id) {
            let here = &errand.ingredients;
            return [
                (Ingredient::RequestObject, here.request_object.is_none() && errand.signs_request(&config)),
                (Ingredient::Client, here.client.is_none() && asks_the_host && errand.names_client(&config)),
                (Ingredient::Proof, here.proof.is_none() && errand.is_proof()),
            ]
            .into_iter()
            .find_map(|(ingredient, missing)| missing.then_some(ingredient));
        }
        let flight = self.flights.get_mut(&id)?;
        let here = &mut flight.ingredients;
        let renews = !flight.work.is_consent();
        let exchanges = renews && config.grant == Grant::TokenExchange;
        if exchanges {
            // What the host's database has needs no asking.
            let rare = self.cache.find(&flight.key).and_then(|entry| entry.rare.as_ref());
            if here.subject_token.is_none() {
                here.subject_token = rare.and_then(|rare| rare.subject_token.clone());
                here.actor_token = rare.and_then(|rare| rare.actor_token.clone());
            }
        }
        [
            (Ingredient::SubjectToken, exchanges && here.subject_token.is_none() && config.exchanged.subject_provided),
            (Ingredient::ActorToken, exchanges && here.actor_token.is_none() && config.exchanged.actor_provided),
            (Ingredient::Grant, renews && config.grant == Grant::JwtBearer && here.grant.is_none()),
            (Ingredient::Client, here.client.is_none() && asks_the_host),
            (Ingredient::Proof, here.proof.is_none() && config.dpop.is_some()),
        ]
        .into_iter()
        .find_map(|(ingredient, missing)| missing.then_some(ingredient))
    }

    fn ask_for(&mut self, id: FlightId, ingredient: Ingredient, turn: &mut Turn<'_>) {
        let subject = || self.flights.get(&id).and_then(|flight| flight.work.subject.clone());
        let is_provided = matches!(self.config.credential, Credential::Provided { .. });
        let is_grant_provided = self.config.grant_assertion.as_ref().is_some_and(|rules| rules.provided);
        let provision = match ingredient {
            Ingredient::SubjectToken => Some(Provision::SubjectToken { subject: subject() }),
            Ingredient::ActorToken => Some(Provision::ActorToken { subject: subject() }),
            Ingredient::Grant if is_grant_provided => Some(Provision::Assertion { subject: subject() }),
            Ingredient::Client if is_provided && self.config.client_auth == ClientAuth::KeyJwt => {
                Some(Provision::ClientAssertion)
            }
            Ingredient::Client if is_provided => Some(Provision::ClientSecret),
            _ => None,
        };
        let until = turn.now.boot.saturating_add(self.config.request_timeout);
        if let Some(what) = provision {
            let op = self.operations.add(id, until, What::Given(ingredient));
            turn.step.operations.push(Operation::Provide { op, flight: id, what, until });
            return;
        }
        let Some(jwt) = self.unsigned(id, ingredient, turn) else {
            // The configuration was checked: only a token can have gone away, which a proof was to be for.
            let error =
                Error::new(ErrorCode::Canceled, "the token was withdrawn while its proof was made: ask once more");
            self.fail(id, passing(error), turn);
            return;
        };
        let (key, alg, input) = (jwt.key.clone(), jwt.algorithm.as_str().into(), jwt.input.clone());
        let op = self.operations.add(id, until, What::Signature(ingredient, jwt));
        turn.step.operations.push(Operation::Sign { op, flight: id, key, alg, input, until });
    }

    fn unsigned(&self, id: FlightId, ingredient: Ingredient, turn: &mut Turn<'_>) -> Option<UnsignedJwt> {
        let endpoint = self.config.token_endpoint.as_ref();
        let origin = endpoint.map(EndpointUrl::origin);
        let wall = self.servers.wall(origin.as_ref(), turn.now.wall);
        match ingredient {
            Ingredient::Client => self.config.client_assertion(wall, turn.text()),
            Ingredient::Grant => {
                let work = &self.flights.get(&id)?.work;
                let scope = work.scope.as_deref().unwrap_or(&self.config.scope);
                self.config.grant_assertion(work.subject.as_deref(), scope, wall, turn.text())
            }
            Ingredient::RequestObject => self.errands.get(&id)?.request_object(&self.config, wall, turn.text()),
            Ingredient::Proof if self.errands.contains_key(&id) => self.api_proof(id, turn),
            Ingredient::Proof => self.config.dpop.as_ref()?.proof(Proven {
                method: self.config.method.as_str(),
                url: self.flights.get(&id).and_then(|flight| self.renewed_at(flight)).or(endpoint)?.as_str(),
                access_token: None,
                nonce: origin.as_ref().and_then(|origin| self.servers.nonce(origin)),
                wall,
                jti: turn.text(),
            }),
            Ingredient::SubjectToken | Ingredient::ActorToken => None,
        }
    }

    /// Where a flight sends a refresh token, if that is a place of its own.
    fn renewed_at(&self, flight: &Flight) -> Option<&EndpointUrl> {
        let spends = self.config.grant.needs_a_person() && !flight.work.is_consent();
        self.config.refresh_endpoint.as_ref().filter(|_| spends)
    }

    pub(crate) fn add_ingredient(&mut self, id: FlightId, ingredient: Ingredient, value: Secret) {
        let flight = self.flights.get_mut(&id).map(|flight| &mut flight.ingredients);
        let Some(here) = flight.or(self.errands.get_mut(&id).map(|errand| &mut errand.ingredients)) else { return };
        let slot = match ingredient {
            Ingredient::SubjectToken => &mut here.subject_token,
            Ingredient::ActorToken => &mut here.actor_token,
            Ingredient::Grant => &mut here.grant,
            Ingredient::Client => &mut here.client,
            Ingredient::RequestObject => &mut here.request_object,
            Ingredient::Proof => &mut here.proof,
        };
        *slot = Some(value);
    }

    /// What proves who the client is, in place of the configured secret, where that is not sent as it is.
    pub(crate) fn client_secret(&self, read: Option<Secret>, turn: &mut Turn<'_>) -> Result<Option<Secret>, Error> {
        if self.config.client_auth != ClientAuth::SecretJwt {
            return Ok(read);
        }
        let secret = match (&self.config.credential, read) {
            (Credential::Provided { .. }, Some(secret)) => {
                self.config.check_secret(&secret)?;
                secret
            }
            (Credential::Secret(secret), _) => secret.clone(),
            (_, read) => return Ok(read),
        };
        let origin = self.config.token_endpoint.as_ref().map(EndpointUrl::origin);
        let wall = self.servers.wall(origin.as_ref(), turn.now.wall);
        self.config.secret_assertion(&secret, wall, turn.text()).map(Some)
    }
}
