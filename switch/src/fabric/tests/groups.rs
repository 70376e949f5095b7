//! Flows that send to groups: a hash chooses, or the first bucket that lives.

use std::collections::BTreeMap;

use weft_proto::vocab::ParamId;

use super::*;

/// Ports 11 to 14, on a switch without a fabric, whose only flow sends everything to group 7.
struct Bed {
    datapath: Datapath,
}

fn flow(schema: &Schema, action: &str, args: &[(&str, u128)]) -> TableEntry {
    let table = schema.table_by_name("flows").unwrap();
    let action = schema.action_by_name(action).unwrap();
    let args: BTreeMap<&str, u128> = args.iter().copied().collect();
    let params = action.params.iter();
    let params: Vec<(ParamId, u128)> = params
        .map(|param| {
            (
                param.id,
                args.get(param.name.as_str()).copied().unwrap_or(0),
            )
        })
        .collect();
    TableEntry {
        key: EntryKey {
            table: table.id,
            priority: 1,
            ..EntryKey::default()
        },
        action: Some(TableAction::Call(ActionCall {
            action: action.id,
            params,
        })),
        metadata: Vec::new(),
        is_default: false,
        idle_timeout_ns: 0,
    }
}

/// A group's entry: port, weight.
fn group(schema: &Schema, table: &str, buckets: &[(u32, u32)]) -> TableEntry {
    let member = |&(port, weight): &(u32, u32)| {
        let one = entry(
            schema,
            table,
            &[("group", 7)],
            ("flow_output", &[port.into()]),
        );
        let Some(TableAction::OneShot(members)) = one.action else {
            panic!("{table} has no selector");
        };
        WeightedAction {
            weight,
            watch_port: Some(PortNo(port)),
            ..members[0].clone()
        }
    };
    TableEntry {
        action: Some(TableAction::OneShot(buckets.iter().map(member).collect())),
        ..entry(schema, table, &[("group", 7)], ("flow_output", &[0]))
    }
}

impl Bed {
    fn new(entries: impl FnOnce(&Schema) -> Vec<TableEntry>) -> Self {
        let program = Arc::new(program());
        let mut state = State::new(Arc::clone(&program));
        for entry in entries(program.schema()) {
            state.insert(&entry).unwrap();
        }
        let mut datapath = datapath(state);
        for port in 11..15 {
            datapath.ports.insert(
                PortNo(port),
                PortInfo {
                    mtu: 1500,
                    up: true,
                    is_l2: true,
                },
            );
        }
        Self { datapath }
    }

    /// The port by which a frame leaves, and its bytes; or why it does not.
    fn send(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), String> {
        let mut out = Vec::new();
        let packet = Packet::from_bytes(frame);
        let cx = &mut Scratch::default();
        self.datapath
            .process(cx, PortNo(1), packet, Nanos(0), &mut out);
        match &out[..] {
            [Emit::Port { port, packet }] => Ok((port.0, packet.head().to_vec())),
            [Emit::Dropped { reason }] => {
                let program = self.datapath.state.program();
                Err(program.drop_name(*reason).to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    fn port(&self, frame: &[u8]) -> u32 {
        self.send(frame).unwrap().0
    }

    /// How many of these frames leave by each port.
    fn spread(&self, frames: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<u32, u32> {
        let mut spread = BTreeMap::new();
        for frame in frames {
            *spread.entry(self.port(&frame)).or_default() += 1;
        }
        spread
    }
}

const SELECT: [(u32, u32); 4] = [(11, 1), (12, 1), (13, 1), (14, 3)];

fn select() -> Bed {
    Bed::new(|schema| {
        vec![
            flow(schema, "flow_group", &[("group", 7)]),
            group(schema, "flow_groups", &SELECT),
        ]
    })
}

fn udp4(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), id: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 28]);
    frame.extend(id.to_be_bytes());
    frame.extend([0, 0, 64, 17, 0, 0]);
    frame.extend(src);
    frame.extend(dst);
    udp(&mut frame, ports);
    frame
}

fn udp6(src: u128, dst: u128, ports: (u16, u16)) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
    frame.extend(src.to_be_bytes());
    frame.extend(dst.to_be_bytes());
    udp(&mut frame, ports);
    frame
}

fn udp(frame: &mut Vec<u8>, (src, dst): (u16, u16)) {
    frame.extend(src.to_be_bytes());
    frame.extend(dst.to_be_bytes());
    frame.extend([0, 8, 0, 0]);
}

#[test]
fn a_group_spreads_flows_by_weight_in_both_families() {
    let bed = select();
    let v4 = (0..3_000).map(|port| udp4([10, 0, 0, 1], [10, 0, 0, 2], (port, 80), 1));
    let v6 = (0..3_000).map(|port| udp6(1, 2, (port, 80)));
    for spread in [bed.spread(v4), bed.spread(v6)] {
        for (port, weight) in SELECT {
            let wanted = 500 * weight;
            assert!(spread[&port].abs_diff(wanted) < 100, "{spread:?}");
        }
    }
}

#[test]
fn a_flow_stays_on_its_bucket_and_moves_only_with_the_buckets_port() {
    let mut bed = select();
    let frames: Vec<_> = (0..500)
        .map(|port| udp4([10, 0, 0, 1], [10, 0, 0, 2], (port, 80), port))
        .collect();
    let before: Vec<u32> = frames.iter().map(|frame| bed.port(frame)).collect();
    assert!(before.contains(&12));
    bed.datapath.ports.set_up(PortNo(12), false);
    for (frame, before) in frames.iter().zip(&before) {
        let now = bed.port(frame);
        assert!(if *before == 12 {
            now != 12
        } else {
            now == *before
        });
    }
    for port in [11, 13, 14] {
        bed.datapath.ports.set_up(PortNo(port), false);
    }
    assert_eq!(bed.send(&frames[0]), Err("empty-group".to_owned()));
}

#[test]
fn failover_takes_the_first_bucket_that_lives_and_goes_back() {
    let mut bed = Bed::new(|schema| {
        vec![
            flow(schema, "flow_group", &[("group", 7)]),
            group(schema, "flow_failover", &[(13, 1), (11, 5), (12, 9)]),
        ]
    });
    let frame = udp4([10, 0, 0, 1], [10, 0, 0, 2], (1, 2), 0);
    assert_eq!(bed.port(&frame), 13);
    bed.datapath.ports.set_up(PortNo(13), false);
    assert_eq!(bed.port(&frame), 11);
    bed.datapath.ports.set_up(PortNo(11), false);
    assert_eq!(bed.port(&frame), 12);
    bed.datapath.ports.set_up(PortNo(13), true);
    assert_eq!(bed.port(&frame), 13);
}

#[test]
fn edits_come_before_the_group_and_the_hash_sees_them() {
    let bed = Bed::new(|schema| {
        let edit = schema.action_by_name("flow_edit").unwrap();
        let src = edit.params.iter().find(|param| param.name == "ipv4_src");
        let set = arguments(&src.unwrap().annotations, "set")[0];
        let bit: u32 = set.split_once(',').unwrap().1.parse().unwrap();
        let args = [
            ("edits", 1 << bit),
            ("ipv4_src", 0x0a09_0909),
            ("verdict", 6),
            ("group", 7),
        ];
        vec![
            flow(schema, "flow_edit", &args),
            group(schema, "flow_groups", &SELECT),
        ]
    });
    let (first, bytes) = bed
        .send(&udp4([10, 0, 0, 1], [10, 0, 0, 2], (1, 2), 0))
        .unwrap();
    assert_eq!(bytes[26..30], [10, 9, 9, 9]);
    // All senders look alike once they are rewritten.
    let others = (0..50).map(|host| udp4([10, 0, 1, host], [10, 0, 0, 2], (1, 2), 0));
    assert_eq!(bed.spread(others), BTreeMap::from([(first, 50)]));
}

#[test]
fn a_group_may_hash_other_fields_than_the_usual_ones() {
    let with = |word: &'static str| {
        Bed::new(move |schema| {
            let action = schema.action_by_name("hash_fields").unwrap();
            let bits = arguments(&action.params[0].annotations, "bit");
            let found = bits.iter().find_map(|text| {
                let (known, bit) = text.split_once(',')?;
                (known == word).then(|| bit.parse::<u32>().unwrap())
            });
            let fields = 1 << found.unwrap();
            vec![
                flow(schema, "flow_group", &[("group", 7)]),
                group(schema, "flow_groups", &SELECT),
                entry(
                    schema,
                    "flow_hash",
                    &[("group", 7)],
                    ("hash_fields", &[fields]),
                ),
            ]
        })
    };
    let by_source_port =
        || (0..200).map(|port| udp4([10, 0, 0, 1], [10, 0, 0, 2], (port, 80), port));
    let by_host = || (0..200).map(|host| udp4([10, 0, 0, host], [10, 0, 0, 2], (1, 80), 0));
    for (word, ports, hosts) in [
        ("ipv4_src", 1, 4),
        ("ipv4_dst", 1, 1),
        ("ip_proto", 1, 1),
        ("l4", 4, 1),
        ("l4_src", 4, 1),
        ("l4_dst", 1, 1),
        ("eth_src", 1, 1),
    ] {
        let bed = with(word);
        assert_eq!(bed.spread(by_source_port()).len(), ports, "{word}");
        assert_eq!(bed.spread(by_host()).len(), hosts, "{word}");
    }
    // What is no IP is spread by its addresses all the same.
    let macs = (0..200).map(|host| {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, host, 0x88, 0xb5];
        frame.resize(60, 0);
        frame
    });
    assert_eq!(with("ipv4_src").spread(macs).len(), 4);
}

#[test]
fn a_number_that_is_no_group_drops() {
    let frame = udp4([10, 0, 0, 1], [10, 0, 0, 2], (1, 2), 0);
    for number in [0, 8] {
        let bed = Bed::new(|schema| {
            vec![
                flow(schema, "flow_group", &[("group", number)]),
                group(schema, "flow_groups", &SELECT),
            ]
        });
        assert_eq!(bed.send(&frame), Err(drops::NO_GROUP.to_owned()));
    }
}

#[test]
fn labels_are_taken_off_by_the_bucket() {
    let bed = select();
    let inner = udp4([10, 0, 0, 1], [10, 0, 0, 2], (9, 80), 0);
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0x47];
    frame.extend([0, 1, 0x00, 64, 0x80, 0, 0x11, 64, 0, 0, 0, 0]);
    frame.extend(&inner);
    let (port, bytes) = bed.send(&frame).unwrap();
    assert_eq!((port, bytes), bed.send(&inner).unwrap());
}

#[test]
fn tables_and_modes_are_told_by_annotations() {
    let program = program();
    let schema = program.schema();
    let mut seen = BTreeMap::new();
    for table in schema.tables() {
        for kind in arguments(&table.annotations, "weft_groups") {
            let key = &table.fields[0];
            assert_eq!(arguments(&key.annotations, "arg"), ["group"]);
            let mode = table.profile.map(|id| {
                let profile = schema.profile(id).unwrap();
                arguments(&profile.annotations, "weft_select")[0].to_owned()
            });
            seen.insert(kind.to_owned(), mode);
        }
    }
    let mode = |mode: &str| Some(mode.to_owned());
    assert_eq!(
        seen,
        BTreeMap::from([
            ("select".to_owned(), mode("hash")),
            ("failover".to_owned(), mode("firstLive")),
            ("hash".to_owned(), None),
        ])
    );
}
