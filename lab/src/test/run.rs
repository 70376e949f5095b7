//! Running: cases side by side, tests one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::Map;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::transport::Channel;
use weft_controller::model::Model;
use weft_controller::names::glob_matches;
use weft_controller::southbound;
use weft_controller::spec::{Connect, Mode, TestSpec};

use super::cases::{self, Case, Packets, Probe, Target};
use super::judge::{self, Judgement};
use super::observe::{Observer, Way, crossed};
use super::probe::{self, End, Seen, program};
use super::report::{CaseReport, Report, Verdict};
use crate::control::ControlClient;
use crate::exec::ExecError;
use crate::info::LabInfo;
use crate::netns::Netns;
use crate::plan::Plan;
use crate::programs::{ProgramStatus, tail};
use crate::runtime_dir::{LabDir, RuntimeDirError, read_json};
use crate::served::Transport;

/// Cases that run at the same time.
const SIDE_BY_SIDE: usize = 64;

/// Cases that are recorded at the same time: each recorder costs every packet a comparison.
const RECORDED: usize = 16;

/// Pause between two attempts of `eventually`.
const RETRY: Duration = Duration::from_millis(50);

/// How long a responder may take to write a caller down.
const SERVED_WITHIN: Duration = Duration::from_secs(1);

/// Lines that a failed program's report shows.
const PROGRAM_LINES: usize = 8;

/// Which tests to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A glob that the test's name or one of its tags fits.
    pub only: Option<String>,
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum Progress<'a> {
    /// So many cases are going to be run.
    Planned(usize),
    /// One has ended.
    Ended(&'a CaseReport),
}

/// Why tests cannot be run: nothing is said about the network then.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lab cannot be asked.
    #[error("the lab's description cannot be read")]
    Lab(#[from] RuntimeDirError),
    /// A host cannot be entered.
    #[error("cannot enter the host {host}")]
    Host {
        /// The host.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// A probe cannot be sent.
    #[error("cannot send the probe of `{case}`")]
    Probe {
        /// The case.
        case: String,
        /// Why not.
        source: io::Error,
    },
    /// The switches do not say what they saw.
    #[error("the switches do not say what they saw of `{case}`")]
    Observe {
        /// The case.
        case: String,
        /// Why not.
        source: Box<tonic::Status>,
    },
    /// A program cannot be run in its host.
    #[error("cannot run the program of `{case}`")]
    Program {
        /// The case.
        case: String,
        /// Why not.
        source: ExecError,
    },
    /// The data plane does not say who answered.
    #[error("the data plane does not answer")]
    Control(#[from] crate::client::ClientError),
}

impl Selection {
    /// Whether a test is selected.
    pub fn picks(&self, test: &TestSpec) -> bool {
        self.only.as_ref().is_none_or(|glob| {
            glob_matches(glob, &test.name) || test.tags.iter().any(|tag| glob_matches(glob, tag))
        })
    }
}

/// Runs the tests of a model against its running lab.
///
/// # Errors
/// [`RunError`] when tests cannot be run. A test that fails is no error.
pub async fn run(
    dir: &LabDir,
    topology: &str,
    model: Arc<Model>,
    selection: &Selection,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<Report, RunError> {
    let start = Instant::now();
    let runner = Runner::new(dir, Arc::clone(&model))?;
    let tests: Vec<&TestSpec> = model
        .tests
        .iter()
        .filter(|test| selection.picks(test))
        .collect();
    let planned: Vec<_> = tests.iter().map(|test| plan(test, &model)).collect();
    tell(Progress::Planned(
        planned
            .iter()
            .map(|planned| planned.as_ref().map_or(1, Vec::len))
            .sum(),
    ));
    let mut reports = Vec::new();
    for (test, planned) in tests.into_iter().zip(planned) {
        let found = match planned {
            Ok(cases) => runner.test(test, cases, &mut tell).await?,
            Err(instead) => {
                tell(Progress::Ended(&instead));
                vec![*instead]
            }
        };
        reports.extend(found);
    }
    if selection.only.is_none() {
        reports.extend(claims(&model));
    }
    reports.extend(failed_programs(&runner.control.status().await?.programs));
    reports.extend(
        model
            .warnings
            .iter()
            .map(|warning| instead("warning", Verdict::Warn, warning)),
    );
    Ok(Report::new(
        topology.to_owned(),
        model.seed,
        start.elapsed(),
        reports,
    ))
}

/// A test's cases, or what to report instead of running it.
fn plan(test: &TestSpec, model: &Model) -> Result<Vec<Case>, Box<CaseReport>> {
    if !test.modes.is_empty() && !test.modes.contains(&Mode::Kernel) {
        return Err(Box::new(instead(
            &test.name,
            Verdict::Skip,
            "it is not for real packets",
        )));
    }
    cases::expand(test, model)
        .map_err(|error| Box::new(instead(&test.name, Verdict::Fail, &error.to_string())))
}

/// Claims about all packets, which are not checked yet.
fn claims(model: &Model) -> impl Iterator<Item = CaseReport> + '_ {
    model.verify.iter().enumerate().map(|(index, claim)| {
        let detail = format!("claims about all packets are not checked yet: {claim}");
        instead(&format!("verify {}", index + 1), Verdict::Skip, &detail)
    })
}

/// Programs of the file that failed while the tests ran.
fn failed_programs(programs: &[ProgramStatus]) -> impl Iterator<Item = CaseReport> + '_ {
    let failed = programs.iter().filter(|program| program.failed);
    failed.map(|program| {
        let ProgramStatus {
            host, cmd, ended, ..
        } = program;
        let ended = ended.as_deref().unwrap_or("unknown");
        let said = match tail(&program.log, PROGRAM_LINES) {
            said if said.is_empty() => said,
            said => format!("; its last words:\n{said}"),
        };
        let detail = format!("`{}` in {host} ended: {ended}{said}", cmd.join(" "));
        instead(&format!("run {host}"), Verdict::Warn, &detail)
    })
}

fn instead(name: &str, verdict: Verdict, detail: &str) -> CaseReport {
    CaseReport {
        name: name.to_owned(),
        test: name.to_owned(),
        from: String::new(),
        to: String::new(),
        verdict,
        detail: detail.to_owned(),
        measured: Map::new(),
        took: Duration::ZERO,
    }
}

struct Runner {
    dir: LabDir,
    /// That of the lab's file.
    folder: PathBuf,
    hosts: BTreeMap<String, Netns>,
    observer: Observer,
    control: ControlClient,
    recorders: Semaphore,
    model: Arc<Model>,
}

impl Runner {
    fn new(dir: &LabDir, model: Arc<Model>) -> Result<Self, RunError> {
        let info: LabInfo = read_json(&dir.info_file())?;
        let mut hosts = BTreeMap::new();
        for (host, facts) in info.hosts {
            let netns = Netns::open(&facts.netns).map_err(|source| RunError::Host {
                host: host.clone(),
                source,
            })?;
            hosts.insert(host, netns);
        }
        let plan: Plan = read_json(&dir.plan_file())?;
        let channel: Channel = southbound::unix(&dir.p4runtime_socket());
        Ok(Self {
            dir: dir.clone(),
            folder: plan.folder,
            hosts,
            observer: Observer::new(channel, Arc::clone(&model)),
            control: ControlClient::new(dir),
            recorders: Semaphore::new(RECORDED),
            model,
        })
    }

    /// Runs the cases of one test; their reports in the order of the cases, then that of their spread. Where the test says
    /// `eventually`, all of them run again until they spread as they should.
    async fn test(
        &self,
        test: &TestSpec,
        cases: Vec<Case>,
        tell: &mut impl FnMut(Progress<'_>),
    ) -> Result<Vec<CaseReport>, RunError> {
        let Some(spread) = &test.expect.spread else {
            return Ok(self.cases(&cases, tell).await?.0);
        };
        let deadline = test
            .eventually
            .map(|patience| Instant::now() + patience.as_duration());
        loop {
            let (mut reports, ways) = self.cases(&cases, &mut |_| {}).await?;
            let Judgement {
                verdict,
                detail,
                measured,
            } = judge::judge_spread(spread, &crossed(&ways), &self.model);
            reports.push(CaseReport {
                name: format!("{}: spread", test.name),
                test: test.name.clone(),
                measured,
                ..instead("", verdict, &detail)
            });
            let is_last = deadline.is_none_or(|deadline| Instant::now() >= deadline);
            if verdict == Verdict::Pass || is_last {
                for report in &reports {
                    tell(Progress::Ended(report));
                }
                return Ok(reports);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Runs cases side by side; their reports in order, and the ways of all their packets.
    async fn cases(
        &self,
        cases: &[Case],
        tell: &mut impl FnMut(Progress<'_>),
    ) -> Result<(Vec<CaseReport>, Vec<Way>), RunError> {
        let mut running = futures_util::stream::iter(cases.iter().enumerate())
            .map(|(index, case)| async move {
                self.case(case)
                    .await
                    .map(|(report, ways)| (index, report, ways))
            })
            .buffer_unordered(SIDE_BY_SIDE);
        let mut ended = BTreeMap::new();
        let mut ways = Vec::new();
        while let Some(case) = running.next().await {
            let (index, report, seen) = case?;
            tell(Progress::Ended(&report));
            ended.insert(index, report);
            ways.extend(seen);
        }
        Ok((ended.into_values().collect(), ways))
    }

    /// Runs one case, again and again where it says `eventually`.
    async fn case(&self, case: &Case) -> Result<(CaseReport, Vec<Way>), RunError> {
        let start = Instant::now();
        let deadline = case.eventually.map(|patience| start + patience);
        let (judgement, ways) = loop {
            let (judgement, ways) = self.attempt(case).await?;
            let is_last = deadline.is_none_or(|deadline| Instant::now() >= deadline);
            if judgement.verdict == Verdict::Pass || is_last {
                break (judgement, ways);
            }
            tokio::time::sleep(RETRY).await;
        };
        let Judgement {
            verdict,
            detail,
            measured,
        } = judgement;
        let report = CaseReport {
            name: case.name.clone(),
            test: case.test.clone(),
            from: case.from.clone(),
            to: case.to.clone(),
            verdict,
            detail,
            measured,
            took: start.elapsed(),
        };
        Ok((report, ways))
    }

    async fn attempt(&self, case: &Case) -> Result<(Judgement, Vec<Way>), RunError> {
        let (seen, ways) = match &case.probe {
            Probe::Packets(target, packets) => self.packets(case, target, packets).await?,
            Probe::Exec(program) => {
                let ran = program::run(&self.dir, &self.folder, &case.from, program).await;
                let seen = ran.map_err(|source| RunError::Program {
                    case: case.name.clone(),
                    source,
                })?;
                (seen, Vec::new())
            }
        };
        Ok((judge::judge(case, &seen, &ways, &self.model), ways))
    }

    async fn packets(
        &self,
        case: &Case,
        target: &Target,
        packets: &Packets,
    ) -> Result<(Seen, Vec<Way>), RunError> {
        let netns = self.hosts.get(&case.from).ok_or_else(|| RunError::Host {
            host: case.from.clone(),
            source: io::ErrorKind::NotFound.into(),
        })?;
        let observe = |source: tonic::Status| RunError::Observe {
            case: case.name.clone(),
            source: Box::new(source),
        };
        let expect = &case.expect;
        let is_recorded = expect.path.is_some()
            || expect.spread.is_some()
            || expect.connect == Some(Connect::Never);
        let recording = if is_recorded {
            let permit = self.recorders.acquire().await.ok();
            let recorder = self.observer.start(target, packets).await;
            Some((recorder.map_err(observe)?, permit))
        } else {
            None
        };
        let sent = probe::send(target, packets, expect.reply.is_some(), netns).await;
        let ways = match recording {
            Some((recorder, _permit)) => self.observer.finish(recorder).await.map_err(observe)?,
            None => Vec::new(),
        };
        let mut seen = sent.map_err(|source| RunError::Probe {
            case: case.name.clone(),
            source,
        })?;
        if expect.served_by.is_some() {
            self.ask_who_served(packets, &mut seen).await?;
        }
        Ok((seen, ways))
    }

    /// Fills in who answered, where the answer itself does not say it.
    async fn ask_who_served(&self, packets: &Packets, seen: &mut Seen) -> Result<(), RunError> {
        let proto = match packets {
            Packets::Tcp { .. } => Transport::Tcp,
            Packets::Udp { .. } | Packets::Dns { .. } => Transport::Udp,
            Packets::Http { .. } | Packets::Ping => return Ok(()),
        };
        let callers: BTreeSet<SocketAddr> = seen
            .tries
            .iter()
            .filter(|one| one.end == End::Answered)
            .filter_map(|one| one.local)
            .collect();
        let answers = callers.into_iter().map(|caller| async move {
            let served = self.control.served(proto, caller, SERVED_WITHIN).await?;
            Ok::<_, RunError>((caller, served.map(|served| served.host)))
        });
        let mut hosts = BTreeMap::new();
        for answer in join_all(answers).await {
            let (caller, host) = answer?;
            hosts.insert(caller, host);
        }
        for one in &mut seen.tries {
            one.served_by = one
                .local
                .and_then(|local| hosts.get(&local).cloned().flatten());
        }
        Ok(())
    }
}
