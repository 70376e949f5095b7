//! Every fuzz target over its corpus, its seeds, and mutations of both that are the same each time.
//!
//! `WEFT_REWRITE=1` writes the seeds into the corpus, where libFuzzer begins.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use weft_fuzz::mutate::Random;
use weft_fuzz::{TARGETS, Target};

/// Runs an input; a panic names it, so that it can be kept as a regression.
fn run(target: &Target, what: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let bytes: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "{} panicked over {what}; keep this as {}/regression-NAME, by `xxd -r -p`:\n{bytes}",
            target.name,
            target.corpus().display()
        );
    }
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)();
    if std::env::var_os("WEFT_REWRITE").is_some() {
        fs::create_dir_all(target.corpus()).unwrap();
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(target.corpus().join(format!("seed-{index:02}")), seed).unwrap();
        }
    }
    let mut kept: Vec<_> = fs::read_dir(target.corpus())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    kept.sort();
    assert!(kept.len() >= 5, "{name} has a corpus");
    let mut inputs = seeds;
    for path in kept {
        let input = fs::read(&path).unwrap();
        run(target, &path.display().to_string(), &input);
        inputs.push(input);
    }
    let mut random = Random(7);
    for number in 0..target.mutations {
        let input = &inputs[random.below(inputs.len())];
        let other = &inputs[random.below(inputs.len())];
        let mutated = random.mutate(input, other);
        run(target, &format!("mutation {number}"), &mutated);
    }
}

#[test]
fn frames() {
    replay("frames");
}

#[test]
fn offloads() {
    replay("offloads");
}

#[test]
fn p4runtime_requests() {
    replay("p4runtime");
}

#[test]
fn pipeline_programs() {
    replay("programs");
}

#[test]
fn topology_files() {
    replay("files");
}

#[test]
fn every_target_is_a_binary_too() {
    for target in TARGETS {
        let corpus = target.corpus();
        let fuzz = corpus.ancestors().nth(2).unwrap();
        let binary = fs::read_to_string(fuzz.join(format!("fuzz_targets/{}.rs", target.name)));
        let call = format!("weft_fuzz::{}::run", target.name);
        assert!(binary.unwrap().contains(&call), "{}", target.name);
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)));
    }
}
