//! Where running labs are found: one directory for each, with a lock that proves that the lab lives.
//!
//! The data plane holds an exclusive lock on `lock` for as long as it runs. The kernel releases it with the process,
//! so a directory whose lock is free belongs to a lab that crashed, and whoever sees it may clean it. Nothing is ever
//! recognised by a process name.
//!
//! A lock file may be removed while somebody waits for it, so a lock counts only if the file that was locked is still
//! the one at its path.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Overrides where runtime directories are made.
pub const BASE_VARIABLE: &str = "WEFT_RUNTIME_DIR";

/// A socket's path has at most this many bytes (`sun_path` less its terminator).
const SOCKET_PATH_MAX: usize = 107;

/// Why a runtime directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// The lab's name cannot be a directory's name.
    #[error(
        "`{0}` is no name for a lab: 1 to 253 characters of A-Z a-z 0-9 . _ -, not `.` or `..`"
    )]
    Name(String),
    /// The paths of the lab's sockets would be too long.
    #[error("the lab's name is too long: {path} has more than {SOCKET_PATH_MAX} bytes")]
    TooLong {
        /// The longest of them.
        path: String,
    },
    /// Another data plane holds the lock.
    #[error("lab `{0}` is running already; `weft down {0}` takes it down")]
    Running(String),
    /// The directory of all labs is not the user's own, or others may write there.
    #[error("{} belongs to somebody else, or others may write there; {BASE_VARIABLE} names another", .0.display())]
    Foreign(PathBuf),
    /// The file system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> RuntimeDirError + 'a {
    move |source| RuntimeDirError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// The directory that holds the runtime directories of all labs of this user. It stays what it was when it was first asked
/// for, since in a user namespace everybody is root.
pub fn base() -> PathBuf {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(find_base).clone()
}

fn find_base() -> PathBuf {
    if let Some(path) = declared_base() {
        return path;
    }
    let user = nix::unistd::geteuid();
    if user.is_root() {
        return PathBuf::from("/run/weft");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path).join("weft"),
        None => std::env::temp_dir().join(format!("weft-{user}")),
    }
}

fn declared_base() -> Option<PathBuf> {
    let path = std::env::var_os(BASE_VARIABLE).filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

/// What processes that are started here must be told by [`BASE_VARIABLE`], because they would find another [`base`].
pub fn to_be_told() -> Option<PathBuf> {
    Some(base()).filter(|base| *base != find_base())
}

/// Makes the [`base`], for its user alone unless that is root, or sees that it belongs to the user: in a folder where
/// everybody may write, somebody else may have made it.
///
/// # Errors
/// [`RuntimeDirError::Foreign`], [`RuntimeDirError::Io`].
pub fn make_base() -> Result<(), RuntimeDirError> {
    let base = base();
    let mode = if base.starts_with("/run/weft") {
        0o755
    } else {
        0o700
    };
    let mut make = DirBuilder::new();
    make.recursive(true).mode(mode);
    make.create(&base).map_err(failed("make", &base))?;
    check_base(&base)
}

/// Refuses a base of somebody else, unless the user has named it.
fn check_base(base: &Path) -> Result<(), RuntimeDirError> {
    if declared_base().is_some() {
        return Ok(());
    }
    let facts = fs::symlink_metadata(base).map_err(failed("read", base))?;
    let is_own = facts.is_dir() && facts.uid() == nix::unistd::geteuid().as_raw();
    match is_own && facts.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(RuntimeDirError::Foreign(base.to_owned())),
    }
}

/// The runtime directory of one lab, which may or may not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabDir {
    path: PathBuf,
    name: String,
}

impl LabDir {
    /// The directory of a lab under [`base`].
    ///
    /// # Errors
    /// [`RuntimeDirError::Name`] and [`RuntimeDirError::TooLong`].
    pub fn new(name: &str) -> Result<Self, RuntimeDirError> {
        Self::under(&base(), name)
    }

    /// The directory of a lab under a given base.
    ///
    /// # Errors
    /// [`RuntimeDirError::Name`] and [`RuntimeDirError::TooLong`].
    pub fn under(base: &Path, name: &str) -> Result<Self, RuntimeDirError> {
        let fits = (1..=253).contains(&name.len())
            && name != "."
            && name != ".."
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !fits {
            return Err(RuntimeDirError::Name(name.to_owned()));
        }
        let dir = Self {
            path: base.join(name),
            name: name.to_owned(),
        };
        let longest = dir.p4runtime_socket();
        if longest.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(RuntimeDirError::TooLong {
                path: longest.display().to_string(),
            });
        }
        Ok(dir)
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock that the data plane holds.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// What the data plane says about the lab, once it is built.
    pub fn info_file(&self) -> PathBuf {
        self.path.join("lab.json")
    }

    /// The [plan](crate::plan::Plan) the lab was built from.
    pub fn plan_file(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// The topology file as it was given.
    pub fn topology_file(&self) -> PathBuf {
        self.path.join("topology.yaml")
    }

    /// The bearer token of the lab's API.
    pub fn token_file(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The API's TCP address, kept when the controller starts again.
    pub fn api_file(&self) -> PathBuf {
        self.path.join("api.json")
    }

    /// The lock of the one controller that may run.
    pub fn controller_lock_file(&self) -> PathBuf {
        self.path.join("controller.lock")
    }

    /// The controller's store.
    pub fn store_file(&self) -> PathBuf {
        self.path.join("store.sqlite")
    }

    /// P4Runtime and `weft.node.v1` of all switches.
    pub fn p4runtime_socket(&self) -> PathBuf {
        self.path.join("p4rt.sock")
    }

    /// The API, guarded by file permissions.
    pub fn api_socket(&self) -> PathBuf {
        self.path.join("api.sock")
    }

    /// The data plane's own [control socket](crate::control).
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("lab.sock")
    }

    /// The log of one of the lab's processes.
    pub fn log_file(&self, process: &str) -> PathBuf {
        self.path.join(format!("{process}.log"))
    }

    /// Whether a data plane holds the lock.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn is_running(&self) -> Result<bool, RuntimeDirError> {
        let path = self.lock_file();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    /// The process that holds the lock, as `/proc` names it.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn holder(&self) -> Result<Option<i32>, RuntimeDirError> {
        let path = self.lock_file();
        // What is read before the lock is seen held was written by its holder.
        let written = match fs::read_to_string(&path) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        Ok(if self.is_running()? {
            written.trim().parse().ok().filter(|pid| *pid > 1)
        } else {
            None
        })
    }

    /// Makes the directory, takes the lock and removes what a crashed lab left.
    ///
    /// # Errors
    /// [`RuntimeDirError::Running`] when another data plane has it.
    pub fn acquire(&self) -> Result<LabLock, RuntimeDirError> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o755);
        if let Some(base) = self.path.parent() {
            make.create(base).map_err(failed("make", base))?;
        }
        // Somebody who asks whether the lab runs holds a shared lock for a moment, and somebody who cleans may remove
        // the directory: both only mean "again".
        for _ in 0..ACQUIRE_ATTEMPTS {
            let mut make = DirBuilder::new();
            make.recursive(true).mode(0o700);
            make.create(&self.path)
                .map_err(failed("make", &self.path))?;
            match self.try_lock()? {
                Attempt::Locked(lock) => {
                    lock.clean()?;
                    lock.sign()?;
                    return Ok(lock);
                }
                Attempt::Busy | Attempt::Vanished => pause(),
            }
        }
        Err(RuntimeDirError::Running(self.name.clone()))
    }

    /// Removes the directory of a lab that has ended. True when there is no such lab any more.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn remove_stale(&self) -> Result<bool, RuntimeDirError> {
        match self.try_lock()? {
            Attempt::Locked(lock) => lock.remove().map(|()| true),
            Attempt::Vanished => Ok(true),
            Attempt::Busy => Ok(false),
        }
    }

    /// Blocks until the data plane has ended, then removes the directory.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn wait_and_remove(&self) -> Result<(), RuntimeDirError> {
        let path = self.lock_file();
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => {
                file.lock().map_err(failed("lock", &path))?;
                if self.is_current(&file) {
                    LabLock {
                        file,
                        dir: self.clone(),
                    }
                    .remove()?;
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.remove_stale().map(|_| ())
            }
            Err(error) => Err(failed("open", &path)(error)),
        }
    }

    fn try_lock(&self) -> Result<Attempt, RuntimeDirError> {
        let path = self.lock_file();
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Vanished),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        match file.try_lock() {
            Ok(()) if self.is_current(&file) => Ok(Attempt::Locked(LabLock {
                file,
                dir: self.clone(),
            })),
            Ok(()) => Ok(Attempt::Vanished),
            Err(TryLockError::WouldBlock) => Ok(Attempt::Busy),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    /// Whether an open lock file is still the one at its path.
    fn is_current(&self, file: &File) -> bool {
        match (file.metadata(), fs::metadata(self.lock_file())) {
            (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
            _ => false,
        }
    }
}

const ACQUIRE_ATTEMPTS: u32 = 20;

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: it waits out another process's look at the lock, a few milliseconds"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

enum Attempt {
    Locked(LabLock),
    Busy,
    Vanished,
}

/// The right to be the lab's data plane; released when dropped or when the process ends.
#[derive(Debug)]
pub struct LabLock {
    file: File,
    dir: LabDir,
}

impl LabLock {
    /// The directory it guards.
    pub fn dir(&self) -> &LabDir {
        &self.dir
    }

    /// Makes the lock the first thing that the kernel releases when this process is killed.
    ///
    /// Descriptors of a dying process are released from the highest number down, and a network device takes some 20 ms;
    /// so the lock moves above all that is open now, and the next lab need not wait for the devices of this one.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`]; the lock stays where it is then.
    pub fn release_first(&mut self) -> Result<(), RuntimeDirError> {
        let climb = |file: &File| -> io::Result<File> {
            let highest = fs::read_dir("/proc/self/fd")?
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
                .max();
            // Each copy takes the lowest free number, so the gaps are filled until one lies above.
            let mut fillers = Vec::new();
            loop {
                let copy = file.try_clone()?;
                if Some(copy.as_raw_fd()) > highest {
                    return Ok(copy);
                }
                fillers.push(copy);
            }
        };
        self.file = climb(&self.file).map_err(failed("lock", &self.dir.lock_file()))?;
        Ok(())
    }

    /// Writes this process's id into the lock.
    fn sign(&self) -> Result<(), RuntimeDirError> {
        let sign = || -> io::Result<()> {
            let pid = crate::process::outer_pid()?;
            self.file.set_len(0)?;
            self.file.write_all_at(format!("{pid}\n").as_bytes(), 0)
        };
        sign().map_err(failed("write", &self.dir.lock_file()))
    }

    /// Removes everything but the lock.
    fn clean(&self) -> Result<(), RuntimeDirError> {
        let path = &self.dir.path;
        for entry in fs::read_dir(path).map_err(failed("read", path))? {
            let entry = entry.map_err(failed("read", path))?;
            if entry.path() == self.dir.lock_file() {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
            removed.map_err(failed("remove", &entry.path()))?;
        }
        Ok(())
    }

    /// Removes the whole directory. The lock itself is held until this value is dropped.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn remove(&self) -> Result<(), RuntimeDirError> {
        for _ in 1..ACQUIRE_ATTEMPTS {
            match fs::remove_dir_all(&self.dir.path) {
                // A program of the lab is still writing into its own folder.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => pause(),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &self.dir.path)(error));
                }
                _ => return Ok(()),
            }
        }
        fs::remove_dir_all(&self.dir.path).map_err(failed("remove", &self.dir.path))
    }
}

/// The labs that run now, by name; directories of labs that crashed are removed on the way.
///
/// # Errors
/// [`RuntimeDirError::Io`].
pub fn running() -> Result<Vec<LabDir>, RuntimeDirError> {
    let base = base();
    let entries = match fs::read_dir(&base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", &base)(error)),
    };
    check_base(&base)?;
    let mut labs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("read", &base))?;
        let name = entry.file_name();
        let Some(dir) = name
            .to_str()
            .and_then(|name| LabDir::under(&base, name).ok())
        else {
            continue;
        };
        // Only what looks like ours is touched.
        if !dir.lock_file().exists() {
            continue;
        }
        if dir.is_running()? {
            labs.push(dir);
        } else {
            let log = fs::read_to_string(dir.log_file("dataplane")).unwrap_or_default();
            let last = log.lines().last().unwrap_or("nothing");
            tracing::warn!(
                lab = dir.name,
                "the lab has crashed; the last it said: {last}"
            );
            dir.remove_stale()?;
        }
    }
    labs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(labs)
}

/// Writes a file that only its owner may read, in one step for whoever reads it.
///
/// # Errors
/// [`RuntimeDirError::Io`].
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), RuntimeDirError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        io::Write::write_all(&mut file, content)?;
        fs::rename(&temporary, path)
    };
    write().map_err(failed("write", path))
}

/// Writes a value as JSON by [`write_private`].
///
/// # Errors
/// [`RuntimeDirError::Io`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RuntimeDirError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(io::Error::other)
        .map_err(failed("write", path))?;
    write_private(path, &text)
}

/// Reads a file written by [`write_json`].
///
/// # Errors
/// [`RuntimeDirError::Io`], also when the content is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RuntimeDirError> {
    let text = fs::read(path).map_err(failed("read", path))?;
    serde_json::from_slice(&text)
        .map_err(io::Error::other)
        .map_err(failed("read", path))
}

#[cfg(test)]
mod tests;
