//! A local authorization server and API that speaks five providers' contracts, checks strictly what it receives, and misbehaves
//! when told to. README.md describes it for its users.

mod answer;
mod arguments;
mod control;
mod faults;
mod grants;
mod lane;
mod provider;
mod received;
mod record;
mod serve;
mod settings;

use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::arguments::{Arguments, HELP};
use crate::grants::Client;
use crate::serve::{Authority, Origin, listen};

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return written(HELP),
        Err(problem) => {
            eprintln!("authority: {problem}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    let (log, written) = log();
    let outcome = run(arguments, log);
    // The last lines are worth a moment, but nobody may be reading them.
    let _ = written.recv_timeout(Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("authority: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// One thread is enough, and keeps the order of events plain.
#[tokio::main(flavor = "current_thread")]
async fn run(arguments: Arguments, log: SyncSender<String>) -> Result<(), Box<dyn Error>> {
    allow_many_sockets();
    let http = bind("--port", arguments.port).await?;
    let https = bind("--tls-port", arguments.tls_port).await?;
    let other = bind("--other-port", arguments.other_port).await?;
    let temporary = arguments.ca_out.is_none();
    let ca = arguments.ca_out.unwrap_or_else(temporary_ca);
    let tls = certify(&ca)?;
    let ready = serde_json::json!({
        "http": format!("http://{}", http.local_addr()?),
        "https": format!("https://{}", https.local_addr()?),
        "other": format!("http://{}", other.local_addr()?),
        "ca": ca,
        "pid": std::process::id(),
    });
    let default_client = Client {
        client_id: Some(arguments.client_id),
        client_secret: Some(arguments.client_secret),
        api_token: Some(arguments.api_token),
        ..Client::default()
    };
    let authority = Authority::new(default_client, (!arguments.quiet).then_some(log));
    for (listener, name, tls) in [(http, "http", None), (https, "https", Some(tls)), (other, "other", None)] {
        tokio::spawn(listen(Arc::clone(&authority), listener, Origin { name, tls }));
    }
    written(&format!("{ready}\n"));
    ended(arguments.exit_with_stdin).await?;
    if temporary {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(ca);
    }
    Ok(())
}

/// A crowd of callers needs more sockets than a shell's usual 1,024.
fn allow_many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without them, callers wait for one another a little.
    let _ = setrlimit(Resource::Nofile, limit);
}

async fn bind(option: &str, port: u16) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(("127.0.0.1", port)).await;
    bound.map_err(|problem| {
        format!("can't listen on port {port}: {problem}; choose another with {option}, or 0 for any")
    })
}

/// Makes a certificate authority, and a certificate of it for the names of this machine.
fn certify(ca_out: &Path) -> Result<TlsAcceptor, Box<dyn Error>> {
    let mut ca = short_lived("authority of this test run", &[])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    std::fs::write(ca_out, ca.pem()).map_err(|problem| {
        format!("can't write {}: {problem}; choose another place with --ca-out", ca_out.display())
    })?;
    let key = KeyPair::generate()?;
    let mut leaf = short_lived("localhost", &["localhost", "127.0.0.1", "::1"])?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&key, &ca)?;
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn short_lived(name: &str, names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut certificate = CertificateParams::new(names)?;
    certificate.distinguished_name = DistinguishedName::new();
    certificate.distinguished_name.push(DnType::CommonName, name);
    certificate.not_before = (SystemTime::now() - DAY).into();
    certificate.not_after = (SystemTime::now() + 30 * DAY).into();
    Ok(certificate)
}

fn temporary_ca() -> PathBuf {
    std::env::temp_dir().join(format!("authority-ca-{}.pem", std::process::id()))
}

/// Returns when the program should end.
async fn ended(with_stdin: bool) -> Result<(), Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (closed, mut stdin) = tokio::sync::mpsc::channel::<()>(1);
    let kept = if with_stdin {
        // A thread of its own: reading stdin can't be cancelled, and must not keep the runtime from ending.
        std::thread::spawn(move || {
            let mut ignored = [0; 1024];
            while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
            drop(closed);
        });
        None
    } else {
        Some(closed)
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = stdin.recv() => {}
    }
    drop(kept);
    Ok(())
}

/// A thread that writes the log, so that a full pipe stops nobody else. The receiver learns when all is written.
fn log() -> (SyncSender<String>, Receiver<()>) {
    let (sender, lines) = sync_channel::<String>(4096);
    let (ended, written) = sync_channel::<()>(0);
    std::thread::spawn(move || {
        for line in lines {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        drop(ended);
    });
    (sender, written)
}

/// A reader that went away is no reason to fail.
fn written(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

const DAY: Duration = Duration::from_secs(86_400);
