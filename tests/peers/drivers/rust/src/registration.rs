//! Registering clients, by a thread or by a task.

use std::collections::BTreeMap;
use std::error::Error;

use examples_rust::reqwest::{self, Reqwest};
use remint::{ClientInformation, Registrar, RegistrationRequest};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::keys::Connection;

/// The client as it is registered now; nothing once it is deleted.
pub fn register(
    profile: Value,
    mut options: BTreeMap<String, Value>,
    request: RegistrationRequest,
    runtime: Option<&Runtime>,
) -> Result<Value, Box<dyn Error>> {
    let connection = Connection::new(None, options.remove("ca").as_ref(), false)?;
    options.insert("profile".into(), profile);
    let registrar = Registrar::new(&json!(options).to_string())?;
    let client = match runtime {
        // reqwest is built without TLS here.
        Some(runtime) if connection.is_plain() => {
            runtime.block_on(registrar.register_async(request, &Reqwest(reqwest::client()?), None))?
        }
        _ => registrar.register(request, &connection.transport()?, None)?,
    };
    client.as_ref().map_or(Ok(Value::Null), shown)
}

fn shown(client: &ClientInformation) -> Result<Value, Box<dyn Error>> {
    let mut answer = json!(client);
    if let Some(members) = answer.as_object_mut() {
        members.insert("metadata".into(), serde_json::from_str(&client.metadata)?);
        members.insert("shown".into(), format!("{client:?}").into());
    }
    Ok(answer)
}
