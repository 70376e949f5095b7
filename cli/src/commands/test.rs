//! `weft test`: build, prove, take down.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use weft_controller::model::Model;
use weft_lab::plan::Plan;
use weft_lab::test::{CaseReport, Progress, Report, Selection, Totals, Verdict, run as run_tests};
use weft_lab::up::Lab;

use super::apply;
use super::lab::build;
use crate::args::{Format, Global, Test};
use crate::failure::{Failure, SOFTWARE};
use crate::output::{print, print_json, print_table, say};

pub(crate) async fn run(global: &Global, args: &Test) -> Result<ExitCode, Failure> {
    let topology = Plan::read(&args.file, None)?.0.name;
    let name = args.name.clone().or_else(|| global.lab.clone());
    let name = name.unwrap_or_else(|| format!("{topology}-{}", std::process::id()));
    let (mut plan, model) = Plan::read(&args.file, Some(&name))?;
    plan.offloads = !args.no_offloads;
    let selection = Selection {
        only: args.only.clone(),
    };
    if !model.tests.iter().any(|test| selection.picks(test)) {
        say(match &args.only {
            Some(glob) => format!("no test of {} fits `{glob}`", args.file.display()),
            None => format!("{} has no tests", args.file.display()),
        });
        let report = Report::new(topology, model.seed, std::time::Duration::ZERO, Vec::new());
        return finish(global, args, &report);
    }
    let lab = tokio::task::block_in_place(|| build(&plan, &model))?;
    let lab = apply::at_start(lab, &plan).await?;
    tracing::info!(lab = name, elapsed = ?lab.elapsed(), "the lab is ready");
    let outcome = prove(&lab, &topology, model, &selection).await;
    if args.keep {
        say(format_args!(
            "lab {name} is left running; `weft down {name}` takes it down"
        ));
        lab.release();
    } else {
        tokio::task::block_in_place(|| lab.down());
    }
    let report = outcome.map_err(|error| Failure::new(SOFTWARE, error))?;
    finish(global, args, &report)
}

/// Runs the tests, with a bar on a terminal.
async fn prove(
    lab: &Lab,
    topology: &str,
    model: Model,
    selection: &Selection,
) -> Result<Report, weft_lab::test::run::RunError> {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    let template = "{bar:32} {pos}/{len} {msg}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let tell = |progress: Progress<'_>| match progress {
        Progress::Planned(count) => bar.set_length(u64::try_from(count).unwrap_or(u64::MAX)),
        Progress::Ended(case) => {
            if case.verdict == Verdict::Fail {
                bar.suspend(|| say(format_args!("FAIL {}: {}", case.name, case.detail)));
            }
            bar.set_message(case.test.clone());
            bar.inc(1);
        }
    };
    let outcome = run_tests(lab.dir(), topology, Arc::new(model), selection, tell).await;
    bar.finish_and_clear();
    outcome
}

fn finish(global: &Global, args: &Test, report: &Report) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.junit {
        let file = std::fs::File::create(path).and_then(|file| report.write_junit(file));
        file.map_err(|error| {
            let message = format!("cannot write {}: {error}", path.display());
            Failure::message(SOFTWARE, message)
        })?;
    }
    match global.output {
        Format::Json => print_json(report),
        Format::Table => table(report, global.verbose > 0),
    }
    Ok(ExitCode::from(report.exit_status()))
}

/// One row for each test, and one for each case that did not pass; all cases with `-v`.
fn table(report: &Report, all: bool) {
    let mut rows = Vec::new();
    let mut rest = report.cases.as_slice();
    while let Some(first) = rest.first() {
        let len = rest
            .iter()
            .take_while(|case| case.test == first.test)
            .count();
        let (cases, after) = rest.split_at(len);
        rest = after;
        rows.push(summary(cases));
        if len > 1 {
            let shown = cases
                .iter()
                .filter(|case| all || case.verdict != Verdict::Pass);
            rows.extend(shown.map(|case| {
                let name = case
                    .name
                    .strip_prefix(case.test.as_str())
                    .unwrap_or(&case.name);
                let name = name.trim_start_matches([':', ' ']);
                [
                    word(case.verdict).to_owned(),
                    format!("  {name}"),
                    String::new(),
                    case.detail.clone(),
                ]
            }));
        }
    }
    if !rows.is_empty() {
        print_table(["", "TEST", "CASES", "DETAIL"], rows);
    }
    let Totals {
        pass,
        fail,
        warn,
        skip,
    } = report.totals;
    print(&format!(
        "{}: {pass} passed, {fail} failed, {warn} with warnings, {skip} skipped ({:.2} s)\n",
        report.topology,
        std::time::Duration::from_millis(report.wall_ms).as_secs_f64(),
    ));
}

/// The row of a test.
fn summary(cases: &[CaseReport]) -> [String; 4] {
    let count = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
    let worst = [Verdict::Fail, Verdict::Warn, Verdict::Pass, Verdict::Skip]
        .into_iter()
        .find(|verdict| count(*verdict) > 0);
    let worst = worst.unwrap_or(Verdict::Skip);
    let test = cases
        .first()
        .map(|case| case.test.clone())
        .unwrap_or_default();
    let detail = match cases {
        [only] => only.detail.clone(),
        [.., last] if worst == Verdict::Pass && last.from.is_empty() => last.detail.clone(),
        _ => String::new(),
    };
    [
        word(worst).to_owned(),
        test,
        format!("{}/{}", count(Verdict::Pass), cases.len()),
        detail,
    ]
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "ok",
        Verdict::Fail => "FAIL",
        Verdict::Warn => "warn",
        Verdict::Skip => "skip",
    }
}
