//! Rapidomize: a person authorizes the App in a browser; from then on the refresh token does.

use std::error::Error;
use std::io;

use examples_rust::{from_environment, ureq, variable};
use remint::Client;
use remint::event::AuthorizationUrl;

fn main() -> Result<(), Box<dyn Error>> {
    let agent = ureq::agent();
    let options = Client::builder("rapidomize")
        .client_id(variable("CLIENT_ID")?)
        .client_secret(variable("CLIENT_SECRET")?)
        .option("auth_header", "x-rpz-auth")
        // A database would take it, before anybody gets the access token that came with it.
        .on_rotated(|user, _refresh_token| {
            eprintln!("a new refresh token for {}", user.unwrap_or("nobody"));
            Ok::<_, io::Error>(())
        });
    let names = ["token_endpoint", "authorization_endpoint", "issuer", "base_url"];
    let app = from_environment(options, &names).build(ureq::Ureq(agent.clone()))?;

    let redirect_uri = "http://127.0.0.1/callback".to_owned();
    let authorization = app.authorization_url(AuthorizationUrl { redirect_uri, ..AuthorizationUrl::default() })?;
    println!("Open {}", authorization.url);
    println!("Paste the address that the browser ends up at:");
    let mut callback = String::new();
    io::stdin().read_line(&mut callback)?;
    app.exchange(callback.trim(), authorization.session, Some("ann"))?;

    let url = format!("{}/v1/devices", variable("BASE_URL")?);
    let ann = app.with_subject("ann", None)?;
    let mut devices = ann.call("GET", &url, |headers| ureq::get(&agent, &url, headers))?;
    println!("{}", devices.body_mut().read_to_string()?);
    Ok(())
}
