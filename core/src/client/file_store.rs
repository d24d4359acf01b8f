//! A store in a folder: for command-line tools, cron jobs, and all that shares one machine.

use core::fmt;
use core::time::Duration;
use std::borrow::ToOwned;
use std::format;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::string::String;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};
use std::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::store::{Lock, Save, Store, StoreError};
use crate::cache::Key;
use crate::error::{Error, ErrorCode};
use crate::secret::{Secret, expose_some};

/// A [`Store`] in a folder, shared by the processes of one machine in any of Remint's languages.
///
/// Each record has a folder of its own with its versions, of which the highest counts. A version is written whole, forced onto
/// the disk, and then linked to its name, which fails where somebody else was faster; so a crash or a power cut in
/// mid-write leaves nothing that is read. The file system must have hard links: those of Linux, macOS and Windows do.
///
/// Records that others write are noticed within half a second, unless the policy's `store_check` says otherwise.
#[derive(Clone)]
pub struct FileStore {
    folder: PathBuf,
}

/// One version.
#[derive(Default, Deserialize, Serialize)]
struct State {
    /// When the record has run out: Unix time in milliseconds.
    expires: i64,
    lease: Option<Lease>,
    #[serde(serialize_with = "expose_some")]
    record: Option<Secret>,
}

#[derive(Deserialize, Serialize)]
struct Lease {
    owner: String,
    /// Unix time in milliseconds.
    until: i64,
}

/// How often a change is tried while others are faster, and a version that vanishes is looked for.
const TRIES: usize = 100;
/// How many versions are kept. A name is free again only when so many came after it: who is late sees that.
const KEPT: u64 = 16;
/// Digits of a version's name.
const DIGITS: usize = 16;
/// What is not yet a version.
const UNFINISHED: &str = ".tmp-";
/// After that time, whoever wrote it does so no more.
const ABANDONED: Duration = Duration::from_secs(3_600);
/// For how long a version that is no JSON is kept: thirty days, in milliseconds.
const DAMAGED: i64 = 2_592_000_000;
/// How often the files are looked at.
const CHECK_EVERY: Duration = Duration::from_millis(500);

impl FileStore {
    /// A store in this folder, which is made if it is missing, for its owner alone.
    ///
    /// # Errors
    /// `invalid_option` if it can't be made, is no folder, or others may write to it.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        let refused = |what: &str| {
            let message = format!("the store's folder `{}` {what}", folder.display());
            Error::new(ErrorCode::InvalidOption, message)
        };
        make(&folder, true).map_err(|error| refused(&format!("can't be made: {error}")))?;
        let found = fs::metadata(&folder).map_err(|error| refused(&format!("can't be looked at: {error}")))?;
        if !found.is_dir() {
            return Err(refused("is no folder"));
        }
        if may_be_written_by_others(&found) {
            return Err(refused("may be written by others, who could put tokens there: run chmod 700 on it"));
        }
        Ok(Self { folder })
    }

    fn record(&self, key: &str) -> Result<Record, StoreError> {
        // A name that leads elsewhere is none.
        key.parse::<Key>().map_err(|()| StoreError::down("this is no record's name"))?;
        Ok(Record { folder: self.folder.join(key) })
    }
}

impl Store for FileStore {
    fn load(&self, key: &str) -> Result<Option<Secret>, StoreError> {
        let (_, state) = self.record(key)?.read().map_err(StoreError::down)?;
        Ok(state.record)
    }

    fn lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lock, StoreError> {
        self.record(key)?.change(|mut state, now, _| {
            let record = state.record.clone();
            let theirs = state.lease.as_ref().filter(|lease| lease.until > now && lease.owner != owner);
            if ttl.is_zero() {
                let is_ours = state.lease.take_if(|lease| lease.owner == owner).is_some();
                return (Lock::Locked { record }, is_ours.then_some(state));
            }
            if let Some(theirs) = theirs {
                let left = u64::try_from(theirs.until.saturating_sub(now)).unwrap_or_default();
                return (Lock::Held { retry_in: Duration::from_millis(left), record }, None);
            }
            let until = now.saturating_add(whole(ttl));
            state.expires = state.expires.max(until);
            state.lease = Some(Lease { owner: owner.to_owned(), until });
            (Lock::Locked { record }, Some(state))
        })
    }

    fn save(
        &self,
        key: &str,
        expect: Option<&Secret>,
        record: &Secret,
        ttl: Duration,
        unlock: Option<&str>,
    ) -> Result<Save, StoreError> {
        self.record(key)?.change(|mut state, now, was_there| {
            // What seemed too late may have counted, and been taken on from there.
            if was_there && state.record.as_ref() == Some(record) {
                return (Save::Saved, None);
            }
            if state.record.as_ref() != expect {
                return (Save::Conflict { record: state.record }, None);
            }
            let lease = state.lease.take_if(|lease| Some(&*lease.owner) != unlock);
            let state = State { expires: now.saturating_add(whole(ttl)), lease, record: Some(record.clone()) };
            (Save::Saved, Some(state))
        })
    }

    fn check_every(&self) -> Option<Duration> {
        Some(CHECK_EVERY)
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("folder", &self.folder).finish()
    }
}

/// What became of a version.
enum Written {
    Counts,
    /// So many versions came after it that its name may have been free again when it got it.
    TooLate,
    /// Somebody else was faster.
    Not,
}

/// One record's folder.
struct Record {
    folder: PathBuf,
}

impl Record {
    /// The version that counts, and what is in it; zero if there is none.
    fn read(&self) -> io::Result<(u64, State)> {
        let now = now();
        for _ in 0..TRIES {
            let Some(version) = self.highest()? else { return Ok((0, State::default())) };
            match fs::read(self.folder.join(name(version))).map(Zeroizing::new) {
                Ok(bytes) => return Ok((version, understood(&bytes, now))),
                // Somebody wrote the next one.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("its files change faster than they can be read"))
    }

    fn highest(&self) -> io::Result<Option<u64>> {
        // A listing is no snapshot: one that shows nothing may have missed a version between two places.
        for _ in 0..2 {
            match self.versions() {
                Ok(versions) if versions.is_empty() => {}
                Ok(versions) => return Ok(versions.into_iter().max()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn versions(&self) -> io::Result<Vec<u64>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|name| version(name.to_str()?)).collect())
    }

    /// Reads, decides and writes, all at once: if somebody else is faster, again from the start. `decide` is told whether what
    /// it said before was there for a while.
    fn change<R>(&self, decide: impl Fn(State, i64, bool) -> (R, Option<State>)) -> Result<R, StoreError> {
        let mut was_there = false;
        for _ in 0..TRIES {
            let (version, state) = self.read().map_err(StoreError::down)?;
            let (answer, next) = decide(state, now(), was_there);
            let Some(next) = next else { return Ok(answer) };
            match self.write(version.saturating_add(1), &next)? {
                Written::Counts => return Ok(answer),
                Written::TooLate => was_there = true,
                Written::Not => {}
            }
            // At most four milliseconds.
            thread::sleep(Duration::from_micros(u64::from(u16::from_be_bytes(random()?) >> 4)));
        }
        Err(StoreError::down("others changed this record faster a hundred times in a row"))
    }

    /// Tries to make this the version of that number.
    fn write(&self, version: u64, state: &State) -> Result<Written, StoreError> {
        let text = Zeroizing::new(serde_json::to_vec(state).map_err(StoreError::down)?);
        make(&self.folder, false).map_err(StoreError::down)?;
        let unfinished = self.folder.join(format!("{UNFINISHED}{}", URL_SAFE_NO_PAD.encode(random::<12>()?)));
        let linked = put(&unfinished, &text).and_then(|()| fs::hard_link(&unfinished, self.folder.join(name(version))));
        // What is left of it is cleared away later.
        let _ = fs::remove_file(&unfinished);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Written::Not),
            Err(error) => return Err(StoreError::down(error)),
        }
        // The version is there, but perhaps not for ever.
        let versions = self.versions().map_err(StoreError::unknown)?;
        if versions.iter().any(|other| *other >= version.saturating_add(KEPT)) {
            let _ = fs::remove_file(self.folder.join(name(version)));
            return Ok(Written::TooLate);
        }
        force(&self.folder).map_err(StoreError::unknown)?;
        self.clear(versions.into_iter().filter(|other| other.saturating_add(KEPT) <= version));
        Ok(Written::Counts)
    }

    /// Removes old versions, and what others left unfinished.
    fn clear(&self, old: impl Iterator<Item = u64>) {
        for other in old {
            let _ = fs::remove_file(self.folder.join(name(other)));
        }
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let is_unfinished = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
            let age = |entry: &fs::DirEntry| entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            if is_unfinished && age(&entry).is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What a version says now. One that can't be read is a record that nobody understands: whoever it is handed to says so.
fn understood(bytes: &[u8], now: i64) -> State {
    let mut state = serde_json::from_slice(bytes).unwrap_or_else(|_| State {
        expires: now.saturating_add(DAMAGED),
        lease: None,
        record: Some(Secret::new(String::from_utf8_lossy(bytes))),
    });
    if state.expires <= now {
        state.record = None;
    }
    state
}

fn version(name: &str) -> Option<u64> {
    let is_version = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    is_version.then(|| name.parse().ok()).flatten()
}

fn name(version: u64) -> String {
    format!("{version:0DIGITS$}")
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::down("the operating system gave no randomness"))?;
    Ok(bytes)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn whole(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
}

/// Makes a folder for its owner alone, unless it is there.
fn make(folder: &Path, with_parents: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(with_parents);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes a file for its owner alone, and has it reach the disk.
fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Has a folder's list of names reach the disk.
fn force(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder can't be opened, and its names are in the journal.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
fn may_be_written_by_others(found: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o022 != 0
}

#[cfg(not(unix))]
fn may_be_written_by_others(_: &fs::Metadata) -> bool {
    false
}
