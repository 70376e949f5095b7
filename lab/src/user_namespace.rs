//! Root without root: a user namespace in which the caller's own user is called root.
//!
//! Inside, namespaces and devices can be made; outside, nothing is allowed that was not allowed before. A process enters
//! while it has one thread, before it does anything else; its children are inside as well. Where runtime directories are
//! was decided before ([`runtime_dir::base`]), since inside everybody is root.

use std::fs::{self, File};
use std::io;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use crate::info::LabInfo;
use crate::runtime_dir::{self, LabDir, read_json};

/// Why a user namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is not root, and a user namespace cannot be {what} (`{}` helps)",
    fix()
)]
pub struct UserNamespaceError {
    what: &'static str,
    source: io::Error,
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> UserNamespaceError {
    move |source| UserNamespaceError { what, source }
}

/// Whether the caller is root here, by itself or in a user namespace.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Moves the process into a new user namespace, unless it is root. It must have one thread.
///
/// # Errors
/// [`UserNamespaceError`] where the machine does not let its users have such.
pub fn enter_new() -> Result<(), UserNamespaceError> {
    if is_root() {
        return Ok(());
    }
    runtime_dir::base();
    let (user, group) = (geteuid(), getegid());
    let failed = failed("made");
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(io::Error::from)
        .map_err(&failed)?;
    for (file, content) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), content).map_err(&failed)?;
    }
    Ok(())
}

/// Moves the process into the user namespace of a running lab, unless it is root. It must have one thread. Without a
/// lab nothing happens: whoever looks for it will say so.
///
/// # Errors
/// [`UserNamespaceError`] when it cannot be entered.
pub fn join(dir: &LabDir) -> Result<(), UserNamespaceError> {
    if is_root() {
        return Ok(());
    }
    runtime_dir::base();
    let Ok(info) = read_json::<LabInfo>(&dir.info_file()) else {
        return Ok(());
    };
    let opened = File::open(format!("/proc/{}/ns/user", info.pid));
    // While the process that wrote the file lives, what was opened is its own.
    match (opened, dir.is_running()) {
        (Ok(namespace), Ok(true)) => setns(namespace, CloneFlags::CLONE_NEWUSER)
            .map_err(io::Error::from)
            .map_err(failed("entered")),
        (Err(error), Ok(true)) => Err(failed("entered")(error)),
        _ => Ok(()),
    }
}

/// The line that lets this machine's users have user namespaces.
pub fn fix() -> String {
    let switches = [
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("user.max_user_namespaces", "0", "15000"),
    ];
    for (name, off, on) in switches {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        if fs::read_to_string(file).is_ok_and(|value| value.trim() == off) {
            return format!("sudo sysctl -w {name}={on}");
        }
    }
    "sudo".to_owned()
}
