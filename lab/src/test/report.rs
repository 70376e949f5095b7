//! What came out: for programs as JSON, for CI as JUnit.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;
use serde_json::{Map, Value};

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything held.
    Pass,
    /// Something did not.
    Fail,
    /// Everything held as far as could be told.
    Warn,
    /// It was not run.
    Skip,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseReport {
    /// The test's name and the pair.
    pub name: String,
    /// The test's name.
    pub test: String,
    /// The host that sent.
    pub from: String,
    /// Who was probed.
    pub to: String,
    /// How it ended.
    pub verdict: Verdict,
    /// The same in words.
    pub detail: String,
    /// The numbers behind it.
    pub measured: Map<String, Value>,
    /// How long it took.
    #[serde(skip)]
    pub took: Duration,
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Passed.
    pub pass: usize,
    /// Failed.
    pub fail: usize,
    /// Passed with a warning.
    pub warn: usize,
    /// Were not run.
    pub skip: usize,
}

/// The outcome of a file's tests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The topology's name.
    pub topology: String,
    /// How the lab ran: `kernel`.
    pub mode: &'static str,
    /// The seed.
    pub seed: u64,
    /// How long all tests took, building and taking down left out.
    pub wall_ms: u64,
    /// The cases in file order.
    pub cases: Vec<CaseReport>,
    /// How many ended how.
    pub totals: Totals,
}

impl Report {
    /// The report of some cases.
    pub fn new(topology: String, seed: u64, wall: Duration, cases: Vec<CaseReport>) -> Self {
        let mut totals = Totals::default();
        for case in &cases {
            let count = match case.verdict {
                Verdict::Pass => &mut totals.pass,
                Verdict::Fail => &mut totals.fail,
                Verdict::Warn => &mut totals.warn,
                Verdict::Skip => &mut totals.skip,
            };
            *count += 1;
        }
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Self {
            topology,
            mode: "kernel",
            seed,
            wall_ms,
            cases,
            totals,
        }
    }

    /// The command's exit status: 0 all passed, 1 one failed, 2 none was run, 3 passed with warnings.
    pub fn exit_status(&self) -> u8 {
        let Totals {
            pass,
            fail,
            warn,
            skip: _,
        } = self.totals;
        match (fail, pass + warn, warn) {
            (1.., ..) => 1,
            (0, 0, _) => 2,
            (0, _, 1..) => 3,
            (0, _, 0) => 0,
        }
    }

    /// Writes the report in JUnit's form.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_junit(&self, writer: impl io::Write) -> io::Result<()> {
        let mut suite = TestSuite::new(format!("{} {}", self.topology, self.mode));
        suite.set_time(Duration::from_millis(self.wall_ms));
        suite.add_property(("seed", self.seed.to_string().as_str()));
        suite.add_property(("wall_ms", self.wall_ms.to_string().as_str()));
        for case in &self.cases {
            let status = match case.verdict {
                Verdict::Pass | Verdict::Warn => TestCaseStatus::success(),
                Verdict::Skip => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(case.detail.as_str());
                    status
                }
                Verdict::Fail => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status
                        .set_message(case.detail.as_str())
                        .set_type("expectation");
                    status
                }
            };
            let mut junit = TestCase::new(case.name.as_str(), status);
            junit.set_classname(case.test.as_str()).set_time(case.took);
            let measured = serde_json::to_string(&case.measured).unwrap_or_default();
            junit.set_system_out(format!("{}\n{measured}", case.detail));
            suite.add_test_case(junit);
        }
        let mut report = quick_junit::Report::new("weft");
        report
            .set_time(Duration::from_millis(self.wall_ms))
            .add_test_suite(suite);
        report.serialize(writer).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let case = |(index, verdict): (usize, &Verdict)| CaseReport {
            name: format!("t: a -> b{index}"),
            test: "t".to_owned(),
            from: "a".to_owned(),
            to: format!("b{index}"),
            verdict: *verdict,
            detail: "loss <50%> & more".to_owned(),
            measured: Map::new(),
            took: Duration::from_millis(3),
        };
        let cases = verdicts.iter().enumerate().map(case).collect();
        Report::new("lab".to_owned(), 7, Duration::from_millis(12), cases)
    }

    #[test]
    fn the_exit_status_tells_failures_warnings_and_nothing_apart() {
        use Verdict::{Fail, Pass, Skip, Warn};
        for (verdicts, status) in [
            (&[Pass, Skip][..], 0),
            (&[Pass, Fail, Warn], 1),
            (&[], 2),
            (&[Skip], 2),
            (&[Pass, Warn], 3),
        ] {
            assert_eq!(report(verdicts).exit_status(), status, "{verdicts:?}");
        }
    }

    #[test]
    fn junit_says_what_failed() {
        let mut xml = Vec::new();
        report(&[Verdict::Pass, Verdict::Fail, Verdict::Skip])
            .write_junit(&mut xml)
            .unwrap();
        let xml = String::from_utf8(xml).unwrap();
        assert!(
            xml.contains(
                r#"<testsuite name="lab kernel" tests="3" skipped="1" errors="0" failures="1""#
            ),
            "{xml}"
        );
        assert!(
            xml.contains(r#"<failure message="loss &lt;50%&gt; &amp; more" type="expectation""#),
            "{xml}"
        );
    }

    #[test]
    fn json_has_the_keys_that_scripts_read() {
        let json = serde_json::to_value(report(&[Verdict::Fail])).unwrap();
        assert_eq!(
            json["totals"],
            serde_json::json!({ "pass": 0, "fail": 1, "warn": 0, "skip": 0 })
        );
        assert_eq!(json["wallMs"], 12);
        assert_eq!(json["cases"][0]["verdict"], "fail");
    }
}
