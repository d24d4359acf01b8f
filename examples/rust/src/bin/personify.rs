//! Personify, from tasks: the tenant's id goes on every API request beside the token.

use std::error::Error;

use examples_rust::{from_environment, reqwest, variable};
use remint::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let http = reqwest::client()?;
    let options = Client::builder("personify")
        .client_id(variable("CLIENT_ID").unwrap_or_default())
        .client_secret(variable("CLIENT_SECRET").unwrap_or_default());
    let names = ["tenant_id", "token_endpoint", "base_url"];
    let personify = from_environment(options, &names).build_async(reqwest::Reqwest(http.clone()))?;

    let url = format!("{}/v1/customers", variable("BASE_URL").unwrap_or_default());
    let customers = personify.call("GET", &url, |headers| reqwest::get(&http, &url, headers)).await?;
    println!("{}", customers.text().await?);
    Ok(())
}
