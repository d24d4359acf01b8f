//! The command line.

use std::path::PathBuf;

use crate::control::DEFAULT_CLIENT_ID;

#[derive(Debug)]
pub struct Arguments {
    pub port: u16,
    pub tls_port: u16,
    pub other_port: u16,
    pub ca_out: Option<PathBuf>,
    pub client_id: String,
    pub client_secret: String,
    pub api_token: String,
    pub exit_with_stdin: bool,
    pub quiet: bool,
}

impl Arguments {
    /// `Ok(None)` if help was asked for.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut read = Self {
            port: 0,
            tls_port: 0,
            other_port: 0,
            ca_out: None,
            client_id: DEFAULT_CLIENT_ID.to_owned(),
            client_secret: "s3cret+/%&: odd".to_owned(),
            api_token: "t0ken+/%&: odd".to_owned(),
            exit_with_stdin: false,
            quiet: false,
        };
        while let Some(argument) = arguments.next() {
            let (name, told) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            let mut value = || {
                let value = told.clone().or_else(|| arguments.next());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name {
                "--help" | "-h" => return Ok(None),
                "--port" => read.port = port(name, &value()?)?,
                "--tls-port" => read.tls_port = port(name, &value()?)?,
                "--other-port" => read.other_port = port(name, &value()?)?,
                "--ca-out" => read.ca_out = Some(value()?.into()),
                "--client-id" => read.client_id = value()?,
                "--client-secret" => read.client_secret = value()?,
                "--api-token" => read.api_token = value()?,
                "--exit-with-stdin" => read.exit_with_stdin = true,
                "--quiet" => read.quiet = true,
                _ => return Err(format!("there is no option `{name}`")),
            }
        }
        Ok(Some(read))
    }
}

fn port(name: &str, value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("{name} must be a number from 0 to 65535, and `{value}` is not"))
}

pub const HELP: &str = "\
A local authorization server and API that speaks five providers' contracts, and misbehaves when told to.

    authority [options]

    --port N              http on 127.0.0.1; 0, the default, picks a free port
    --tls-port N          https on 127.0.0.1, with a certificate authority of its own made at this start
    --other-port N        http once more, to be another origin
    --ca-out FILE         where to write that certificate authority (PEM); a temporary file unless told
    --client-id ID        the client that every lane knows at its birth (demo-client)
    --client-secret S     its secret (s3cret+/%&: odd)
    --api-token T         its API token, for rapidomize (t0ken+/%&: odd)
    --exit-with-stdin     exit when stdin is closed, so that a child never outlives its test
    --quiet               no log on stderr; what it logs never holds a secret, a query or a body
    --help                this page

The first line on stdout tells the addresses:

    {\"http\":\"http://127.0.0.1:8080\",\"https\":\"…\",\"other\":\"…\",\"ca\":\"FILE\",\"pid\":4711}

Paths are /{provider}/…, or /{lane}/{provider}/…; a lane is any name, has everything to itself, and begins when it is first used:

    phoenix-security   GET  /v1/auth/access_token   raw Basic
    phoenix-wallet     POST /oauth/token            credentials in the body
    phoenix-market     POST /oauth/token            credentials in the body; GET /embed?access_token=…
    personify          POST /connect/token          credentials in the body; X-Tenant-Id: demo-tenant on API calls
    rapidomize         GET  /oauth/authorize, POST /oauth/token   code with PKCE, refresh; Basic or body

    ANY /{provider}/v1/…   the API        ANY /echo   the names of the headers received

    curl http://127.0.0.1:8080/phoenix-wallet/oauth/token -d grant_type=client_credentials \\
         -d client_id=demo-client --data-urlencode 'client_secret=s3cret+/%&: odd'

Control is JSON under /control or /{lane}/control: clients, faults, settings, revoke, mint, counters, log, release, reset.

    curl http://127.0.0.1:8080/control/faults -d '{\"endpoint\":\"token\",\"count\":3,\"status\":503,\"retry_after\":\"2\"}'
    curl http://127.0.0.1:8080/control/counters

README.md beside the source has every field.
";
