//! `weft up`, `weft down` and `weft labs`.

use std::process::ExitCode;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use weft_controller::model::Model;
use weft_lab::control::ControlClient;
use weft_lab::dataplane::Event;
use weft_lab::info::LabInfo;
use weft_lab::limits;
use weft_lab::plan::Plan;
use weft_lab::runtime_dir::{LabDir, read_json, running};
use weft_lab::up::{self, Lab};

use super::apply;
use crate::args::{Down, Format, Global, Up};
use crate::failure::{Failure, SOFTWARE};
use crate::output::{print, print_json, print_table, say};

pub(crate) async fn up(global: &Global, args: &Up) -> Result<ExitCode, Failure> {
    let name = args.name.as_deref().or(global.lab.as_deref());
    let (mut plan, model) = Plan::read(&args.file, name)?;
    plan.offloads = !args.no_offloads;
    let lab = build(&plan, &model)?;
    let lab = apply::at_start(lab, &plan).await?;
    announce(global, &lab, &model);
    if args.detach {
        lab.release();
        return Ok(ExitCode::SUCCESS);
    }
    say("Ctrl-C takes it down");
    keep(lab).await
}

/// Builds a lab and tells of it.
pub(crate) fn build(plan: &Plan, model: &Model) -> Result<Lab, Failure> {
    plan.check(model)?;
    for warning in model.warnings.iter().chain(&limits::warnings(model)) {
        say(format_args!("warning: {warning}"));
    }
    let lab = up::up(plan, |event| match event {
        Event::Notice { message } => say(format_args!("notice: {message}")),
        Event::Built { elapsed_ms } => {
            tracing::info!(elapsed_ms, "hosts and switches are built");
        }
        Event::Ready { .. } | Event::Failed { .. } => {}
    })?;
    Ok(lab)
}

fn announce(global: &Global, lab: &Lab, model: &Model) {
    let (name, api) = (lab.dir().name(), lab.api());
    match global.output {
        Format::Json => print_json(&json!({
            "lab": name,
            "api": api,
            "socket": lab.dir().api_socket(),
            "elapsedMs": u64::try_from(lab.elapsed().as_millis()).unwrap_or(u64::MAX),
        })),
        Format::Table => print(&format!(
            "lab {name} is ready: {} switches, {} hosts, {} links ({:.2} s)\napi {api}\n",
            model.switches.len(),
            model.hosts.len(),
            model.links.len(),
            lab.elapsed().as_secs_f64(),
        )),
    }
}

/// Keeps a lab until Ctrl-C, or until it ends by itself.
async fn keep(mut lab: Lab) -> Result<ExitCode, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let dir = lab.dir().clone();
    let mut ended = tokio::task::spawn_blocking(move || lab.wait());
    let ended = tokio::select! {
        biased;
        ended = &mut ended => ended,
        _ = interrupt.recv() => take_down(&dir, ended).await,
        _ = terminate.recv() => take_down(&dir, ended).await,
    };
    let is_clean = ended.map_err(|error| Failure::new(SOFTWARE, error))?;
    if is_clean {
        say(format_args!("lab {} is down", dir.name()));
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::message(
            SOFTWARE,
            format!("the data plane of lab {} died", dir.name()),
        ))
    }
}

async fn take_down(
    dir: &LabDir,
    ended: tokio::task::JoinHandle<bool>,
) -> Result<bool, tokio::task::JoinError> {
    say(format_args!("taking lab {} down", dir.name()));
    if let Err(error) = up::down(dir).await {
        say(format_args!("warning: {error}"));
    }
    ended.await
}

pub(crate) async fn down(global: &Global, args: &Down) -> Result<(), Failure> {
    let name = args.name.as_ref().or(global.lab.as_ref());
    let labs = match name {
        Some(name) => vec![LabDir::new(name)?],
        None => {
            let labs = running()?;
            if labs.len() > 1 && !args.all {
                vec![crate::target::lab(global)?]
            } else {
                labs
            }
        }
    };
    if labs.is_empty() {
        say("no lab is running");
    }
    let downs = labs.iter().map(|lab| async move {
        let existed = up::down(lab).await?;
        say(if existed {
            format!("lab {} is down", lab.name())
        } else {
            format!("lab {} is not running", lab.name())
        });
        Ok::<_, Failure>(())
    });
    for result in futures_util::future::join_all(downs).await {
        result?;
    }
    Ok(())
}

pub(crate) async fn labs(global: &Global) -> Result<(), Failure> {
    let mut items = Vec::new();
    for dir in running()? {
        let status = ControlClient::new(&dir).status().await.ok();
        let info: Option<LabInfo> = read_json(&dir.info_file()).ok();
        items.push(json!({
            "name": dir.name(),
            "phase": status.as_ref().map(|status| status.phase),
            "pid": dir.holder()?,
            "api": status.as_ref().and_then(|status| status.api.clone()),
            "switches": info.as_ref().map(|info| info.switches.len()),
            "hosts": info.as_ref().map(|info| info.hosts.len()),
            "file": info.map(|info| info.file),
        }));
    }
    match global.output {
        Format::Json => print_json(&json!({ "items": items })),
        Format::Table => {
            let text = |value: &serde_json::Value| match value {
                serde_json::Value::Null => "-".to_owned(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let columns = ["name", "phase", "switches", "hosts", "api", "file"];
            let rows = items
                .iter()
                .map(|item| columns.map(|column| text(&item[column])))
                .collect();
            print_table(["NAME", "PHASE", "SWITCHES", "HOSTS", "API", "FILE"], rows);
        }
    }
    Ok(())
}
