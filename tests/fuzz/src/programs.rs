//! Pipeline programs as a client pushes them: JSON, the validator, and frames through what it lets pass.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use weft_proto::schema::Schema;
use weft_proto::vocab::{DeviceId, PortNo};
use weft_switch::datapath::{Datapath, Nanos, Scratch};
use weft_switch::ir::Pipeline;
use weft_switch::packet::Packet;
use weft_switch::ports::{PortInfo, PortSet};
use weft_switch::program::Program;
use weft_switch::state::State;

use crate::frames;
use crate::mutate::Bytes;

/// JSON; or, where the first byte is 0, the built-in pipeline with the changes that the other bytes say.
pub fn run(data: &[u8]) {
    let pipeline = match data.split_first() {
        Some((0, changes)) => serde_json::from_value(changed(changes)),
        _ => serde_json::from_slice(data),
    };
    let Ok(pipeline) = pipeline else { return };
    check(pipeline);
}

/// Whatever passes the validator runs, and describes itself.
fn check(pipeline: Pipeline) {
    let Ok(program) = Program::new(pipeline) else {
        return;
    };
    if let Err(error) = Schema::new(program.p4info()) {
        panic!("what P4Info says of a valid program is not valid: {error}");
    }
    let text = serde_json::to_vec(program.pipeline()).expect("a pipeline is JSON");
    let again: Pipeline = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(&again, program.pipeline());
    let info = PortInfo {
        mtu: 1500,
        up: true,
        is_l2: true,
    };
    let bare = PortInfo {
        is_l2: false,
        ..info
    };
    let ports: PortSet = [(PortNo(1), info), (PortNo(2), bare)].into_iter().collect();
    let datapath = Datapath {
        device: DeviceId(1),
        state: State::new(Arc::new(program)),
        ports,
        salt: 1,
    };
    let mut scratch = Scratch::default();
    let mut out = Vec::new();
    for frame in frames::kinds() {
        for port in [PortNo(1), PortNo(2), PortNo::CPU] {
            let packet = Packet::from_bytes(&frame);
            datapath.process(&mut scratch, port, packet, Nanos(1), &mut out);
            out.clear();
        }
    }
}

/// The built-in pipeline as JSON.
fn built_in() -> &'static Value {
    static BUILT_IN: OnceLock<Value> = OnceLock::new();
    BUILT_IN.get_or_init(|| {
        serde_json::to_value(weft_switch::fabric::pipeline()).expect("a pipeline is JSON")
    })
}

fn changed(changes: &[u8]) -> Value {
    let mut value = built_in().clone();
    let mut bytes = Bytes(changes);
    while !bytes.0.is_empty() {
        change(&mut value, &mut bytes);
    }
    value
}

/// One change: a walk down to some part, and what becomes of it.
fn change(root: &mut Value, bytes: &mut Bytes<'_>) {
    let mut at = root;
    for _ in 0..12 {
        let choice = usize::from(bytes.u16());
        let len = match at {
            Value::Object(members) => members.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if len == 0 || choice % 8 == 7 {
            break;
        }
        let below = match at {
            Value::Object(members) => members.values_mut().nth(choice / 8 % len),
            Value::Array(items) => items.get_mut(choice / 8 % len),
            _ => None,
        };
        let Some(below) = below else { return };
        at = below;
    }
    alter(at, bytes);
}

fn alter(value: &mut Value, bytes: &mut Bytes<'_>) {
    const NUMBERS: [u64; 12] = [0, 1, 2, 7, 8, 31, 32, 63, 64, 128, 65_535, u64::MAX];
    let choice = usize::from(bytes.u8());
    match value {
        Value::Number(_) => *value = NUMBERS[choice % NUMBERS.len()].into(),
        Value::Bool(is) => *is = !*is,
        // Names of other things: of fields, of tables, of nothing.
        Value::String(text) => {
            let names = [
                "",
                "ipv4.ttl",
                "eth.dst",
                "mpls",
                "mpls[0].label",
                "drop",
                "routes",
                "start",
                "vni",
            ];
            names[choice % names.len()].clone_into(text);
        }
        Value::Array(items) => match (choice % 4, items.len()) {
            (0, _) => items.clear(),
            (1, len) if len > 0 => {
                items.remove(choice / 4 % len);
            }
            (2, len) if len > 0 => {
                let copy = items[choice / 4 % len].clone();
                items.push(copy);
            }
            (_, len) if len > 1 => items.swap(0, choice / 4 % len),
            _ => {}
        },
        Value::Object(members) => {
            let key = members.keys().nth(choice % members.len().max(1)).cloned();
            if let Some(key) = key {
                members.remove(&key);
            }
        }
        Value::Null => *value = Value::from(choice),
    }
}

/// Changes of the built-in pipeline, and small programs of every part of the representation.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0]];
    for step in 0u8..24 {
        let walk = (0u8..20).map(|index| index.wrapping_mul(step).wrapping_add(step));
        seeds.push(std::iter::once(0).chain(walk).collect());
    }
    seeds
}
