//! What a trace notes on one switch; that it equals what packets do is shown on whole fabrics by the controller's tests.

use weft_proto::vocab::{FieldMatch, MatchKind};

use super::*;
use crate::fabric;
use crate::host::{PortSpec, SwitchSpec};
use crate::ports::Medium;

fn wiring() -> Arc<Wiring> {
    let ports = (1..=2).map(|number| PortSpec {
        number: PortNo(number),
        name: format!("p{number}"),
        mtu: 1500,
        medium: Medium::L2,
    });
    let switch = SwitchSpec {
        name: "s1".into(),
        device_id: DeviceId(1),
        ports: ports.collect(),
    };
    Arc::new(Wiring::new(vec![switch], Vec::new()).unwrap())
}

fn state() -> State {
    State::new(Arc::new(Program::new(fabric::pipeline()).unwrap()))
}

fn at(port: u32) -> Endpoint {
    Endpoint {
        device: DeviceId(1),
        port: PortNo(port),
    }
}

fn trace(state: State, port: u32) -> Walk {
    let states = [(DeviceId(1), state)];
    walk(
        wiring(),
        states,
        at(port),
        Packet::from_bytes(&[0xff; 60]),
        Nanos(0),
    )
}

#[test]
fn a_flow_that_drops_is_named_by_its_entry_and_not_counted() {
    use weft_proto::vocab::{ActionCall, EntryKey, TableAction};
    let mut state = state();
    let schema = state.program().schema().clone();
    let table = schema.table_by_name("flows").unwrap();
    let action = schema.action_by_name("flow_drop").unwrap().id;
    let in_port = table.field_by_name("in_port").unwrap();
    assert_eq!(in_port.kind, MatchKind::Optional);
    let entry = TableEntry {
        key: EntryKey {
            table: table.id,
            matches: [(in_port.id, FieldMatch::Optional(1))].into(),
            priority: 7,
        },
        action: Some(TableAction::Call(ActionCall {
            action,
            params: Vec::new(),
        })),
        metadata: b"mine".to_vec(),
        is_default: false,
        idle_timeout_ns: 0,
    };
    state.insert(&entry).unwrap();
    let walk = trace(state.clone(), 1);
    let [hop] = &walk.hops[..] else {
        panic!("{walk:?}");
    };
    assert_eq!((hop.in_port, &hop.copies[..]), (PortNo(1), &[][..]));
    assert_eq!(hop.headers, ["eth"]);
    let step = hop.steps.last().unwrap();
    assert_eq!(step.entry.as_ref(), Some(&entry));
    assert!(step.hit && step.dropped.is_some());
    assert_eq!(step.action, Some((action, Vec::new())));
    assert_eq!(hop.dropped, step.dropped);
    let counter = state.entries(table.id)[0].counter.unwrap().value();
    assert_eq!((counter.packets, counter.bytes), (0, 0));

    // By the other port the default lets it pass, and the fabric knows no such network.
    let walk = trace(state, 2);
    let reason = walk.hops[0].dropped.unwrap();
    let program = Program::new(fabric::pipeline()).unwrap();
    assert_eq!(program.drop_name(reason), fabric::drops::NO_NETWORK);
}

#[test]
fn a_switch_without_pipeline_has_no_steps() {
    let none: [(DeviceId, State); 0] = [];
    let packet = Packet::from_bytes(&[0xff; 60]);
    let walk = walk(wiring(), none, at(1), packet, Nanos(0));
    assert_eq!(walk.hops.len(), 1);
    assert_eq!(walk.hops[0].dropped, Some(DropReason::NO_PIPELINE));
    assert!(walk.hops[0].steps.is_empty());
}
