//! The store in a folder: between processes, after crashes, and where it may not write.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::thread;
use std::time::{Duration, SystemTime};

use examples_rust::reqwest::{self, Reqwest};
use examples_rust::ureq::{self, Ureq};
use hosts_rust::stores::{Folder, KEY, LONG, count_up, counted, keeps_the_contract};
use hosts_rust::{Lane, distinct};
use remint::ErrorCode;
use remint::client::{FileStore, Save, Store};

/// Who may do nothing.
const NOBODY: u32 = 65_534;

#[test]
fn it_keeps_the_contract() {
    let folder = Folder::new();
    keeps_the_contract(&FileStore::new(folder.path()).unwrap());
}

#[test]
fn it_is_for_its_owner_alone() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    store.save(KEY, None, &"secret".into(), LONG, None).unwrap();
    let record = folder.path().join(KEY);
    let version = record.join("0000000000000001");
    for (path, mode) in [(folder.path(), 0o700), (&record, 0o700), (&version, 0o600)] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, mode, "{}", path.display());
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o770)).unwrap();
    let refused = FileStore::new(folder.path()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidOption);
    assert!(refused.message().contains("chmod 700"), "{refused}");
    assert_eq!(FileStore::new(version).unwrap_err().code(), ErrorCode::InvalidOption);
    assert!(!format!("{store:?}").contains("secret"));
}

#[test]
fn a_name_that_leads_elsewhere_is_none() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    let outside = store.save("../outside", None, &"secret".into(), LONG, None).unwrap_err();
    assert!(outside.is_down());
    assert!(!folder.path().parent().unwrap().join("outside").exists());
}

#[test]
fn few_versions_are_kept_and_each_is_whole() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    count_up(&store, 20);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(folder.path().join(KEY)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names().len(), 16);
    assert!(names().contains(&"0000000000000020".to_owned()));
    let text = fs::read_to_string(folder.path().join(KEY).join("0000000000000020")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&state["record"], &state["lease"]),
        (&store.load(KEY).unwrap().unwrap().expose().into(), &serde_json::Value::Null)
    );
    assert!(state["expires"].as_i64().unwrap() > 1_700_000_000_000, "{state}");
}

#[test]
fn what_a_crash_left_is_not_read_and_is_cleared_away() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    count_up(&store, 3);
    let record = folder.path().join(KEY);
    let (old, new) = (record.join(".tmp-old"), record.join(".tmp-new"));
    fs::write(&old, "{\"expi").unwrap();
    fs::write(&new, "").unwrap();
    fs::write(record.join("0000000000000009.tmp"), "9").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(4_000);
    fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(counted(&store), 3);
    count_up(&store, 1);
    assert_eq!(counted(&store), 4);
    assert_eq!((old.exists(), new.exists()), (false, true));
}

#[test]
fn a_torn_version_is_shown_as_it_is_and_can_be_written_over() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    count_up(&store, 1);
    fs::write(folder.path().join(KEY).join("0000000000000002"), "{\"expires\": 17").unwrap();
    let torn = store.load(KEY).unwrap();
    assert_eq!(torn, Some("{\"expires\": 17".into()));
    assert_eq!(store.save(KEY, None, &"new".into(), LONG, None).unwrap(), Save::Conflict { record: torn.clone() });
    assert_eq!(store.save(KEY, torn.as_ref(), &"new".into(), LONG, None).unwrap(), Save::Saved);
    assert_eq!(store.load(KEY).unwrap(), Some("new".into()));
}

#[test]
fn a_version_that_comes_too_late_does_not_count() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    count_up(&store, 20);
    let record = folder.path().join(KEY);
    // As a writer leaves it that was stopped for long, and then killed.
    fs::write(record.join("0000000000000002"), r#"{"expires": 9999999999999, "lease": null, "record": "late"}"#)
        .unwrap();
    assert_eq!(counted(&store), 20);
    count_up(&store, 1);
    assert!(!record.join("0000000000000002").exists());
    assert_eq!(counted(&store), 21);
}

#[test]
fn nothing_is_lost_between_processes() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    let children: Vec<_> = (0..4).map(|_| forked(|| count_up(&store, 50))).collect();
    for child in children {
        let mut status = 0;
        // SAFETY: the child is this process's own, and nobody else waits for it.
        #[expect(unsafe_code, reason = "there is no other way to wait for a fork")]
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((ended, status), (child, 0));
    }
    assert_eq!(counted(&store), 200);
}

#[test]
fn nothing_is_lost_between_threads() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| count_up(&store, 10));
        }
    });
    assert_eq!(counted(&store), 80);
}

#[test]
fn where_it_may_not_write_it_still_reads_and_says_why() {
    let folder = Folder::new();
    let store = FileStore::new(folder.path()).unwrap();
    count_up(&store, 1);
    for path in [folder.path().join(KEY).join("0000000000000001"), folder.path().join(KEY), folder.path().to_owned()] {
        let is_folder = path.is_dir();
        fs::set_permissions(&path, Permissions::from_mode(if is_folder { 0o500 } else { 0o400 })).unwrap();
        let _ = chown(&path, Some(NOBODY), None);
    }
    let reader = FileStore::new(folder.path()).unwrap();
    let (read, refused) = thread::spawn(move || {
        // SAFETY: the system call itself changes this thread's user alone, and the thread ends with it.
        #[expect(unsafe_code, reason = "whoever has all rights can't be refused")]
        unsafe {
            libc::syscall(libc::SYS_setresuid, -1, NOBODY, -1);
        }
        let record = reader.load(KEY);
        let written = reader.save(KEY, record.as_ref().unwrap().as_ref(), &"2".into(), LONG, None);
        (record, written)
    })
    .join()
    .unwrap();
    let refused = refused.unwrap_err();
    assert!(read.unwrap().is_some());
    assert!(refused.is_down(), "{refused}");
    assert!(refused.to_string().contains("ermission denied"), "{refused}");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(folder.path().join(KEY), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(counted(&store), 1);
}

#[test]
fn clients_share_one_token() {
    let (lane, folder) = (Lane::new(), Folder::new());
    let client = || {
        let store = FileStore::new(folder.path()).unwrap();
        lane.options("phoenix-wallet").store(store).build(Ureq(ureq::agent())).unwrap()
    };
    let tokens: Vec<_> = (0..5).map(|_| client().token().unwrap()).collect();
    assert_eq!(distinct(&tokens), 1);
    assert_eq!(lane.token_requests(), 1);
}

#[test]
fn a_client_that_drives_its_renewals_itself_shares_them_too() {
    let (lane, folder) = (Lane::new(), Folder::new());
    let client = || {
        let store = FileStore::new(folder.path()).unwrap();
        lane.options("phoenix-wallet").background_refresh(false).store(store).build(Ureq(ureq::agent())).unwrap()
    };
    assert_eq!(distinct(&[client().token().unwrap(), client().token().unwrap()]), 1);
    assert_eq!(lane.token_requests(), 1);
}

#[tokio::test]
async fn tasks_share_it_with_threads() {
    let (lane, folder) = (Lane::new(), Folder::new());
    let options = || lane.options("phoenix-wallet").store(FileStore::new(folder.path()).unwrap());
    let task = options().build_async(Reqwest(reqwest::client().unwrap())).unwrap().token().await.unwrap();
    let thread = thread::scope(|scope| {
        scope.spawn(|| options().build(Ureq(ureq::agent())).unwrap().token().unwrap()).join().unwrap()
    });
    assert_eq!(distinct(&[task, thread]), 1);
    assert_eq!(lane.token_requests(), 1);
}

fn forked(work: impl FnOnce()) -> i32 {
    // SAFETY: the child runs on with this thread alone, on memory of its own, and ends without the parent's destructors.
    #[expect(unsafe_code, reason = "there is no other way to fork")]
    let child = unsafe {
        match libc::fork() {
            0 => {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                libc::_exit(i32::from(done.is_err()))
            }
            child => child,
        }
    };
    assert!(child > 0, "no fork");
    child
}
