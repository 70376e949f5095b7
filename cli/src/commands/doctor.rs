//! `weft doctor`: what this machine allows.

use std::process::ExitCode;

use serde_json::json;
use weft_lab::doctor::{Finding, Need, labs_run};

use crate::args::{Doctor, Format, Global};
use crate::failure::USAGE;
use crate::output::{print, print_json, print_table};

/// Runs before there is any other thread: what is tried wants to be alone.
pub(crate) fn run(global: &Global, args: &Doctor) -> ExitCode {
    if let Some(need) = args.probe.as_deref().and_then(Need::by_name) {
        print_json(&need.probe());
        return ExitCode::SUCCESS;
    }
    let findings = Need::ALL.map(Need::check);
    let works = labs_run(&findings);
    match global.output {
        Format::Json => print_json(&json!({ "works": works, "items": findings })),
        Format::Table => show(&findings, works),
    }
    match works {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(USAGE),
    }
}

fn show(findings: &[Finding], works: bool) {
    let rows = findings
        .iter()
        .map(|finding| {
            let state = if finding.works { "works" } else { "FAILS" };
            let (name, detail) = (finding.name.clone(), finding.detail.clone());
            [name, state.to_owned(), detail]
        })
        .collect();
    print_table(["NEED", "STATE", "DETAIL"], rows);
    print("\n");
    if works {
        let complete = findings.iter().all(|finding| finding.works);
        print(match complete {
            true => "labs run here\n",
            false => "labs run here, but not with every kind of port\n",
        });
    }
    let mut told: Vec<&str> = Vec::new();
    for finding in findings {
        if let Some(fix) = finding.fix.as_deref().filter(|fix| !told.contains(fix)) {
            print(&format!("{}: {fix}\n", finding.name));
            told.push(fix);
        }
    }
}
