#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod cache;
pub mod challenge;
pub mod clock;
pub mod config;
mod document;
pub mod error;
pub mod event;
mod grammar;
pub mod header;
pub mod notice;
pub mod policy;
pub mod profile;
pub mod request;
pub mod response;
pub mod secret;
pub mod step;
pub mod token;
pub mod url;
