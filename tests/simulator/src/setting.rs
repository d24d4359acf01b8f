//! The configurations that cores are made from, each read once.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use remint::Config;

use crate::authority::CANARY;
use crate::plan::{Plan, Reuse, Sharing};
use crate::sealed;

/// What a configuration depends on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Choice {
    rotating: bool,
    grace: Option<i64>,
    sharing: Sharing,
    aside: bool,
}

/// All configurations that were needed so far.
#[derive(Default)]
pub struct Settings(HashMap<Choice, Config>);

impl Settings {
    pub fn of(&mut self, plan: &Plan, sealed: bool) -> &Config {
        let grace = match plan.reuse {
            Reuse::Grace(grace) => Some(grace),
            Reuse::Strict | Reuse::NoRotation => None,
        };
        let sharing = if sealed || plan.sharing != Sharing::Sealed { plan.sharing } else { Sharing::Plain };
        let choice = Choice { rotating: plan.rotating, grace, sharing, aside: plan.aside };
        self.0.entry(choice).or_insert_with(|| read(choice))
    }
}

/// # Panics
///
/// If the core does not take these options, there is nothing to simulate.
#[expect(clippy::panic, reason = "without a configuration there is nothing to do")]
fn read(choice: Choice) -> Config {
    let grant = if choice.rotating { "authorization_code" } else { "client_credentials" };
    let grace = choice.grace.map(|grace| format!(r#","rotation_grace":{}"#, grace / 1_000)).unwrap_or_default();
    let store = match choice.sharing {
        Sharing::Alone => "",
        Sharing::Plain => r#","store":true"#,
        Sharing::Sealed => &format!(
            r#","store":true,"store_keys":[{{"id":"2026-11","key":"{}"}}]"#,
            URL_SAFE_NO_PAD.encode(sealed::KEY)
        ),
    };
    let options = format!(
        r#"{{"profile":{{"name":"model","title":"Model","grants":["{grant}"],
            "token":{{"endpoint":"https://auth.example.com/token","client_auth":["client_secret_post"]{grace}}},
            "authorization":{{"endpoint":"https://auth.example.com/authorize"}},
            "endpoints":{{"revocation":"https://auth.example.com/revoke"}},
            "api_origins":["https://api.example.com"]}},
            "client_id":"id","client_secret":"secret-{CANARY}","aside":{}{store}}}"#,
        choice.aside
    );
    Config::new(&options).unwrap_or_else(|error| panic!("the model's options are refused: {}", error.message()))
}
