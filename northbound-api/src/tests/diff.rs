//! Entries that another P4Runtime client edits behind the controller's back are found, and repaired.

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use weft_proto::codec;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::p4_runtime_client::P4RuntimeClient;
use weft_proto::p4::v1::update::Type;
use weft_proto::vocab::{EntryKey, TableEntry};

use super::lab::{Lab, SOON, request};

const WAIT: [(&str, &str); 1] = [("prefer", "wait=10")];

/// A P4Runtime client that may write to one switch.
struct Foreign {
    client: P4RuntimeClient<tonic::transport::Channel>,
    device_id: u64,
    role: &'static str,
    _stream: mpsc::Sender<wire::StreamMessageRequest>,
}

impl Foreign {
    /// A large election id; in the controller's own role it takes the controller's place.
    const ELECTION: wire::Uint128 = wire::Uint128 { high: 1, low: 0 };

    async fn primary(lab: &Lab, switch: &str, role: &'static str) -> Self {
        let mut client = P4RuntimeClient::new(lab.channel());
        let device_id = lab.handle.switch(switch).unwrap().device_id;
        let (stream, requests) = mpsc::channel(4);
        let bid = wire::MasterArbitrationUpdate {
            device_id,
            election_id: Some(Self::ELECTION),
            role: (!role.is_empty()).then(|| wire::Role {
                name: role.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let update = Some(wire::stream_message_request::Update::Arbitration(bid));
        stream
            .send(wire::StreamMessageRequest { update })
            .await
            .unwrap();
        let requests = ReceiverStream::new(requests);
        let mut answers = client.stream_channel(requests).await.unwrap().into_inner();
        let first = answers.message().await.unwrap().unwrap();
        let Some(wire::stream_message_response::Update::Arbitration(answer)) = first.update else {
            panic!("{first:?}")
        };
        assert_eq!(answer.status.unwrap_or_default().code, 0);
        tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
        Self {
            client,
            device_id,
            role,
            _stream: stream,
        }
    }

    async fn write(&mut self, lab: &Lab, kind: Type, entry: &TableEntry) {
        let schema = lab.handle.pipeline("s1").unwrap();
        let entity = wire::entity::Entity::TableEntry(codec::encode_entry(&schema, entry));
        let request = wire::WriteRequest {
            device_id: self.device_id,
            election_id: Some(Self::ELECTION),
            role: self.role.to_owned(),
            updates: vec![wire::Update {
                r#type: kind.into(),
                entity: Some(wire::Entity {
                    entity: Some(entity),
                }),
            }],
            ..Default::default()
        };
        self.client.write(request).await.unwrap();
    }
}

/// The entries that a flow of `s1` became.
fn made(lab: &Lab, name: &str) -> Vec<TableEntry> {
    let place = weft_controller::resource::Place::flow("s1", name);
    let program = &lab.handle.resource(&place).unwrap().program;
    program.entries.clone()
}

async fn declare(lab: &Lab) -> Vec<TableEntry> {
    let mut entries = Vec::new();
    for (name, address) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        let flow = json!({ "priority": 5, "match": { "ipv4_dst": address }, "actions": ["drop"] });
        let path = format!("/v1/switches/s1/flows/{name}");
        lab.put_with(&path, &WAIT, flow).await.is(201);
        entries.extend(made(lab, name));
    }
    entries
}

/// One flow's entry goes, one gets another action, and one comes that nobody here asked for.
async fn meddle(lab: &Lab, foreign: &mut Foreign, entries: &[TableEntry]) {
    let mut other = made(lab, "b").remove(0);
    let schema = lab.handle.pipeline("s1").unwrap();
    let flood = schema.actions().find(|action| {
        weft_proto::schema::annotations::get(&action.annotations, "weft_flow")
            .any(|word| word == "flood")
    });
    other.action = Some(weft_proto::vocab::TableAction::Call(
        weft_proto::vocab::ActionCall {
            action: flood.unwrap().id,
            params: vec![],
        },
    ));
    foreign.write(lab, Type::Delete, &entries[0]).await;
    foreign.write(lab, Type::Modify, &other).await;
    let stranger = TableEntry {
        key: EntryKey {
            priority: 77,
            ..entries[2].key.clone()
        },
        metadata: b"theirs".to_vec(),
        ..entries[2].clone()
    };
    foreign.write(lab, Type::Insert, &stranger).await;
}

fn counts(diff: &Value) -> [u64; 4] {
    ["missing", "modified", "extra", "foreign"].map(|word| diff["counts"][word].as_u64().unwrap())
}

async fn diff(lab: &Lab) -> Value {
    lab.get("/v1/switches/s1/diff").await.is(200)
}

#[tokio::test]
async fn edits_of_a_client_beside_us_are_found_and_repaired() {
    let lab = Lab::up().await;
    let entries = declare(&lab).await;
    let clean = diff(&lab).await;
    assert_eq!((counts(&clean), &clean["inSync"]), ([0; 4], &json!(true)));
    assert_eq!(clean["counts"]["proper"], 3);
    assert_eq!(clean["proper"].as_array().unwrap().len(), 3);

    // In a role of its own, a client writes while the controller stays primary and hears nothing of it.
    let mut foreign = Foreign::primary(&lab, "s1", "other").await;
    meddle(&lab, &mut foreign, &entries).await;
    let found = diff(&lab).await;
    assert_eq!(
        (counts(&found), &found["inSync"]),
        ([1, 1, 0, 1], &json!(false))
    );
    let missing = &found["missing"][0];
    assert_eq!(
        (
            &missing["name"],
            &missing["owner"],
            &missing["entry"]["match"]["ipv4_dst"]
        ),
        (&json!("a"), &json!("flow"), &json!("10.0.0.1"))
    );
    let modified = &found["modified"][0];
    assert_eq!(modified["name"], "b");
    assert_ne!(
        modified["entry"]["action"],
        modified["held"]["entry"]["action"]
    );
    assert_eq!(found["foreign"][0]["entry"]["priority"], 77);
    assert_eq!(found["foreign"][0]["owner"], "foreign");
    let short = lab.get("/v1/switches/s1/diff?limit=0").await.is(200);
    assert_eq!(
        (counts(&short), &short["missing"]),
        ([1, 1, 0, 1], &json!([]))
    );

    let repair = lab
        .send(request("POST", "/v1/switches/s1/sync", &[], None))
        .await;
    let repair = repair.is(200);
    assert_eq!(
        (&repair["done"], &repair["found"]["missing"]),
        (&json!(true), &json!(1))
    );
    let after = diff(&lab).await;
    assert_eq!(
        (counts(&after), &after["inSync"]),
        ([0, 0, 0, 1], &json!(true))
    );
}

#[tokio::test]
async fn edits_of_a_foreign_primary_are_found_and_repaired_when_it_leaves() {
    let lab = Lab::up().await;
    let entries = declare(&lab).await;
    let mut foreign = Foreign::primary(&lab, "s1", "").await;
    meddle(&lab, &mut foreign, &entries).await;
    assert_eq!(counts(&diff(&lab).await), [1, 1, 0, 1]);
    let repair = lab
        .send(request(
            "POST",
            "/v1/switches/s1/sync",
            &[("prefer", "wait=0")],
            None,
        ))
        .await;
    assert_eq!(repair.is(202)["done"], false);
    drop(foreign);
    let repair = request("POST", "/v1/switches/s1/sync", &WAIT, None);
    let repair = tokio::time::timeout(SOON, lab.send(repair)).await.unwrap();
    repair.is(200);
    assert_eq!(counts(&diff(&lab).await), [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_switch_that_is_away_is_no_fault() {
    let lab = Lab::without_switches().await;
    lab.get("/v1/switches/s1/diff").await.problem(503);
    lab.get("/v1/switches/s9/diff").await.problem(404);
    lab.get("/v1/switches/s1/diff?limit=x").await.problem(400);
    let sync = request(
        "POST",
        "/v1/switches/s1/sync",
        &[("prefer", "wait=0")],
        None,
    );
    assert_eq!(lab.send(sync).await.is(202)["found"], Value::Null);
    let sync = request("POST", "/v1/switches/s9/sync", &[], None);
    lab.send(sync).await.problem(404);
}
