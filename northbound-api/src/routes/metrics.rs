//! Numbers for monitoring, in the OpenMetrics text format, read when they are asked for.

use std::collections::BTreeMap;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use futures_util::future::join_all;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use weft_controller::status::{PortCounters, PortView, SwitchStatus};

use super::Answer;
use crate::problem::{Problem, ProblemDocument};
use crate::request::Call;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSwitch {
    switch: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTable {
    switch: String,
    table: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPort {
    switch: String,
    port: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDrop {
    switch: String,
    port: String,
    reason: String,
}

/// Counters and gauges of the controller and its switches.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (status = 200, description = "OpenMetrics text.", body = String, content_type = "application/openmetrics-text"),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn metrics(call: Call) -> Answer {
    call.params(&[])?;
    let snapshot = call.handle.metrics();
    let mut registry = Registry::default();
    of_switches(&mut registry, &snapshot.switches);
    let ports = snapshot.switches.keys().map(|switch| {
        let handle = &call.handle;
        async move {
            // A switch that is away has no counters now; the others still have theirs.
            let counters = handle.port_counters(switch).await.unwrap_or_default();
            let ports = handle.ports(switch).unwrap_or_default();
            (switch.as_str(), ports, counters)
        }
    });
    of_ports(&mut registry, join_all(ports).await);
    let numbers = [
        (
            "weft_flows",
            "Flows that are declared",
            snapshot.flows as u64,
        ),
        (
            "weft_store_revision",
            "Revision of the store",
            snapshot.revision.0,
        ),
    ];
    for (name, help, value) in numbers {
        let gauge = Gauge::<i64>::default();
        gauge.set(signed(value));
        registry.register(name, help, gauge);
    }
    let text = encode(&registry)
        .map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR, "not encoded"))?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

type Number<T> = (&'static str, &'static str, fn(&T) -> u64);

/// The encoder appends `_total`.
const COUNTERS: [Number<SwitchStatus>; 6] = [
    (
        "weft_switch_writes",
        "Entries and groups written to a switch since the process started",
        |status| status.totals.writes,
    ),
    (
        "weft_switch_write_requests",
        "Write requests sent to a switch",
        |status| status.totals.batches,
    ),
    (
        "weft_switch_rejected_updates",
        "Updates that a switch refused",
        |status| status.totals.rejected,
    ),
    (
        "weft_switch_reads",
        "Complete reads of a switch's state",
        |status| status.totals.reads,
    ),
    (
        "weft_reconcile_passes",
        "Passes that compared desired and observed state",
        |status| status.totals.reconciles,
    ),
    ("weft_switch_connects", "Sessions with a switch", |status| {
        status.totals.connects
    }),
];

const GAUGES: [Number<SwitchStatus>; 5] = [
    (
        "weft_switch_connected",
        "1 while the controller has a session with the switch and is primary",
        |status| status.connected.into(),
    ),
    (
        "weft_switch_desired_revision",
        "Revision that the switch shall reach",
        |status| status.desired_revision.0,
    ),
    (
        "weft_switch_observed_revision",
        "Revision that the switch has reached",
        |status| status.observed_revision.0,
    ),
    (
        "weft_switch_desired_entries",
        "Entries that the controller wants on the switch",
        |status| status.desired_entries as u64,
    ),
    (
        "weft_switch_foreign_entries",
        "Entries on the switch that others wrote",
        |status| status.foreign_entries as u64,
    ),
];

const PORT_COUNTERS: [Number<PortCounters>; 6] = [
    ("weft_port_rx_packets", "Wire segments received", |port| {
        port.rx_packets
    }),
    ("weft_port_rx_bytes", "Bytes received", |port| port.rx_bytes),
    (
        "weft_port_rx_frames",
        "Frames that crossed the device inward",
        |port| port.rx_frames,
    ),
    ("weft_port_tx_packets", "Wire segments sent", |port| {
        port.tx_packets
    }),
    ("weft_port_tx_bytes", "Bytes sent", |port| port.tx_bytes),
    (
        "weft_port_tx_frames",
        "Frames that crossed the device outward",
        |port| port.tx_frames,
    ),
];

fn of_switches(registry: &mut Registry, switches: &BTreeMap<String, SwitchStatus>) {
    let label = |switch: &String| OfSwitch {
        switch: switch.clone(),
    };
    for (name, help, read) in COUNTERS {
        let family = Family::<OfSwitch, Counter>::default();
        for (switch, status) in switches {
            family.get_or_create(&label(switch)).inc_by(read(status));
        }
        registry.register(name, help, family);
    }
    for (name, help, read) in GAUGES {
        let family = Family::<OfSwitch, Gauge>::default();
        for (switch, status) in switches {
            family
                .get_or_create(&label(switch))
                .set(signed(read(status)));
        }
        registry.register(name, help, family);
    }
    let used = Family::<OfTable, Gauge>::default();
    for (switch, status) in switches {
        for (table, entries) in &status.entries {
            let label = OfTable {
                switch: switch.clone(),
                table: table.clone(),
            };
            used.get_or_create(&label).set(signed(entries.used));
        }
    }
    registry.register("weft_table_entries", "Entries in a table", used);
}

type PortsOf<'a> = (&'a str, Vec<PortView>, BTreeMap<u32, PortCounters>);

fn of_ports(registry: &mut Registry, switches: Vec<PortsOf<'_>>) {
    let mut families = Vec::new();
    for (name, help, read) in PORT_COUNTERS {
        let family = Family::<OfPort, Counter>::default();
        registry.register(name, help, family.clone());
        families.push((family, read));
    }
    let drops = Family::<OfDrop, Counter>::default();
    registry.register(
        "weft_port_drops",
        "Packets dropped, by reason",
        drops.clone(),
    );
    for (switch, ports, counters) in &switches {
        for port in ports {
            let Some(counters) = counters.get(&port.number) else {
                continue;
            };
            let label = OfPort {
                switch: (*switch).to_owned(),
                port: port.name.clone(),
            };
            for (family, read) in &families {
                family.get_or_create(&label).inc_by(read(counters));
            }
            for (reason, count) in &counters.drops {
                let label = OfDrop {
                    switch: label.switch.clone(),
                    port: label.port.clone(),
                    reason: reason.clone(),
                };
                drops.get_or_create(&label).inc_by(*count);
            }
        }
    }
}

/// The registry as text, in the order of names and labels: the encoder itself goes by a hash, which differs with each
/// request.
fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    encode_registry(&mut text, registry)?;
    let mut families: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match families.last_mut() {
            Some((head, _)) if line.starts_with("# TYPE") => head.push(line),
            Some((_, samples)) if !line.starts_with('#') => samples.push(line),
            // A family begins with its `# HELP`.
            _ => families.push((vec![line], Vec::new())),
        }
    }
    families.sort_unstable();
    let mut sorted = String::with_capacity(text.len());
    for (head, mut samples) in families {
        samples.sort_unstable();
        for line in head.into_iter().chain(samples) {
            sorted.push_str(line);
            sorted.push('\n');
        }
    }
    encode_eof(&mut sorted)?;
    Ok(sorted)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
