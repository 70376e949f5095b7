//! A switch of a small lab, programmed by the compile, in the middle of what its hosts and neighbours send.

use std::sync::{Arc, OnceLock};

use weft_controller::compile::{Change, Desired, Fabric, Subject, Update, diff};
use weft_controller::flow::{self, FlowSpec, NoReferences};
use weft_controller::load;
use weft_controller::model::{Model, Peer};
use weft_proto::vocab::PortNo;
use weft_switch::datapath::Datapath;
use weft_switch::ports::{PortInfo, PortSet};
use weft_switch::program::Program;
use weft_switch::state::State;

const LAB: &str = r#"
name: fuzz
topology:
  nodes:
    s[1-3]: { kind: switch }
    a: { kind: host, attach: s1, ip: [10.0.1.1/24, "2001:db8:1::1/64"], gateway: [10.0.1.254, "2001:db8:1::fe"] }
    l3: { kind: host, attach: s1, ip: [10.0.2.1/24, "2001:db8:2::1/64"], gateway: [10.0.2.254, "2001:db8:2::fe"] }
    b: { kind: host, attach: s2, ip: [10.0.1.2/24, "2001:db8:1::2/64"], gateway: [10.0.1.254, "2001:db8:1::fe"] }
    d: { kind: host, attach: s3, mtu: 1280, ip: [10.0.2.2/24, "2001:db8:2::2/64"], gateway: [10.0.2.254, "2001:db8:2::fe"] }
  links:
    - endpoints: [s1, s2]
    - endpoints: [s2, s3]
    - endpoints: [s1, s3]
"#;

/// The host whose port has no Ethernet.
const L3_HOST: &str = "l3";

/// The switch under test.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) datapath: Datapath,
    pub(crate) program: Arc<Program>,
    /// The switch's ports, hosts' first, and the controller's.
    pub(crate) ports: Vec<PortNo>,
    pub(crate) model: Model,
    pub(crate) desired: Desired,
}

/// The switch, made once.
pub(crate) fn edge() -> &'static Edge {
    static EDGE: OnceLock<Edge> = OnceLock::new();
    EDGE.get_or_init(|| {
        let model = load::model(LAB.as_bytes(), "fuzz.yaml", None).expect("the lab is right");
        make(model)
    })
}

fn make(model: Model) -> Edge {
    let program = Program::new(weft_switch::fabric::pipeline()).expect("the fabric is right");
    let program = Arc::new(program);
    let fabric = Fabric::new(&model, &Default::default(), program.schema());
    let fabric = fabric.expect("the model is right");
    let mut desired = fabric.switch("s1").expect("the model has it");
    let switch = &model.switches["s1"];
    let names = switch.ports.iter();
    let names = names.map(|(number, port)| (port.name.clone(), *number));
    let names = names.collect();
    for flow in flows(switch.ports.values().map(|port| port.name.as_str())) {
        let compiled = flow::compile(program.schema(), &names, "s1", &flow, &NoReferences);
        let compiled = compiled.expect("the flow is right");
        for entry in compiled.entries {
            desired.insert(entry).expect("the flows differ");
        }
        let groups = compiled.groups.into_iter();
        desired.groups.extend(groups.map(|group| (group.id, group)));
    }
    let mut state = State::new(Arc::clone(&program));
    for Update { change, subject } in diff(&Desired::default(), &desired).updates() {
        assert_eq!(*change, Change::Insert);
        match subject {
            Subject::Entry(entry) => state.insert(entry),
            Subject::Group(group) => state.insert_group(group),
            Subject::Meter(cell) => state.set_meter(cell.meter, Some(cell.index), cell.config),
        }
        .expect("the compile fits the pipeline");
    }
    let info = |port: &weft_controller::model::Port| PortInfo {
        mtu: port.mtu,
        up: true,
        is_l2: !matches!(&port.peer, Peer::Host { host, .. } if host == L3_HOST),
    };
    let ports: PortSet = switch
        .ports
        .iter()
        .map(|(number, port)| (*number, info(port)))
        .collect();
    let datapath = Datapath {
        device: switch.device_id,
        state,
        ports,
        salt: 7,
    };
    let mut ports: Vec<PortNo> = switch.ports.keys().copied().collect();
    let is_link = |port: &PortNo| matches!(switch.ports[port].peer, Peer::Switch { .. });
    ports.sort_by_key(is_link);
    ports.push(PortNo::CPU);
    Edge {
        datapath,
        program,
        ports,
        desired,
        model,
    }
}

/// Flows that rewrite, tag and copy what comes their way.
fn flows<'a>(ports: impl Iterator<Item = &'a str>) -> Vec<FlowSpec> {
    let ports: Vec<&str> = ports.collect();
    let flows = serde_json::json!([
        { "priority": 9, "match": { "tcp_dst": 7 }, "actions": ["drop"] },
        { "priority": 8, "match": { "udp_dst": 7 }, "actions": ["controller"] },
        { "priority": 7, "match": { "udp_dst": 9 }, "actions": [{ "pushVlan": 100 }, { "output": ports }] },
        { "priority": 6, "match": { "vlan_vid": 5 }, "actions": [{ "popVlan": true }, "normal"] },
        { "priority": 5, "match": { "tcp_dst": 9, "eth_type": "0x0800" },
          "actions": [{ "set": { "ip_dscp": 18, "ipv4_dst": "10.0.2.2", "tcp_dst": 80 } }, { "decTtl": true }, "normal"] },
    ]);
    serde_json::from_value(flows).expect("the flows are right")
}
