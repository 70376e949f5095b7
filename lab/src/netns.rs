//! Network namespaces without names, held by a descriptor.
//!
//! A namespace lives as long as something holds it: a descriptor here, a device's descriptor, a process inside. So
//! there is nothing to clean up after a crash. All code that changes a thread's namespace is in this file; it only
//! ever changes threads that are about to end or that exist for this purpose. A socket stays in the namespace in which
//! it was opened, whichever thread uses it later.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
}

impl Netns {
    /// Moves the calling thread into a new, empty namespace and returns it.
    ///
    /// The thread should be one that exists for this purpose.
    ///
    /// # Errors
    /// The kernel's, for example when privileges are missing.
    pub fn enter_new() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(Self {
            fd: File::open("/proc/thread-self/ns/net")?.into(),
        })
    }

    /// A namespace by a path such as `/proc/PID/fd/N`.
    ///
    /// # Errors
    /// The kernel's, for example when the process has ended.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self {
            fd: File::open(path)?.into(),
        })
    }

    /// Moves the calling thread into this namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.fd, CloneFlags::CLONE_NEWNET)?)
    }

    /// Runs a function on a short-lived thread inside this namespace: the way to open sockets there.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When the function does.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_thread(|| self.enter().map(|()| f()))
    }

    /// Runs a function that starts a program, on a short-lived thread inside this namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When the function does.
    pub fn run_program<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_thread(|| self.enter_for_programs().map(|()| f()))
    }

    /// Moves the calling thread into this namespace and gives it a `/sys` that shows it, without changing what others
    /// see: for programs that are started from the thread.
    ///
    /// # Errors
    /// When the namespace cannot be entered. Where `/sys` cannot be mounted, as in some containers, the old one stays.
    fn enter_for_programs(&self) -> io::Result<()> {
        self.enter()?;
        if let Err(error) = mount_sysfs() {
            tracing::debug!(%error, "programs see another namespace's /sys");
        }
        Ok(())
    }

    /// The path by which other processes reach this namespace while process `pid` holds it.
    pub fn path_for(&self, pid: u32) -> String {
        format!("/proc/{pid}/fd/{}", self.fd.as_raw_fd())
    }
}

fn on_thread<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, f)?;
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Mounts `/sys` anew, in a mount namespace of the calling thread that still follows what others mount later.
fn mount_sysfs() -> nix::Result<()> {
    const NOTHING: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let follow = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(NOTHING, "/", NOTHING, follow, NOTHING)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), "/sys", Some("sysfs"), flags, NOTHING)
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether this process may make namespaces and devices; says so loudly when not, so that a skipped test is seen.
#[cfg(test)]
pub(crate) fn allowed(test: &str) -> bool {
    let allowed = nix::unistd::geteuid().is_root() && Path::new("/dev/net/tun").exists();
    if !allowed {
        println!("SKIPPED {test}: needs root and /dev/net/tun");
    }
    allowed
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_stays_where_it_was_opened() {
        if !allowed("a_socket_stays_where_it_was_opened") {
            return;
        }
        let mut spaces = Vec::new();
        for _ in 0..2 {
            let made = std::thread::spawn(|| {
                let netns = Netns::enter_new().unwrap();
                crate::netlink::configure(&[]).unwrap();
                netns
            });
            spaces.push(made.join().unwrap());
        }
        let listener = spaces[0]
            .run(|| TcpListener::bind("127.0.0.1:0"))
            .unwrap()
            .unwrap();
        let address = listener.local_addr().unwrap();
        assert!(
            spaces[0]
                .run(|| TcpStream::connect(address))
                .unwrap()
                .is_ok()
        );
        let refused = spaces[1].run(|| TcpStream::connect(address)).unwrap();
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
