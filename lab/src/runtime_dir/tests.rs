//! Locks, names, and whose a directory is.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_lock_is_exclusive_and_ends_with_its_holder() {
    let base = tempfile::tempdir().unwrap();
    let dir = LabDir::under(base.path(), "lab").unwrap();
    assert!(!dir.is_running().unwrap());
    let lock = dir.acquire().unwrap();
    assert!(dir.is_running().unwrap());
    assert!(matches!(dir.acquire(), Err(RuntimeDirError::Running(_))));
    assert!(!dir.remove_stale().unwrap());
    drop(lock);
    assert!(!dir.is_running().unwrap());
    assert!(dir.remove_stale().unwrap());
    assert!(!dir.path().exists());
}

#[test]
fn a_lock_that_moves_is_held_all_the_while() {
    let base = tempfile::tempdir().unwrap();
    let dir = LabDir::under(base.path(), "lab").unwrap();
    let mut lock = dir.acquire().unwrap();
    let others: Vec<File> = (0..4).map(|_| File::open("/dev/null").unwrap()).collect();
    let before = lock.file.as_raw_fd();
    lock.release_first().unwrap();
    assert!(dir.is_running().unwrap());
    let highest = others.iter().map(|other| other.as_raw_fd()).max().unwrap();
    assert!(lock.file.as_raw_fd() > highest.max(before));
    drop(lock);
    assert!(!dir.is_running().unwrap());
}

#[test]
fn what_a_crashed_lab_left_is_removed_by_the_next() {
    let base = tempfile::tempdir().unwrap();
    let dir = LabDir::under(base.path(), "lab").unwrap();
    drop(dir.acquire().unwrap());
    fs::write(dir.token_file(), "old").unwrap();
    let _lock = dir.acquire().unwrap();
    assert!(!dir.token_file().exists());
}

#[test]
fn waiting_ends_when_the_holder_removes_the_directory() {
    let base = tempfile::tempdir().unwrap();
    let dir = LabDir::under(base.path(), "lab").unwrap();
    let lock = dir.acquire().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| dir.wait_and_remove());
        lock.remove().unwrap();
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
    assert!(!dir.path().exists());
}

#[test]
fn names_that_are_no_directory_are_refused() {
    for name in ["", ".", "..", "a/b", "a b", "ä"] {
        assert!(
            matches!(LabDir::new(name), Err(RuntimeDirError::Name(_))),
            "{name}"
        );
    }
    let long = "x".repeat(200);
    assert!(matches!(
        LabDir::under(Path::new("/run/weft"), &long),
        Err(RuntimeDirError::TooLong { .. })
    ));
}

#[test]
fn a_base_that_others_may_write_or_that_leads_elsewhere_is_refused() {
    if declared_base().is_some() {
        println!("SKIPPED a_base_that_others_may_write: {BASE_VARIABLE} names the base");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    let set = |mode| fs::set_permissions(&base, fs::Permissions::from_mode(mode)).unwrap();
    set(0o700);
    check_base(&base).unwrap();
    set(0o777);
    assert!(matches!(
        check_base(&base),
        Err(RuntimeDirError::Foreign(_))
    ));
    set(0o700);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&base, &link).unwrap();
    assert!(matches!(
        check_base(&link),
        Err(RuntimeDirError::Foreign(_))
    ));
}
