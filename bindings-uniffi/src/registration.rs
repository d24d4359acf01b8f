//! Registering clients: the mirror of `remint::registration`, where everything is explained.

use std::sync::{Arc, Mutex, PoisonError};

use remint::{ClientInformation, Now, RegistrationRequest, Secret};

use crate::{
    SecretBytes,
    event::{self, Header},
    failure::{self, CoreError},
    step::HttpRequest,
};

/// What registers clients (RFC 7591) and looks after registrations (RFC 7592).
#[derive(Debug, uniffi::Object)]
pub struct Registrar(remint::Registrar);

#[uniffi::export]
impl Registrar {
    /// Reads the options, one JSON object: `profile`, the profile's variables, and `allow_loopback_http` and `policy` if
    /// need be.
    #[uniffi::constructor]
    pub fn new(options: Secret) -> Result<Self, CoreError> {
        Ok(Self(remint::Registrar::new(options.expose())?))
    }

    /// Builds one request, and what alone can read its answer.
    pub fn build(&self, request: RegistrationRequest) -> Result<Arc<Registration>, CoreError> {
        Ok(Arc::new(self.0.build(request)?.into()))
    }
}

/// One request about a registration, and what alone can read its answer.
#[derive(Debug, uniffi::Object)]
pub struct Registration {
    request: HttpRequest,
    registration: Mutex<Option<remint::Registration>>,
}

/// What an answer leads to.
#[derive(Debug, uniffi::Enum)]
pub enum Registered {
    /// Another request: the answer was the server's metadata.
    Next { registration: Arc<Registration> },
    /// The client as the server has registered it.
    Client { client: ClientInformation },
    /// There is no such client any more.
    Deleted,
}

/// What to ask of the server. Metadata is a JSON object as text.
#[uniffi::remote(Enum)]
pub enum RegistrationRequest {
    /// A new client (RFC 7591 section 3.1).
    Register { metadata: Secret, initial_access_token: Option<Secret>, software_statement: Option<String> },
    /// What the server has registered (RFC 7592 section 2.1).
    Read { registration_client_uri: String, registration_access_token: Secret },
    /// Other metadata in the place of all that was registered (RFC 7592 section 2.2).
    Update {
        registration_client_uri: String,
        registration_access_token: Secret,
        client_id: Option<String>,
        client_secret: Option<Secret>,
        metadata: Secret,
    },
    /// The end of a registration (RFC 7592 section 2.3).
    Delete { registration_client_uri: String, registration_access_token: Secret },
}

/// A client as the server has registered it. Points in time are Unix seconds; metadata is a JSON object as text.
#[uniffi::remote(Record)]
pub struct ClientInformation {
    /// The client's identifier.
    pub client_id: String,
    /// Its secret, if it has one.
    pub client_secret: Option<Secret>,
    /// When it was registered, where the server says so.
    pub client_id_issued_at: Option<i64>,
    /// When the secret ends; none if it does not.
    pub client_secret_expires_at: Option<i64>,
    /// What permits to look after the registration, where the server offers that.
    pub registration_access_token: Option<Secret>,
    /// Where the registration is.
    pub registration_client_uri: Option<String>,
    /// The metadata that the server registered, without the members above.
    pub metadata: String,
}

#[uniffi::export]
impl Registration {
    /// The request, to be sent exactly once with redirects off, its body as UTF-8.
    pub fn request(&self) -> HttpRequest {
        self.request.clone()
    }

    /// Reads the answer, once. `now` is what both clocks show.
    pub fn finish(
        &self,
        status: i32,
        headers: Vec<Header>,
        body: SecretBytes,
        now: Now,
    ) -> Result<Registered, CoreError> {
        let registration = self.registration.lock().unwrap_or_else(PoisonError::into_inner).take();
        let registration =
            registration.ok_or_else(|| failure::invalid_event("a registration reads one answer: build another"))?;
        let headers = event::pairs(headers);
        let response = remint::HttpResponse { status: event::status(status)?, headers: &headers, body: &body.0 };
        Ok(match registration.finish(response, now)? {
            remint::Registered::Next(next) => Registered::Next { registration: Arc::new(next.into()) },
            remint::Registered::Client(client) => Registered::Client { client },
            remint::Registered::Deleted => Registered::Deleted,
        })
    }
}

impl From<remint::Registration> for Registration {
    fn from(registration: remint::Registration) -> Self {
        Self { request: registration.request().clone().into(), registration: Mutex::new(Some(registration)) }
    }
}
