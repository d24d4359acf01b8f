use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};

use serde_json::{Value as Json, json};

use super::*;
use crate::error::ErrorCode;
use crate::response::{TimeUnit, Verdict};

const CANARY: &str = "hunter2-hunter2";

#[test]
fn phoenix_security_asks_by_get_with_raw_basic_and_reads_an_absolute_expiry() {
    let config = accepted(json!({"profile": "phoenix-security", "client_id": "id", "client_secret": "s:é"}));
    assert_eq!(endpoint(&config), "https://api.securityphoenix.cloud/v1/auth/access_token");
    assert_eq!((config.grant, config.method, config.client_auth), (Grant::BasicGet, Method::Get, ClientAuth::BasicRaw));
    assert_eq!(config.answer.access_token, ["token"]);
    assert_eq!(config.answer.expires_at, Some((Vec::from(["expiry".to_owned()]), TimeUnit::Seconds)));
    assert_eq!((&config.answer.expires_in, &config.answer.token_type), (&None, &None));
    assert_eq!(config.answer.assumed_token_type.as_deref(), Some("Bearer"));
    assert_eq!((&*config.attach.header, config.attach.scheme.as_deref()), ("Authorization", Some("Bearer")));
    assert_eq!(origins(&config), ["https://api.securityphoenix.cloud"]);
    assert!(config.parameters.is_empty() && config.scope.is_empty());

    // Another environment, and the documentation's other path.
    let config = accepted(json!({
        "profile": "phoenix-security", "client_id": "id", "client_secret": "s",
        "base_url": "https://api.demo.example/", "token_path": "/v1/access_token",
    }));
    assert_eq!(endpoint(&config), "https://api.demo.example/v1/access_token");
    assert_eq!(origins(&config), ["https://api.demo.example"]);
}

#[test]
fn phoenix_wallet_sends_credentials_in_the_body_and_renews_five_minutes_before_the_end() {
    let config = accepted(wallet());
    assert_eq!(endpoint(&config), "https://auth.phoenixwallet.io/oauth/token");
    assert_eq!(
        (config.grant, config.method, config.client_auth),
        (Grant::ClientCredentials, Method::Post, ClientAuth::Body)
    );
    assert_eq!(config.scope, ["wallets:read", "wallets:write"]);
    assert_eq!(config.soft_margin, Some(300_000));
    assert_eq!(config.missing_lifetime, MissingLifetime::Assume(3_600_000));
    assert_eq!(origins(&config), ["https://api.phoenixwallet.io"]);
    let meaning = &config.errors["invalid_grant"];
    assert_eq!(meaning.verdict, Some(Verdict::Terminal));
    assert_eq!(
        meaning.hint,
        "Phoenix Wallet means by `invalid_grant`: grant type not supported; only client_credentials is; nobody has to log in again"
    );
    assert_eq!(
        config.errors.keys().collect::<Vec<_>>(),
        ["invalid_client", "invalid_grant", "invalid_scope", "unauthorized"]
    );
}

#[test]
fn phoenix_market_has_no_endpoint_until_the_user_gives_one() {
    let mut options = json!({"profile": "phoenix-market", "client_id": "2SERtJ2DPnkkTQbvnqyS5y", "client_secret": "s"});
    assert_eq!(
        refused(&options),
        "option `token_endpoint` is missing: where tokens are asked for; the public documentation doesn't show it: \
         main@phoenix.market tells it with the credentials"
    );
    options["token_endpoint"] = json!("https://auth.example/token");
    let config = accepted(options.clone());
    assert_eq!((endpoint(&config), config.client_auth), ("https://auth.example/token", ClientAuth::Body));
    assert_eq!(config.attach.insecure_query.as_deref(), Some("access_token"));
    assert!(config.api_origins.is_empty());
    assert_eq!(config.missing_lifetime, MissingLifetime::Assume(3_600_000));

    options["iframe_url"] = json!("https://frame.example/embed?theme=dark");
    options["iframe_parameter"] = json!("jwt");
    let config = accepted(options);
    assert_eq!(origins(&config), ["https://frame.example"]);
    assert_eq!(config.attach.insecure_query.as_deref(), Some("jwt"));
}

#[test]
fn personify_wants_a_tenant_and_its_own_scope() {
    let mut options = json!({"profile": "personify", "client_id": "id", "client_secret": "s"});
    assert_eq!(
        refused(&options),
        "option `tenant_id` is missing: the tenant ID from the onboarding, sent as X-Tenant-Id with each API request"
    );
    options["tenant_id"] = json!("tenant-7");
    let config = accepted(options.clone());
    assert_eq!(endpoint(&config), "https://prod.personifyauth.com/connect/token");
    assert_eq!(config.client_auth, ClientAuth::Body);
    assert_eq!(config.scope, ["idp_api"]);
    assert_eq!(config.attach.headers, pairs(&[("X-Tenant-Id", "tenant-7")]));
    // The tenant can change the token; what only says where it may be sent can't.
    assert_eq!(
        config.identity,
        pairs(&[("tenant_id", "tenant-7"), ("token_endpoint", "https://prod.personifyauth.com/connect/token")])
    );

    options["scope"] = json!("other_api");
    options["base_url"] = json!("https://api.example/v2/");
    let config = accepted(options);
    assert_eq!(config.scope, ["other_api"]);
    assert_eq!(origins(&config), ["https://api.example"]);
}

#[test]
fn rapidomize_has_a_code_flow_by_header_or_body_and_api_tokens() {
    let code = json!({
        "profile": "rapidomize", "client_id": "app-7", "client_secret": "s",
        "token_endpoint": "https://auth.example/token", "authorization_endpoint": "https://auth.example/authorize",
        "base_url": "https://api.example",
    });
    let config = accepted(code.clone());
    assert_eq!((config.grant, config.client_auth), (Grant::AuthorizationCode, ClientAuth::BasicForm));
    assert_eq!(config.missing_lifetime, MissingLifetime::Assume(7_200_000));
    let authorization = config.authorization.unwrap();
    assert_eq!(
        (authorization.endpoint.unwrap().as_str(), authorization.issuer, authorization.iss_required),
        ("https://auth.example/authorize", None, false)
    );
    assert_eq!((config.attach.scheme.as_deref(), config.attach.insecure_query), (Some("Bearer"), None));

    let config = accepted(with(
        &code,
        &[
            ("client_auth", json!("client_secret_post")),
            ("auth_header", json!("x-rpz-auth")),
            ("issuer", json!("https://auth.example/")),
        ],
    ));
    assert_eq!((config.client_auth, &*config.attach.header), (ClientAuth::Body, "x-rpz-auth"));
    assert_eq!(config.authorization.unwrap().issuer.as_deref(), Some("https://auth.example/"));

    // An API token needs none of the endpoints.
    let token = json!({"profile": "rapidomize", "grant": "api_token", "client_id": "app-7", "api_token": "t:é ~"});
    let config = accepted(token.clone());
    assert_eq!((config.grant, config.token_endpoint), (Grant::ApiToken, None));
    assert_eq!(
        (config.attach.scheme.as_deref(), config.attach.insecure_query.as_deref()),
        (Some("Basic"), Some("token"))
    );
    assert_eq!(config.credential, Credential::Secret(Secret::from("t:é ~")));

    assert_eq!(
        refused(&with(&token, &[("client_id", Json::Null)])),
        "option `client_id` is missing: the client's identifier at the provider"
    );
    assert_eq!(
        refused(&with(&token, &[("client_secret", json!(CANARY))])),
        "option `client_secret` has no use with the grant `api_token`: the API token is the option `api_token`"
    );
    assert_eq!(
        refused(&with(&code, &[("api_token", json!(CANARY))])),
        "option `api_token` has no use with the grant `authorization_code`: leave it out, or set `grant` to `api_token`"
    );
    assert_eq!(
        refused(&with(&code, &[("auth_header", json!("X-Other"))])),
        "option `auth_header` has a value that is not known: `Authorization` or `x-rpz-auth` is allowed"
    );
}

#[test]
fn the_examples_profiles_work_with_no_code() {
    let key = include_str!("../../../examples/profiles/api-key.json");
    let config = accepted(json!({"profile": key, "api_token": "k3y:/+="}));
    assert_eq!((&*config.attach.header, config.attach.scheme, config.client_id), ("X-Api-Key", None, None));

    let nested = include_str!("../../../examples/profiles/nested-expiry.json");
    let config = accepted(json!({"profile": nested, "client_id": "id", "client_secret": "s", "region": "us"}));
    assert_eq!(endpoint(&config), "https://api.example.com/auth/us/sessions");
    assert_eq!(
        config.answer.expires_at,
        Some((["data", "session", "expires"].map(ToOwned::to_owned).to_vec(), TimeUnit::Iso8601))
    );
    assert_eq!(config.missing_lifetime, MissingLifetime::DoNotCache);

    let forge = include_str!("../../../examples/profiles/code-forge.json");
    let config = accepted(json!({"profile": forge, "client_id": "id", "client_secret": "s"}));
    assert!(config.answer.form);
    assert_eq!(endpoint(&config), "https://github.com/login/oauth/access_token");
}

#[test]
fn a_profile_is_a_name_a_document_or_a_documents_text() {
    let document: Json = serde_json::from_str(Profile::built_in("phoenix-wallet").unwrap()).unwrap();
    for profile in [json!("phoenix-wallet"), document.clone(), json!(format!("\u{feff}\n {document}"))] {
        assert_eq!(accepted(with(&wallet(), &[("profile", profile)])).profile, "phoenix-wallet");
    }
    assert_eq!(
        refused(&with(&wallet(), &[("profile", json!("phoenix_walet"))])),
        "option `profile` is not the name of a built-in profile: did you mean `phoenix-wallet`?"
    );
    let error = refused(&with(&wallet(), &[("profile", json!(CANARY))]));
    let names: Vec<_> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(names, Profile::built_in_names().collect::<Vec<_>>());
    assert!(error.ends_with("`zitadel` or `zoom`, or a document, is allowed"), "{error}");
    assert_eq!(
        refused(&with(&wallet(), &[("profile", Json::Null)])),
        "option `profile` is missing: a built-in name, or a document"
    );

    let mut wrong = document;
    wrong["token"]["method"] = json!("PUT");
    for profile in [wrong.clone(), json!(wrong.to_string())] {
        let error = Config::new(&with(&wallet(), &[("profile", profile)]).to_string()).unwrap_err();
        assert_eq!((error.code(), error.pointer()), (ErrorCode::InvalidProfile, Some("/token/method")));
        assert_eq!(error.message(), "`/token/method` is `PUT`: `GET` or `POST` is allowed");
    }
}

#[test]
fn an_unknown_option_is_named_with_the_one_that_was_meant() {
    for (name, message) in [
        ("clientId", "option `clientId` is not known: did you mean `client_id`?"),
        ("token_endpont", "option `token_endpont` is not known: did you mean `token_endpoint`?"),
        ("time_out", "option `time_out` is not known: "),
    ] {
        let error = refused(&with(&wallet(), &[(name, json!(CANARY))]));
        assert!(error.starts_with(message), "{error}");
    }
    // Every option that there is, and the profile's variables.
    let error = refused(&with(&wallet(), &[("zzzzzz", json!(1))]));
    let mut told: Vec<_> = error.split('`').skip(3).step_by(2).collect();
    let mut expected = [OPTIONS, &["profile", "base_url", "token_endpoint"]].concat();
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn a_missing_option_is_named() {
    assert_eq!(
        refused(&with(&wallet(), &[("client_id", Json::Null)])),
        "option `client_id` is missing: the client's identifier at the provider"
    );
    assert_eq!(
        refused(&with(&wallet(), &[("client_secret", Json::Null)])),
        "option `client_secret` is missing: the secret that the provider gave with the client's identifier"
    );
}

#[test]
fn a_credential_outside_its_grammar_is_refused_by_place_and_never_shown() {
    for (name, value, message) in [
        ("client_secret", "", "is empty: see whether the place that it is read from is filled"),
        ("client_id", "", "is empty: see whether the place that it is read from is filled"),
        (
            "client_secret",
            "hunter2-hunter2\n",
            "ends with a line break, at character 16 of 16: trim it where it is read",
        ),
        ("client_id", "hunter2-hunter2\r\n", "ends with a line break, at character 16 of 17: trim it where it is read"),
        // STD-10.
        (
            "client_secret",
            "é hunter2-hunter2",
            "holds a character outside ASCII at character 1 of 17: printable ASCII is allowed (RFC 6749 appendix A)",
        ),
        (
            "client_secret",
            "hunter2-hunter2\0x",
            "holds a NUL at character 16 of 17: printable ASCII is allowed (RFC 6749 appendix A)",
        ),
    ] {
        assert_eq!(refused(&with(&wallet(), &[(name, json!(value))])), format!("option `{name}` {message}"));
    }
    // STD-9: raw Basic takes what RFC 7617 takes.
    let security = json!({"profile": "phoenix-security", "client_id": "id", "client_secret": "s"});
    for (name, value, is_accepted) in [
        ("client_secret", "a:é b", true),
        ("client_secret", "a\u{7f}", false),
        ("client_secret", "a\tb", false),
        ("client_id", "é b", true),
        ("client_id", "a:b", false),
    ] {
        assert_eq!(
            Config::new(&with(&security, &[(name, json!(value))]).to_string()).is_ok(),
            is_accepted,
            "{value:?}"
        );
    }
    assert_eq!(
        refused(&with(&wallet(), &[("client_secret", json!(12345))])),
        "option `client_secret` is a number: a string is allowed"
    );
}

#[test]
fn a_secret_that_the_host_provides_is_checked_when_it_comes() {
    let mut options = wallet();
    options["client_secret"] = Json::Null;
    options["client_secret_provided"] = json!(true);
    let config = accepted(options.clone());
    assert_eq!(config.credential, Credential::Provided { name: "client_secret".to_owned() });
    assert_eq!(config.check_secret(&Secret::from("fine")), Ok(()));
    let error = config.check_secret(&Secret::from("hunter2-hunter2\n")).unwrap_err();
    assert_eq!(
        error.message(),
        "option `client_secret` ends with a line break, at character 16 of 16: trim it where it is read"
    );

    let config = accepted(with(&options, &[("credential_name", json!("vault/wallet"))]));
    assert_eq!(config.credential, Credential::Provided { name: "vault/wallet".to_owned() });
    assert_eq!(
        refused(&with(&options, &[("client_secret", json!(CANARY))])),
        "option `client_secret` stands beside `client_secret_provided`: keep one of the two"
    );
    assert_eq!(
        refused(&with(&wallet(), &[("credential_name", json!("x"))])),
        "option `credential_name` has no use without `client_secret_provided` or `client_assertion_provided`: leave it out"
    );
}

#[test]
fn api_tokens_fit_the_header_that_they_go_into() {
    let document = |scheme: Json| json!({"name": "x", "title": "X", "grants": ["api_token"], "attach": {"scheme": scheme}, "api_token": {}});
    for (scheme, token, is_accepted) in [
        (json!("Bearer"), "abc-._~+/==", true),
        (json!("Bearer"), "ab=c", false),
        (json!("Bearer"), "a b", false),
        (json!("Bearer"), "a\r\nX: y", false),
        (Json::Null, "k3y:\"()", true),
        (Json::Null, "a b", false),
        (Json::Null, "é", false),
        (json!("Token"), "a\n", false),
        (json!("Token"), "", false),
    ] {
        let options = json!({"profile": document(scheme.clone()), "api_token": token});
        assert_eq!(Config::new(&options.to_string()).is_ok(), is_accepted, "{scheme} {token:?}");
    }
}

#[test]
fn a_header_variable_can_hold_nothing_that_would_end_the_header_std_147() {
    let personify = json!({"profile": "personify", "client_id": "id", "client_secret": "s", "tenant_id": "t"});
    for (value, message) in [
        (
            "a\r\nX-Evil: 1",
            "holds a line break at character 2 of 12: printable ASCII is allowed in a header (RFC 9110 section 5.5)",
        ),
        ("a\n", "ends with a line break, at character 2 of 2: trim it where it is read"),
        ("a\0", "holds a NUL at character 2 of 2: printable ASCII is allowed in a header (RFC 9110 section 5.5)"),
        (
            "ä",
            "holds a character outside ASCII at character 1 of 1: printable ASCII is allowed in a header (RFC 9110 section 5.5)",
        ),
        (" a", "begins or ends with a space: a header's value can't"),
        ("", "is empty: give it a value, or leave it out"),
    ] {
        assert_eq!(refused(&with(&personify, &[("tenant_id", json!(value))])), format!("option `tenant_id` {message}"));
    }
}

#[test]
fn scope_is_a_list_or_the_rfcs_string_and_keeps_its_order_std_12() {
    let scope = |value: Json| with(&wallet(), &[("scope", value)]);
    assert_eq!(accepted(scope(json!("b a b"))).scope, ["b", "a"]);
    assert_eq!(accepted(scope(json!(["b", "a"]))).scope, ["b", "a"]);
    assert!(accepted(scope(json!([]))).scope.is_empty());
    assert!(accepted(scope(json!(""))).scope.is_empty());
    for (value, message) in [
        (json!("a  b"), "option `scope` has an empty part: one space stands between two scopes"),
        (json!(" a"), "option `scope` has an empty part: one space stands between two scopes"),
        (json!(["a b"]), "option `scope` has a part that holds a space at character 2 of 3: "),
        (json!("a\"b"), "option `scope` has a part that holds a character that is not allowed at character 2 of 3: "),
        (json!("a\n"), "option `scope` has a part that ends with a line break, at character 2 of 2: "),
        (json!([1]), "option `scope.0` is a number: a string is allowed"),
        (json!(1), "option `scope` is a number: a string is allowed"),
    ] {
        let error = refused(&scope(value));
        assert!(error.starts_with(message), "{error}");
    }
    let config = accepted(wallet());
    assert_eq!(config.check_scope(&["x".to_owned(), "x".to_owned()]).unwrap(), ["x"]);
    assert!(config.check_scope(&["x y".to_owned()]).is_err());
}

#[test]
fn a_closed_list_of_scopes_refuses_others() {
    let mut document: Json = serde_json::from_str(Profile::built_in("phoenix-wallet").unwrap()).unwrap();
    document["token"]["scope"]["closed"] = json!(true);
    let options = with(&wallet(), &[("profile", document), ("scope", json!("wallet:read"))]);
    assert_eq!(
        refused(&options),
        "option `scope` names `wallet:read`, which the provider doesn't know: did you mean `wallets:read`?"
    );
    let error =
        accepted(with(&options, &[("scope", json!("ledger:read"))])).check_scope(&["zz".to_owned()]).unwrap_err();
    assert!(error.message().contains("`wallets:read` or `wallets:write`"), "{error}");
    assert_eq!(accepted(with(&wallet(), &[("scope", json!("new:scope"))])).scope, ["new:scope"]);
}

#[test]
fn parameters_are_strings_under_names_of_their_own_std_3() {
    let parameters = |value: Json| with(&wallet(), &[("parameters", value)]);
    assert_eq!(
        accepted(parameters(json!({"b": "1", "a": "", "c": "é ü"}))).parameters,
        pairs(&[("b", "1"), ("c", "é ü")])
    );
    for (value, message) in [
        (json!({"scope": "x"}), "option `parameters.scope` is reserved: use the option `scope`"),
        (
            json!({"client_secret": CANARY}),
            "option `parameters.client_secret` is reserved: use the option `client_secret`",
        ),
        (json!({"grant_type": "password"}), "option `parameters.grant_type` is reserved: use the option `grant`"),
        (
            json!({"code_verifier": "x"}),
            "option `parameters.code_verifier` is reserved: the library sends it itself where it belongs",
        ),
        (
            json!({"username": "x"}),
            "option `parameters.username` is reserved: the password grant is not offered (RFC 9700 section 2.4)",
        ),
        (json!({"a": 5}), "option `parameters.a` is a number: a string is allowed"),
        (json!({"a": null}), "option `parameters.a` is null: a string is allowed"),
        (json!("a=b"), "option `parameters` is a string: an object is allowed"),
    ] {
        assert_eq!(refused(&parameters(value)), message);
    }
    let twice = wallet().to_string().replacen('{', r#"{"parameters": {"a": "1", "a": "2"}, "#, 1);
    assert_eq!(
        Config::new(&twice).unwrap_err().message(),
        "option `parameters.a` stands there twice: keep one of the two"
    );
}

#[test]
fn a_users_parameter_goes_before_the_profiles_and_an_empty_one_removes_it_std_4() {
    let document = json!({
        "name": "x", "title": "X", "grants": ["client_credentials"],
        "token": {"endpoint": "https://a.example/t", "parameters": {"flavour": "plain", "mode": "{mode}"}},
        "variables": {"mode": {"description": "mode", "format": "text", "required": false}},
    });
    let options = json!({"profile": document, "client_id": "id", "client_secret": "s"});
    assert_eq!(accepted(options.clone()).parameters, pairs(&[("flavour", "plain")]));
    assert_eq!(
        accepted(with(&options, &[("mode", json!("m"))])).parameters,
        pairs(&[("flavour", "plain"), ("mode", "m")])
    );
    assert_eq!(
        accepted(with(&options, &[("parameters", json!({"flavour": "rich"}))])).parameters,
        pairs(&[("flavour", "rich")])
    );
    assert!(accepted(with(&options, &[("parameters", json!({"flavour": ""}))])).parameters.is_empty());
}

#[test]
fn plain_http_is_for_loopback_alone_and_by_name_std_21() {
    let at = |url: &str| with(&wallet(), &[("token_endpoint", json!(url))]);
    for url in [
        "http://auth.example/token",
        "http://127.0.0.1:8080/token",
        "auth.example/token",
        "https://a.example/#x",
        "https://u:hunter2-hunter2@a.example/",
    ] {
        let error = refused(&at(url));
        assert!(error.starts_with("option `token_endpoint` is not accepted: "), "{error}");
    }
    let allowed = |url: &str| with(&at(url), &[("allow_loopback_http", json!(true))]);
    assert_eq!(endpoint(&accepted(allowed("http://127.0.0.1:8080/token"))), "http://127.0.0.1:8080/token");
    assert!(accepted(allowed("http://localhost:8080/token")).allow_loopback_http);
    assert!(refused(&allowed("http://auth.example/token")).starts_with("option `token_endpoint` is not accepted: "));
}

#[test]
fn an_endpoints_query_can_hold_nothing_that_the_library_sends_std_5() {
    let at = |url: &str| with(&wallet(), &[("token_endpoint", json!(url))]);
    assert_eq!(endpoint(&accepted(at("https://a.example/t?v=2"))), "https://a.example/t?v=2");
    let error = Config::new(&at("https://a.example/t?v=2&client%5Fsecret=hunter2-hunter2").to_string()).unwrap_err();
    assert_eq!(
        error.message(),
        "`/token/endpoint` has the parameter `client_secret` in its query, which is reserved: use the option `client_secret`"
    );
}

#[test]
fn origins_of_the_user_come_beside_the_profiles() {
    let config =
        accepted(with(&wallet(), &[("api_origins", json!(["https://other.example", "https://api.phoenixwallet.io"]))]));
    assert_eq!(origins(&config), ["https://api.phoenixwallet.io", "https://other.example"]);
    let error = refused(&with(&wallet(), &[("api_origins", json!(["https://a.example/path"]))]));
    assert!(error.starts_with("option `api_origins.0` is not accepted: "), "{error}");
    assert_eq!(
        refused(&with(&wallet(), &[("api_origins", json!("https://a.example"))])),
        "option `api_origins` is a string: a list is allowed"
    );
}

#[test]
fn durations_are_written_in_seconds_and_kept_in_milliseconds() {
    for (value, millis) in [(json!(10), 10_000), (json!(0.25), 250), (json!(1e1), 10_000), (json!(0.0014), 1)] {
        assert_eq!(accepted(with(&wallet(), &[("request_timeout", value)])).request_timeout, millis);
    }
    assert_eq!(accepted(wallet()).request_timeout, 10_000);
    for value in [json!(0), json!(-1), json!(1e300), json!(601)] {
        let message =
            format!("option `request_timeout` is `{value}`: a number of seconds from 0.001 to 600 is allowed");
        assert_eq!(refused(&with(&wallet(), &[("request_timeout", value)])), message);
    }
    assert_eq!(
        refused(&with(&wallet(), &[("request_timeout", json!("10"))])),
        "option `request_timeout` is `10`: a number of seconds from 0.001 to 600 is allowed"
    );
}

#[test]
fn switches_and_the_store_are_what_hosts_say() {
    let config = accepted(wallet());
    assert!(config.aside && config.store.is_none() && !config.allow_loopback_http);
    let config = accepted(with(
        &wallet(),
        &[
            ("aside", json!(false)),
            ("store", json!(true)),
            ("policy", json!({"store_timeout": 0.5})),
            ("tls_id", json!("card")),
        ],
    ));
    assert_eq!(
        (config.aside, config.store, config.tls_id.as_deref()),
        (false, Some(StoreConfig { timeout: 500, keys: Vec::new() }), Some("card"))
    );
    assert_eq!(
        refused(&with(&wallet(), &[("aside", json!("no"))])),
        "option `aside` is a string: `true` or `false` is allowed"
    );
}

#[test]
fn a_margin_of_the_users_own_goes_before_the_profiles() {
    let config = accepted(with(&wallet(), &[("policy", json!({"soft_margin": 60}))]));
    assert_eq!((config.soft_margin, config.policy.soft_margin), (None, 60_000));
    let config = accepted(with(&wallet(), &[("policy", json!({"missing_lifetime": "do_not_cache"}))]));
    assert_eq!((config.soft_margin, config.missing_lifetime), (Some(300_000), MissingLifetime::DoNotCache));
}

#[test]
fn grants_and_authentication_are_chosen_among_the_profiles() {
    assert_eq!(
        refused(&with(&wallet(), &[("grant", json!("authorization_code"))])),
        "option `grant` is `authorization_code`: `client_credentials` is allowed"
    );
    assert_eq!(
        refused(&with(&wallet(), &[("client_auth", json!("none"))])),
        "option `client_auth` is `none`: `client_secret_post` is allowed"
    );
    assert_eq!(
        refused(&with(&wallet(), &[("redirect_uri", json!("https://a.example/cb"))])),
        "option `redirect_uri` has no use with the grant `client_credentials`: leave it out"
    );
    let security = json!({"profile": "phoenix-security", "client_id": "id", "client_secret": "s"});
    for name in ["scope", "resource", "audience"] {
        assert_eq!(
            refused(&with(&security, &[(name, json!("https://x"))])),
            format!("option `{name}` has no use with the grant `basic_get`: leave it out")
        );
    }
}

#[test]
fn a_client_without_a_secret_is_public_where_the_profile_has_such() {
    let document = json!({
        "name": "x", "title": "X", "grants": ["authorization_code"],
        "token": {"endpoint": "https://a.example/t", "client_auth": ["client_secret_basic", "none"]},
        "authorization": {"endpoint": "https://a.example/a"},
    });
    let public = json!({"profile": document, "client_id": "app"});
    let config = accepted(public.clone());
    assert_eq!((config.client_auth, config.credential), (ClientAuth::None, Credential::None));
    let secret = with(&public, &[("client_secret", json!(CANARY))]);
    assert_eq!(accepted(secret.clone()).client_auth, ClientAuth::BasicForm);
    assert_eq!(
        refused(&with(&secret, &[("client_auth", json!("none"))])),
        "option `client_secret` has no use with the client authentication `none`: leave one of the two out"
    );
}

#[test]
fn redirect_uris_and_resources_are_absolute_and_without_fragment_std_18() {
    let code = json!({
        "profile": "rapidomize", "client_id": "app-7", "client_secret": "s",
        "token_endpoint": "https://auth.example/token", "authorization_endpoint": "https://auth.example/authorize",
    });
    for uri in ["https://app.example/cb?x=1", "com.example.app:/cb", "http://127.0.0.1:7777/cb"] {
        assert_eq!(accepted(with(&code, &[("redirect_uri", json!(uri))])).redirect_uri.as_deref(), Some(uri));
    }
    for uri in ["/cb", "app.example/cb", "https://app.example/cb#x", "https://app.example/c b", "https:", ":x", ""] {
        assert!(refused(&with(&code, &[("redirect_uri", json!(uri))])).starts_with("option `redirect_uri` "), "{uri}");
    }
    let config =
        accepted(with(&code, &[("resource", json!(["https://a.example", "urn:b"])), ("audience", json!("api"))]));
    assert_eq!(
        (config.resource, config.audience),
        (Vec::from(["https://a.example".to_owned(), "urn:b".to_owned()]), Vec::from(["api".to_owned()]))
    );
    assert!(refused(&with(&code, &[("resource", json!(["a"]))])).starts_with("option `resource.0` is not absolute"));
}

#[test]
fn no_error_and_no_debug_output_shows_a_credential() {
    let config = accepted(with(&wallet(), &[("client_secret", json!(CANARY)), ("parameters", json!({"pin": CANARY}))]));
    let shown = format!("{config:?} {:?}", config.clone());
    assert!(!shown.contains(CANARY) && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("pin") && shown.contains("phoenix-wallet"));

    // The secret in every other place, and every other thing in the secret's.
    for name in OPTIONS.iter().chain(&["profile", "token_endpoint", "base_url", "hunter2_typo"]) {
        for value in [json!(CANARY), json!([CANARY]), json!({"a": CANARY}), json!({CANARY: CANARY, "b": [CANARY]})] {
            if matches!(*name, "client_id" | "grant" | "client_auth" | "request_timeout") && value.is_string() {
                continue; // These are no secrets, and shown so that a slip is seen.
            }
            if let Err(error) = Config::new(&with(&wallet(), &[(name, value.clone())]).to_string()) {
                let shown = format!("{error} {error:?}").replace("hunter2_typo", "");
                let is_name = value.get(CANARY).is_some();
                assert!(is_name || !shown.contains("hunter2"), "{name}: {shown}");
            }
        }
    }
}

#[test]
fn cut_off_options_are_refused_without_an_echo() {
    let text = with(&wallet(), &[("client_secret", json!(CANARY))]).to_string();
    for end in 0..text.len() {
        let error = Config::new(text.get(..end).unwrap_or_default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidOption);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

fn wallet() -> Json {
    json!({"profile": "phoenix-wallet", "client_id": "id", "client_secret": "s3cret+/%&: odd", "scope": ["wallets:read", "wallets:write"]})
}

fn with(options: &Json, changes: &[(&str, Json)]) -> Json {
    let mut options = options.clone();
    for (name, value) in changes {
        options[*name] = value.clone();
    }
    options
}

fn accepted(options: Json) -> Config {
    Config::new(&options.to_string()).unwrap()
}

fn refused(options: &Json) -> String {
    let error = Config::new(&options.to_string()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption, "{error}");
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
    error.message().to_owned()
}

fn endpoint(config: &Config) -> &str {
    config.token_endpoint.as_ref().unwrap().as_str()
}

fn origins(config: &Config) -> Vec<&str> {
    config.api_origins.iter().map(Origin::as_str).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
