//! Runs a file's tests against a running lab: probes from inside the hosts, judged against what the file expects.
//!
//! A test becomes one [`Case`](cases::Case) for each pair of `from` and `to`. Its probe opens sockets inside the sender's
//! namespace; all of them are driven by one runtime. What the network did meanwhile comes from the switches' path recorder,
//! never from the hosts. Judging is a pure function of what was observed.
//!
//! Tests run one after the other in file order, the pairs of one test side by side. Nothing sleeps to let things settle: a
//! lab is ready before its tests begin, and `eventually` retries.

pub mod cases;
pub mod judge;
pub mod observe;
pub mod probe;
pub mod report;
pub mod run;

pub use self::report::{CaseReport, Report, Totals, Verdict};
pub use self::run::{Progress, Selection, run};
