#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod assertion;
pub mod authorization;
mod body;
pub mod cache;
mod calls;
pub mod challenge;
#[cfg(feature = "std")]
pub mod client;
mod client_auth;
pub mod clock;
pub mod config;
mod discovery;
mod document;
mod entropy;
mod errand;
pub mod error;
pub mod event;
pub mod exchange;
mod flight;
mod form;
mod grammar;
pub mod header;
mod jarm;
mod json;
mod jwks;
pub mod jwt;
pub mod machine;
mod metadata;
pub mod notice;
pub mod policy;
pub mod profile;
mod proof;
mod record;
pub mod registration;
pub mod request;
pub mod response;
pub mod secret;
pub mod step;
pub mod token;
pub mod url;

#[cfg(feature = "std")]
pub use client::{AsyncClient, AsyncTransport, Builder, Client, Transport};
pub use clock::{Entropy, Now};
pub use config::Config;
pub use error::{Error, ErrorCode, Family};
pub use event::Event;
pub use exchange::{Exchange, TokenRequest};
pub use machine::Core;
pub use profile::Profile;
pub use registration::{ClientInformation, Registered, Registrar, Registration, RegistrationRequest};
pub use request::HttpRequest;
pub use response::HttpResponse;
pub use secret::Secret;
pub use step::{Answer, Operation, Step};
pub use token::{Lease, Token, TokenSet};
