//! What a trace notes on one switch; that it equals what packets do is shown on whole fabrics by the controller's tests.

use weft_proto::vocab::{FieldMatch, MatchKind};

use super::*;
use crate::fabric;
use crate::host::{PortSpec, SwitchSpec};
use crate::observe::Candidate;
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

#[test]
fn a_choice_tells_all_members_and_why_a_dead_one_was_not_chosen() {
    use weft_proto::vocab::{ActionCall, EntryKey, ParamId, TableAction, WeightedAction};
    let mut state = state();
    let schema = state.program().schema().clone();
    let action = |name: &str| schema.action_by_name(name).unwrap().id;
    let call = |name: &str, value: u128| ActionCall {
        action: action(name),
        params: vec![(ParamId(1), value)],
    };
    let entry = |table: &str, matches: &[u128], priority, action| {
        let table = schema.table_by_name(table).unwrap();
        let fields = table.fields.iter().zip(matches);
        TableEntry {
            key: EntryKey {
                table: table.id,
                matches: fields
                    .map(|(field, value)| (field.id, FieldMatch::Exact(*value)))
                    .collect(),
                priority,
            },
            action: Some(action),
            metadata: Vec::new(),
            is_default: false,
            idle_timeout_ns: 0,
        }
    };
    let flow = entry("flows", &[], 1, TableAction::Call(call("flow_group", 3)));
    state.insert(&flow).unwrap();
    // The switch has no port 9, so nothing leaves by it.
    let buckets = [9, 2].map(|port| WeightedAction {
        call: call("flow_output", port.into()),
        weight: 4,
        watch_port: Some(PortNo(port)),
    });
    let group = entry(
        "flow_failover",
        &[3],
        0,
        TableAction::OneShot(buckets.to_vec()),
    );
    state.insert(&group).unwrap();
    let walk = trace(state, 1);
    let [hop] = &walk.hops[..] else {
        panic!("{walk:?}");
    };
    let step = hop.steps.last().unwrap();
    assert_eq!(step.entry.as_ref(), Some(&group));
    let candidate = |port, alive| Candidate {
        member: None,
        weight: 4,
        watch_port: Some(PortNo(port)),
        alive,
    };
    let choice = Choice {
        group: None,
        members: vec![candidate(9, false), candidate(2, true)],
        chosen: Some(1),
    };
    assert_eq!(step.choice, Some(choice));
    assert_eq!(step.action, Some((action("flow_output"), vec![2])));
    let [copy] = &hop.copies[..] else {
        panic!("{hop:?}");
    };
    assert_eq!((copy.port, copy.session), (PortNo(2), None));
}

#[test]
fn copies_of_a_clone_session_are_told_apart_and_go_their_own_way() {
    use weft_proto::vocab::{CloneSession, Replica};
    let mut pipeline = fabric::pipeline();
    let drop = pipeline.actions.iter_mut();
    let drop = drop.into_iter().find(|action| action.name == "flow_drop");
    let session = ir::Expr::Const { value: 5, bits: 32 };
    drop.unwrap().ops.insert(0, ir::Op::Clone(session));
    let mut state = State::new(Arc::new(Program::new(pipeline).unwrap()));
    let schema = state.program().schema().clone();
    let replica = |port| Replica {
        port: PortNo(port),
        instance: 0,
    };
    let session = CloneSession {
        id: CloneSessionId(5),
        replicas: vec![replica(2), replica(7)],
        ..CloneSession::default()
    };
    state.insert_session(&session).unwrap();
    let table = schema.table_by_name("flows").unwrap();
    let drop = TableEntry {
        key: weft_proto::vocab::EntryKey {
            table: table.id,
            ..Default::default()
        },
        action: Some(weft_proto::vocab::TableAction::Call(
            weft_proto::vocab::ActionCall {
                action: schema.action_by_name("flow_drop").unwrap().id,
                params: Vec::new(),
            },
        )),
        metadata: Vec::new(),
        is_default: true,
        idle_timeout_ns: 0,
    };
    state.modify(&drop).unwrap();
    let walk = trace(state, 1);
    let hop = &walk.hops[0];
    let copies = hop.copies.iter();
    let copies: Vec<_> = copies
        .map(|copy| (copy.port.0, copy.session, copy.dropped))
        .collect();
    let of = Some(CloneSessionId(5));
    let missing = Some(DropReason::NO_SUCH_PORT);
    assert_eq!(copies, [(2, of, None), (7, of, missing)]);
    // The packet itself ends here, for its own reason.
    assert_eq!(hop.dropped, hop.steps.last().unwrap().dropped);
    assert!(hop.dropped.is_some());
}
