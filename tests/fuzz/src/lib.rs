//! What the fuzz targets do with their bytes.
//!
//! Each target takes any bytes and panics where something is wrong: by itself, or because it found that what it looked at
//! is not so. libFuzzer runs them from `fuzz/`; `tests/replay.rs` runs each over its corpus, its seeds and many mutations
//! of both, as an ordinary test.

use std::path::{Path, PathBuf};

mod fabric;
pub mod files;
pub mod frames;
pub mod mutate;
pub mod offloads;
pub mod p4runtime;
pub mod programs;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the binary in `fuzz/fuzz_targets`, and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations the ordinary test tries: more for those that are fast.
    pub mutations: u32,
}

/// All targets.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "frames",
        run: frames::run,
        seeds: frames::seeds,
        mutations: 4000,
    },
    Target {
        name: "offloads",
        run: offloads::run,
        seeds: offloads::seeds,
        mutations: 2000,
    },
    Target {
        name: "p4runtime",
        run: p4runtime::run,
        seeds: p4runtime::seeds,
        mutations: 2000,
    },
    Target {
        name: "programs",
        run: programs::run,
        seeds: programs::seeds,
        mutations: 100,
    },
    Target {
        name: "files",
        run: files::run,
        seeds: files::seeds,
        mutations: 400,
    },
];

/// The repository's root.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

impl Target {
    /// The folder with the inputs that once did something new, or something wrong.
    pub fn corpus(&self) -> PathBuf {
        root().join("fuzz/corpus").join(self.name)
    }
}
