//! Another client that writes to the switches.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use weft_controller::resource::Place;
use weft_controller::status::{ConditionType, Phase};
use weft_proto::codec;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::p4_runtime_client::P4RuntimeClient;
use weft_proto::vocab::TableEntry;

use super::lab::{Lab, memory, wait_for, writes};
use super::{TWO_SWITCHES, declare, drop_flow, entries, realized};

/// A client that bids for a switch with a large election id, and may write once it has it.
struct Foreign {
    client: P4RuntimeClient<tonic::transport::Channel>,
    device_id: u64,
    election: wire::Uint128,
    stream: Option<mpsc::Sender<wire::StreamMessageRequest>>,
}

impl Foreign {
    async fn primary(lab: &Lab, switch: &str, id: u64) -> Self {
        let mut client = P4RuntimeClient::new(lab.channel());
        let device_id = lab.device(switch).0;
        let election = wire::Uint128 { high: 0, low: id };
        let (stream, requests) = mpsc::channel(4);
        let bid =
            wire::stream_message_request::Update::Arbitration(wire::MasterArbitrationUpdate {
                device_id,
                election_id: Some(election),
                ..Default::default()
            });
        stream
            .send(wire::StreamMessageRequest { update: Some(bid) })
            .await
            .unwrap();
        let mut answers = client
            .stream_channel(ReceiverStream::new(requests))
            .await
            .unwrap()
            .into_inner();
        let first = answers.message().await.unwrap().unwrap();
        let Some(wire::stream_message_response::Update::Arbitration(answer)) = first.update else {
            panic!("{first:?}")
        };
        assert_eq!(answer.status.unwrap_or_default().code, 0);
        tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
        Self {
            client,
            device_id,
            election,
            stream: Some(stream),
        }
    }

    async fn write(&mut self, lab: &Lab, r#type: wire::update::Type, entry: &TableEntry) {
        let schema = weft_proto::schema::Schema::new(&lab.pipeline.p4info).unwrap();
        let entity = wire::entity::Entity::TableEntry(codec::encode_entry(&schema, entry));
        let update = wire::Update {
            r#type: r#type.into(),
            entity: Some(wire::Entity {
                entity: Some(entity),
            }),
        };
        let request = wire::WriteRequest {
            device_id: self.device_id,
            election_id: Some(self.election),
            updates: vec![update],
            ..Default::default()
        };
        self.client.write(request).await.unwrap();
    }

    fn leave(&mut self) {
        self.stream = None;
    }
}

#[tokio::test]
async fn a_foreign_primary_is_left_alone_and_repaired_after() {
    let lab = Lab::new(TWO_SWITCHES);
    let running = lab.ready_controller(memory()).await;
    let handle = &running.handle;
    let stored = declare(handle, "s1", "no", drop_flow(10, "10.9.0.0/16")).await;
    realized(handle, "s1", stored.resource.revision).await;
    let proper = entries(&lab, "s1").await;
    let flow = proper
        .iter()
        .find(|entry| entry.key == stored.resource.program.entries[0].key)
        .unwrap()
        .clone();

    let mut foreign = Foreign::primary(&lab, "s1", 1000).await;
    let foreign_primary = || {
        let conditions = handle.switch("s1").unwrap().status.conditions;
        conditions
            .iter()
            .any(|condition| condition.r#type == ConditionType::ForeignPrimary)
    };
    wait_for("the condition", foreign_primary).await;
    // Ours is deleted, another of ours loses its tag, and one of theirs is added.
    foreign.write(&lab, wire::update::Type::Delete, &flow).await;
    let mut altered = proper
        .iter()
        .find(|entry| entry.key != flow.key)
        .unwrap()
        .clone();
    altered.metadata = b"theirs".to_vec();
    foreign
        .write(&lab, wire::update::Type::Modify, &altered)
        .await;
    let mut added = flow.clone();
    added.key.priority += 1;
    added.metadata = Vec::new();
    foreign
        .write(&lab, wire::update::Type::Insert, &added)
        .await;
    let written = writes(handle);
    let late = declare(handle, "s1", "late", drop_flow(99, "10.8.0.0/16"))
        .await
        .resource;
    assert!(
        !handle
            .wait_realized("s1", late.revision, Duration::from_millis(100))
            .await
            .unwrap()
    );
    assert_eq!(
        handle
            .resource(&Place::flow("s1", "late"))
            .unwrap()
            .status
            .phase,
        Phase::Accepted
    );
    assert_eq!(writes(handle), written);

    foreign.leave();
    realized(handle, "s1", late.revision).await;
    wait_for("the end of the condition", || !foreign_primary()).await;
    assert_eq!(writes(handle), written + 3);
    let now = entries(&lab, "s1").await;
    assert!(proper.iter().all(|entry| now.contains(entry)));
    assert!(now.contains(&added));
    assert_eq!(now.len(), proper.len() + 2);
    let status = handle.switch("s1").unwrap().status;
    assert_eq!(status.foreign_entries, 1);
    assert!(
        status
            .conditions
            .iter()
            .any(|condition| condition.r#type == ConditionType::ForeignEntries)
    );

    // A flow that wants the foreigner's place changes the entry there.
    let takeover = declare(handle, "s1", "mine", drop_flow(11, "10.9.0.0/16"))
        .await
        .resource;
    realized(handle, "s1", takeover.revision).await;
    assert_eq!(
        handle
            .resource(&Place::flow("s1", "mine"))
            .unwrap()
            .status
            .phase,
        Phase::Realized
    );
    assert_eq!(entries(&lab, "s1").await.len(), proper.len() + 2);
    assert_eq!(handle.switch("s1").unwrap().status.foreign_entries, 0);
    running.stop().await;
}
