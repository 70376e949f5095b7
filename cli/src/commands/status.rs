//! `weft status`: a lab at a glance.
//!
//! Nodes and processes come from the data plane, states from the controller; a controller that is away only leaves
//! states unknown.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use weft_lab::client::ApiClient;
use weft_lab::control::{ControlClient, LabStatus, Phase, Process, Role};
use weft_lab::info::LabInfo;
use weft_lab::programs::ProgramStatus;
use weft_lab::runtime_dir::{LabDir, read_json};

use crate::args::{Format, Global};
use crate::failure::{Failure, UNAVAILABLE};
use crate::output::{print, print_json, print_table};
use crate::target;

/// The answer of `weft status -o json`.
#[derive(Debug, Serialize)]
struct Status {
    lab: String,
    api: Option<String>,
    token: Option<String>,
    socket: String,
    phase: Phase,
    processes: Vec<Process>,
    switches: Vec<SwitchStatus>,
    hosts: Vec<HostStatus>,
    links: Vec<LinkStatus>,
    programs: Vec<ProgramStatus>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SwitchStatus {
    name: String,
    device_id: u64,
    p4runtime: String,
    connected: bool,
}

#[derive(Debug, Serialize)]
struct HostStatus {
    name: String,
    addresses: Vec<String>,
    netns: String,
}

#[derive(Debug, Serialize)]
struct LinkStatus {
    name: String,
    endpoints: [String; 2],
    state: String,
    impair: Value,
}

pub(crate) async fn run(global: &Global) -> Result<(), Failure> {
    if global.api.is_some() {
        return remote(global).await;
    }
    let dir = target::lab(global)?;
    let status = gather(&dir).await?;
    match global.output {
        Format::Json => print_json(&status),
        Format::Table => show(&status),
    }
    Ok(())
}

async fn gather(dir: &LabDir) -> Result<Status, Failure> {
    let own = ControlClient::new(dir).status().await?;
    let info: LabInfo = read_json(&dir.info_file()).map_err(|_| {
        Failure::message(
            UNAVAILABLE,
            format!("lab `{}` is still being built", dir.name()),
        )
    })?;
    let client = ApiClient::unix(&dir.api_socket());
    let (switches, links, is_ready) = tokio::join!(
        by_name(&client, "/v1/switches"),
        by_name(&client, "/v1/links"),
        is_ready(&client),
    );
    let p4runtime = format!("unix:{}", dir.p4runtime_socket().display());
    Ok(Status {
        lab: info.name,
        api: own.api.clone(),
        token: std::fs::read_to_string(dir.token_file()).ok(),
        socket: dir.api_socket().display().to_string(),
        phase: phase(&own, is_ready),
        processes: own.processes,
        programs: own.programs,
        switches: info
            .switches
            .into_iter()
            .map(|(name, switch)| SwitchStatus {
                connected: switches.get(&name).is_some_and(is_connected),
                name,
                device_id: switch.device_id,
                p4runtime: p4runtime.clone(),
            })
            .collect(),
        hosts: info
            .hosts
            .into_iter()
            .map(|(name, host)| HostStatus {
                name,
                addresses: host.addresses.iter().map(ToString::to_string).collect(),
                netns: host.netns,
            })
            .collect(),
        links: info
            .links
            .into_iter()
            .map(|(name, link)| {
                let seen = links.get(&name);
                LinkStatus {
                    state: seen
                        .and_then(|seen| seen["state"].as_str())
                        .unwrap_or("unknown")
                        .to_owned(),
                    impair: seen.map_or(Value::Null, |seen| seen["impair"].clone()),
                    name,
                    endpoints: link.endpoints,
                }
            })
            .collect(),
    })
}

/// The controller's word counts while it is there: it may have work again.
fn phase(own: &LabStatus, is_ready: Option<bool>) -> Phase {
    match (own.phase, is_ready) {
        (Phase::Ready, Some(true)) => Phase::Ready,
        (Phase::Ready, _) => Phase::Degraded,
        (phase, _) => phase,
    }
}

async fn is_ready(client: &ApiClient) -> Option<bool> {
    let answer = client.get("/v1/health/ready").await.ok()?;
    Some(answer.status.is_success())
}

fn is_connected(switch: &Value) -> bool {
    [&switch["connected"], &switch["status"]["connected"]]
        .into_iter()
        .any(|value| value == true)
}

/// A collection by its objects' names; empty when the controller is away.
async fn by_name(client: &ApiClient, path: &str) -> BTreeMap<String, Value> {
    let Ok(mut list) = target::list(client, path).await else {
        return BTreeMap::new();
    };
    let items = list["items"].as_array_mut().map(std::mem::take);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| Some((item["name"].as_str()?.to_owned(), item)))
        .collect()
}

fn show(status: &Status) {
    let phase = serde_json::to_value(status.phase).unwrap_or_default();
    print(&format!(
        "lab {}   {}   {}\n",
        status.lab,
        phase.as_str().unwrap_or_default(),
        status.api.as_deref().unwrap_or("no api"),
    ));
    let processes: Vec<String> = status
        .processes
        .iter()
        .map(|process| {
            let role = match process.role {
                Role::Dataplane => "data plane",
                Role::Controller => "controller",
            };
            format!("{role} {}", process.pid)
        })
        .collect();
    print(&format!("processes: {}\n\n", processes.join(", ")));
    let switches = status
        .switches
        .iter()
        .map(|switch| {
            let connected = if switch.connected { "yes" } else { "no" };
            [
                switch.name.clone(),
                switch.device_id.to_string(),
                connected.to_owned(),
            ]
        })
        .collect();
    print_table(["SWITCH", "DEVICE ID", "CONNECTED"], switches);
    print("\n");
    let hosts = status
        .hosts
        .iter()
        .map(|host| {
            [
                host.name.clone(),
                host.addresses.join(" "),
                host.netns.clone(),
            ]
        })
        .collect();
    print_table(["HOST", "ADDRESSES", "NETNS"], hosts);
    print("\n");
    let links = status
        .links
        .iter()
        .map(|link| [link.name.clone(), link.state.clone()])
        .collect();
    print_table(["LINK", "STATE"], links);
    if status.programs.is_empty() {
        return;
    }
    print("\n");
    let programs = status
        .programs
        .iter()
        .map(|program| {
            let state = program.ended.as_deref().unwrap_or("running");
            [
                program.host.clone(),
                program.cmd.join(" "),
                state.to_owned(),
                program.log.display().to_string(),
            ]
        })
        .collect();
    print_table(["HOST", "PROGRAM", "STATE", "OUTPUT"], programs);
}

/// A controller elsewhere: what its API says.
async fn remote(global: &Global) -> Result<(), Failure> {
    let client = target::api(global)?;
    let topology = target::call(&client, Method::GET, "/v1/topology", &[], None).await?;
    let switches = target::list(&client, "/v1/switches").await?;
    let links = target::list(&client, "/v1/links").await?;
    let ready = is_ready(&client).await == Some(true);
    let topology = topology.json();
    let phase = if ready { "ready" } else { "starting" };
    let status = json!({
        "lab": topology["name"],
        "api": global.api,
        "phase": phase,
        "switches": switches["items"],
        "links": links["items"],
    });
    match global.output {
        Format::Json => print_json(&status),
        Format::Table => {
            print(&format!("{phase}\n\n"));
            let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
            crate::output::print_objects(&items(&switches));
            print("\n");
            crate::output::print_objects(&items(&links));
        }
    }
    Ok(())
}
