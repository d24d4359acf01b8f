//! phoenix.market: what a back end hands to its front end, and the iframe's URL.

use std::error::Error;

use examples_rust::{from_environment, ureq, variable};
use remint::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let options =
        Client::builder("phoenix-market").client_id(variable("CLIENT_ID")?).client_secret(variable("CLIENT_SECRET")?);
    let market = from_environment(options, &["token_endpoint", "iframe_url"]).build(ureq::Ureq(ureq::agent()))?;

    // One token serves all users. The answer to the front end must say `Cache-Control: no-store`.
    let token = market.token()?;
    println!(r#"{{"access_token":"{}","expires_in":{}}}"#, token.access_token.expose(), token.expires_in().as_secs());

    // Histories and logs keep URLs, so this one is asked for by name.
    let iframe = market.insecure_url(&variable("IFRAME_URL")?)?;
    println!(r#"<iframe src="{}"></iframe>"#, iframe.url.expose());
    Ok(())
}
