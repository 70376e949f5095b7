//! The controller against real switches in this process: what is declared is what they hold, and nothing is written
//! without need.

#![expect(clippy::unwrap_used, reason = "a failed test says where")]

mod bring_up;
mod foreign;
mod lab;
mod places;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lab::{Lab, SOON, memory, wait_for, writes};
use serde_json::{Value, json};
use weft_controller::handle::{
    DeleteResource, Handle, HandleError, IfMatch, PatchLink, PutAnswer, PutResource, ResourceView,
    WriteContext, WriteOutcome,
};
use weft_controller::model::Interface;
use weft_controller::resource::{Kind, Place};
use weft_controller::status::{ConditionType, OperState, Phase};
use weft_controller::store::{Op, Revision, SqliteStore, Store, Txn};
use weft_proto::codec;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::p4_runtime_client::P4RuntimeClient;
use weft_proto::vocab::{CounterValue, TableEntry};

const TWO_SWITCHES: &str = "
name: two
topology:
  nodes:
    s[1-2]: { kind: switch }
    h[1-2]: { kind: host }
  links:
    - { name: trunk, endpoints: ['s1:east', 's2:west'] }
    - endpoints: ['h1:eth0', 's1:h1']
    - endpoints: ['h2:eth0', 's2:h2']
";

fn drop_flow(priority: u16, destination: &str) -> Value {
    json!({ "priority": priority, "match": { "ipv4_dst": destination }, "actions": ["drop"] })
}

fn by(owner: &str) -> WriteContext {
    WriteContext {
        owner: owner.to_owned(),
        ..WriteContext::default()
    }
}

fn put(switch: &str, name: &str, spec: Value, context: WriteContext) -> PutResource {
    PutResource {
        place: Place::flow(switch, name),
        spec,
        context,
    }
}

fn delete(switch: &str, name: &str) -> DeleteResource {
    DeleteResource {
        place: Place::flow(switch, name),
        context: by("ci"),
    }
}

async fn declare(handle: &Handle, switch: &str, name: &str, spec: Value) -> PutAnswer {
    handle.put(put(switch, name, spec, by("ci"))).await.unwrap()
}

async fn counted(handle: &Handle, switch: &str, name: &str) -> ResourceView {
    let place = Place::flow(switch, name);
    handle.resource_with_counters(&place).await.unwrap()
}

async fn realized(handle: &Handle, switch: &str, revision: Revision) {
    assert!(handle.wait_realized(switch, revision, SOON).await.unwrap());
}

/// All entries of a switch, read by another client; none where it has no pipeline yet.
async fn entries(lab: &Lab, switch: &str) -> Vec<TableEntry> {
    let schema = weft_proto::schema::Schema::new(&lab.pipeline.p4info).unwrap();
    let mut client = P4RuntimeClient::new(lab.channel()).max_decoding_message_size(64 << 20);
    let request = wire::ReadRequest {
        device_id: lab.device(switch).0,
        entities: vec![codec::encode_query(&codec::Query::Entries(
            codec::EntryFilter::default(),
        ))],
        ..Default::default()
    };
    let mut answer = match client.read(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == tonic::Code::FailedPrecondition => return Vec::new(),
        Err(status) => panic!("{status}"),
    };
    let mut entries = Vec::new();
    while let Some(part) = answer.message().await.unwrap() {
        for entity in part.entities {
            let Some(wire::entity::Entity::TableEntry(entry)) = entity.entity else {
                continue;
            };
            entries.push(codec::decode_entry(&schema, &entry).unwrap());
        }
    }
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

#[tokio::test]
async fn a_restarted_controller_writes_nothing() {
    let lab = Lab::new(TWO_SWITCHES);
    let dir = tempfile::tempdir().unwrap();
    let open = || async {
        Arc::new(
            SqliteStore::open(dir.path().join("store.sqlite"))
                .await
                .unwrap(),
        ) as Arc<dyn Store>
    };
    let first = lab.ready_controller(open().await).await;
    assert!(writes(&first.handle) > 0);
    let stored = declare(&first.handle, "s1", "no", drop_flow(10, "10.9.0.0/16")).await;
    realized(&first.handle, "s1", stored.resource.revision).await;
    let before = (entries(&lab, "s1").await, entries(&lab, "s2").await);
    first.stop().await;
    assert_eq!(
        (entries(&lab, "s1").await, entries(&lab, "s2").await),
        before
    );

    let second = lab.ready_controller(open().await).await;
    assert_eq!(writes(&second.handle), 0);
    let flow = second.handle.resource(&Place::flow("s1", "no")).unwrap();
    assert_eq!(
        (flow.revision, flow.status.phase),
        (stored.resource.revision, Phase::Realized)
    );
    assert_eq!(
        (entries(&lab, "s1").await, entries(&lab, "s2").await),
        before
    );
    second.stop().await;
}

#[tokio::test]
async fn a_flow_is_on_the_switch_until_it_is_deleted() {
    let lab = Lab::new(TWO_SWITCHES);
    let running = lab.ready_controller(memory()).await;
    let handle = &running.handle;
    let fabric = entries(&lab, "s1").await;

    let first = declare(handle, "s1", "no", drop_flow(10, "10.9.0.0/16")).await;
    assert_eq!((first.outcome, first.diff.add), (WriteOutcome::Created, 1));
    realized(handle, "s1", first.resource.revision).await;
    let flow = counted(handle, "s1", "no").await;
    assert_eq!(flow.status.phase, Phase::Realized);
    assert_eq!(
        flow.status.counters.map(|counters| counters.packets),
        Some(0)
    );
    let with_flow = entries(&lab, "s1").await;
    assert_eq!(with_flow.len(), fabric.len() + 1);

    // The same again: nothing happens.
    let written = writes(handle);
    let again = declare(handle, "s1", "no", drop_flow(10, "10.9.0.0/16")).await;
    assert_eq!(
        (again.outcome, again.resource.revision),
        (WriteOutcome::Unchanged, first.resource.revision)
    );
    assert!(handle.wait_settled(SOON).await);
    assert_eq!(writes(handle), written);

    // Another priority is another key: one entry goes, one comes.
    let changed = declare(handle, "s1", "no", drop_flow(11, "10.9.0.0/16")).await;
    assert_eq!(
        (changed.outcome, changed.diff.add, changed.diff.remove),
        (WriteOutcome::Updated, 1, 1)
    );
    realized(handle, "s1", changed.resource.revision).await;
    assert_eq!(entries(&lab, "s1").await.len(), fabric.len() + 1);
    assert_eq!(writes(handle), written + 2);

    let deleted = handle.delete(delete("s1", "no")).await.unwrap();
    realized(handle, "s1", deleted.revision).await;
    assert_eq!(entries(&lab, "s1").await, fabric);
    assert!(matches!(
        handle.resource(&Place::flow("s1", "no")),
        Err(HandleError::NotFound { kind: "flow", .. })
    ));
    assert!(matches!(
        handle.delete(delete("s1", "no")).await,
        Err(HandleError::NotFound { .. })
    ));
    // A revision that changed nothing on the other switch is reached there too.
    let other = handle.switch("s2").unwrap().status;
    assert_eq!(other.observed_revision, deleted.revision);
    running.stop().await;
}

/// A datagram from one host to another, as it leaves the first.
fn datagram(lab: &Lab, from: &str, to: &str) -> Vec<u8> {
    let interface = |host: &str| lab.model.hosts[host].interfaces[0].clone();
    let (from, to) = (interface(from), interface(to));
    let address = |interface: &Interface| match interface.addresses[0].addr() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => panic!("addresses are given from IPv4"),
    };
    let mut frame = [&to.mac.0[..], &from.mac.0, &[8, 0]].concat();
    let mut header = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(address(&from));
    header.extend(address(&to));
    let sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    // Ports 4000 and 5000, no UDP checksum, four bytes.
    frame.extend([0x0f, 0xa0, 0x13, 0x88, 0, 12, 0, 0, b'w', b'e', b'f', b't']);
    frame
}

#[tokio::test]
async fn packets_follow_what_is_declared() {
    let lab = Lab::new(TWO_SWITCHES);
    let running = lab.ready_controller(memory()).await;
    let handle = &running.handle;
    let frame = datagram(&lab, "h1", "h2");
    let passes = || {
        lab.port("h1").send(&frame);
        let received = lab.port("h2").receive(Duration::from_millis(300));
        received.is_some_and(|received| received == frame)
    };
    assert!(passes());
    let address = lab.model.hosts["h2"].address().unwrap();
    let stored = declare(handle, "s2", "no", drop_flow(10, &address.to_string()))
        .await
        .resource;
    realized(handle, "s2", stored.revision).await;
    assert!(!passes());
    let flow = counted(handle, "s2", "no").await;
    assert_eq!(
        flow.status.counters,
        Some(CounterValue {
            packets: 1,
            bytes: 46
        })
    );
    let deleted = handle.delete(delete("s2", "no")).await.unwrap();
    realized(handle, "s2", deleted.revision).await;
    assert!(passes());
    running.stop().await;
    // Without a controller everything goes on.
    assert!(passes());
}

#[tokio::test]
async fn conditions_and_owners_guard_flows() {
    let lab = Lab::new(TWO_SWITCHES);
    let running = lab.ready_controller(memory()).await;
    let handle = &running.handle;
    let stored = declare(handle, "s1", "a", drop_flow(10, "10.9.0.0/16"))
        .await
        .resource;
    let attempt = |context| handle.put(put("s1", "a", drop_flow(12, "10.9.0.0/16"), context));

    let stale = WriteContext {
        if_match: Some(IfMatch::OneOf(vec![Revision(1)])),
        ..by("ci")
    };
    let refused = attempt(stale).await;
    assert!(
        matches!(refused, Err(HandleError::PreconditionFailed { current }) if current == Some(stored.revision))
    );
    let create = WriteContext {
        only_create: true,
        ..by("ci")
    };
    assert!(matches!(
        attempt(create).await,
        Err(HandleError::PreconditionFailed { .. })
    ));
    assert!(
        matches!(attempt(by("other")).await, Err(HandleError::OwnedByOther { owner, .. }) if owner == "ci")
    );
    let dry = attempt(WriteContext {
        dry_run: true,
        ..by("ci")
    })
    .await
    .unwrap();
    assert_eq!(
        (dry.outcome, dry.diff.add, dry.diff.remove),
        (WriteOutcome::Updated, 1, 1)
    );
    assert_eq!(
        handle.resource(&Place::flow("s1", "a")).unwrap().spec,
        stored.spec
    );

    let taken = WriteContext {
        force: true,
        ..by("other")
    };
    assert_eq!(attempt(taken).await.unwrap().resource.owner, "other");
    let twin = handle
        .put(put("s1", "b", drop_flow(12, "10.9.0.0/16"), by("ci")))
        .await;
    assert!(matches!(twin, Err(HandleError::Conflict { with, .. }) if with == "a"));
    let wrong = handle
        .put(put("s1", "..", drop_flow(1, "10.0.0.0/8"), by("ci")))
        .await;
    assert!(matches!(wrong, Err(HandleError::Invalid { .. })));
    let nowhere = handle
        .put(put("s9", "a", drop_flow(1, "10.0.0.0/8"), by("ci")))
        .await;
    assert!(matches!(
        nowhere,
        Err(HandleError::NotFound { kind: "switch", .. })
    ));
    running.stop().await;
}

#[tokio::test]
async fn declared_link_states_reach_the_data_plane_and_the_paths() {
    let lab = Lab::new(
        "
name: triangle
topology:
  nodes:
    s[1-3]: { kind: switch }
    h[1-2]: { kind: host }
  links:
    - { name: direct, endpoints: ['s1:a', 's2:a'] }
    - endpoints: ['s1:b', 's3:b']
    - endpoints: ['s3:a', 's2:b']
    - endpoints: ['h1:eth0', 's1:h1']
    - endpoints: ['h2:eth0', 's2:h2']
",
    );
    let store = memory();
    let running = lab.ready_controller(Arc::clone(&store)).await;
    let handle = &running.handle;
    assert!(
        handle
            .links()
            .iter()
            .all(|link| link.state == OperState::Up),
        "{:?}",
        handle.links()
    );
    let before = entries(&lab, "s1").await;
    let set = |state| PatchLink {
        link: "s1:a".to_owned(),
        change: json!({ "state": state }),
        context: by("ci"),
    };
    let down = handle.patch_link(set("down")).await.unwrap();
    assert_eq!(
        (down.name.as_str(), down.state, down.desired_state),
        ("direct", OperState::Down, OperState::Down)
    );
    assert!(handle.wait_settled(SOON).await);
    assert!(!handle.graph().link("direct").unwrap().up);
    wait_for("another path", || {
        handle.ports("s1").unwrap()[0].state == OperState::Down
    })
    .await;
    assert!(handle.wait_settled(SOON).await);
    let around = entries(&lab, "s1").await;
    assert_ne!(around, before);
    let written = writes(handle);
    handle.patch_link(set("down")).await.unwrap();
    assert!(handle.wait_settled(SOON).await);
    assert_eq!(writes(handle), written);
    running.stop().await;

    // What was declared outlives the controller.
    let running = lab.ready_controller(store).await;
    assert_eq!(
        running.handle.link("direct").unwrap().desired_state,
        OperState::Down
    );
    assert_eq!(writes(&running.handle), 0);
    let up = running.handle.patch_link(set("up")).await.unwrap();
    assert_eq!(up.desired_state, OperState::Up);
    wait_for("the link", || {
        running.handle.link("direct").unwrap().state == OperState::Up
    })
    .await;
    assert!(running.handle.wait_settled(SOON).await);
    assert_eq!(entries(&lab, "s1").await, before);
    running.stop().await;
}

#[tokio::test]
async fn switches_that_start_again_are_programmed_again() {
    let mut lab = Lab::new(TWO_SWITCHES);
    let running = lab.ready_controller(memory()).await;
    let handle = &running.handle;
    let stored = declare(handle, "s1", "no", drop_flow(10, "10.9.0.0/16"))
        .await
        .resource;
    realized(handle, "s1", stored.revision).await;
    let before = (entries(&lab, "s1").await, entries(&lab, "s2").await);
    let boot = handle.switch("s1").unwrap().status.boot_id;
    lab.reboot();
    wait_for("the loss", || {
        handle.switch("s1").unwrap().status.boot_id != boot
    })
    .await;
    let again = async {
        while (entries(&lab, "s1").await, entries(&lab, "s2").await) != before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, again).await.unwrap();
    let mut ready = handle.ready();
    tokio::time::timeout(SOON, ready.wait_for(|ready| *ready))
        .await
        .unwrap()
        .unwrap();
    realized(handle, "s1", stored.revision).await;
    running.stop().await;
}

#[tokio::test]
async fn what_was_stored_for_another_pipeline_can_be_read_and_deleted() {
    let lab = Lab::new(TWO_SWITCHES);
    let store = memory();
    let old =
        json!({ "owner": "ci", "spec": { "match": { "colour": "red" }, "actions": ["drop"] } });
    let put = Op::Put {
        key: "/flows/s1/old".to_owned(),
        value: old.to_string().into(),
        lease: None,
    };
    store
        .txn(Txn {
            compare: vec![],
            ops: vec![put],
        })
        .await
        .unwrap();
    let running = lab.ready_controller(store).await;
    let handle = &running.handle;
    let flow = handle.resource(&Place::flow("s1", "old")).unwrap();
    assert_eq!(
        (flow.status.phase, flow.program.entries.len()),
        (Phase::Rejected, 0)
    );
    assert!(
        flow.status
            .conditions
            .iter()
            .any(|condition| condition.detail.contains("colour"))
    );
    handle.delete(delete("s1", "old")).await.unwrap();
    assert!(handle.resources(Kind::Flow, &[]).is_empty());
    running.stop().await;
}

#[tokio::test]
async fn another_cluster_writes_nothing() {
    let lab = Lab::new(TWO_SWITCHES);
    let running = lab.ready_controller(memory()).await;
    running.stop().await;
    let before = entries(&lab, "s1").await;
    let stranger = lab.controller(memory()).await;
    wait_for("the refusal", || {
        let status = stranger.handle.switch("s1").unwrap().status;
        status
            .conditions
            .iter()
            .any(|condition| condition.r#type == ConditionType::EpochBehind)
    })
    .await;
    assert!(!*stranger.handle.ready().borrow());
    assert_eq!(writes(&stranger.handle), 0);
    assert_eq!(entries(&lab, "s1").await, before);
    stranger.stop().await;
}
