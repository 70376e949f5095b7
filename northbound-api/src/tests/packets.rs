//! Packets of applications: out through a switch, in from it.

use std::time::Duration;

use serde_json::{Value, json};
use weft_switch::port::MemoryPort;

use super::lab::{Lab, SOON, request};

const WAIT: [(&str, &str); 1] = [("prefer", "wait=10")];

/// A frame of sixty bytes that says nothing.
const FRAME: &str = "02:00:00:00:00:09 02:00:00:00:00:01 88:b5";

fn frame(mark: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.resize(60, mark);
    frame
}

/// The next frame at a port. The controller runs on this thread, so nothing here may block.
pub(super) async fn receive(port: &MemoryPort) -> Option<Vec<u8>> {
    let frame = async {
        loop {
            match port.receive(Duration::ZERO) {
                Some(frame) => return frame,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(SOON, frame).await.ok()
}

async fn send(lab: &Lab, body: Value) -> super::lab::Reply {
    lab.send(request("POST", "/v1/packetOuts", &[], Some(body)))
        .await
}

#[tokio::test]
async fn a_packet_leaves_by_the_port_that_it_is_sent_to() {
    let lab = Lab::up().await;
    let port = lab.attach("s1");
    let hex: String = frame(7).iter().map(|byte| format!("{byte:02x}")).collect();
    let sent = send(
        &lab,
        json!({ "switch": "s1", "port": "host", "payload": hex }),
    )
    .await;
    assert_eq!(
        sent.is(202),
        json!({ "switch": "s1", "port": "host", "length": 60 })
    );
    assert_eq!(receive(&port).await, Some(frame(7)));
    let base64 = format!("AgAAAAAJAgAAAAABiLU{}", "B".repeat(61));
    let sent = send(
        &lab,
        json!({ "switch": "s1", "port": 1, "payload": base64 }),
    )
    .await;
    assert_eq!(sent.is(202)["length"], 60);
    assert_eq!(receive(&port).await.map(|frame| frame.len()), Some(60));
    // Without a port the pipeline decides.
    let flow = json!({ "match": { "eth_type": 0x88b5 }, "actions": [{ "output": "host" }] });
    lab.put_with("/v1/switches/s1/flows/f", &WAIT, flow)
        .await
        .is(201);
    send(&lab, json!({ "switch": "s1", "payload": hex }))
        .await
        .is(202);
    assert_eq!(receive(&port).await, Some(frame(7)));
}

#[tokio::test]
async fn packets_for_the_controller_are_read_and_waited_for() {
    let lab = Lab::up().await;
    let port = lab.attach("s1");
    let flow = json!({ "match": { "eth_type": 0x88b5 }, "actions": ["controller"] });
    lab.put_with("/v1/switches/s1/flows/f", &WAIT, flow)
        .await
        .is(201);
    let none = lab.get("/v1/packetIns").await.is(200);
    assert_eq!(none, json!({ "items": [], "next": 0, "missed": 0 }));
    let none = lab.get("/v1/packetIns?wait=1ms").await;
    assert_eq!((none.status.as_u16(), none.text.as_str()), (204, ""));

    let poll = lab.get("/v1/packetIns?wait=20s&since=0&switch=s1");
    let inject = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        port.send(&frame(1));
    };
    let (found, ()) = tokio::join!(poll, inject);
    let found = found.is(200);
    let packet = &found["items"][0];
    assert_eq!(
        (
            &packet["id"],
            &packet["switch"],
            &packet["port"],
            &packet["length"]
        ),
        (&json!(1), &json!("s1"), &json!("host"), &json!(60))
    );
    assert_eq!(packet["metadata"], json!({ "ingress_port": "host" }));
    assert!(
        packet["payload"]
            .as_str()
            .unwrap()
            .starts_with("AgAAAAAJAgAAAAABiLUBAQEB")
    );
    assert_eq!(found["next"], 1);
    // What was sent can be sent back as it came.
    let back = json!({ "switch": "s1", "port": packet["port"], "payload": packet["payload"] });
    send(&lab, back).await.is(202);
    assert_eq!(receive(&port).await, Some(frame(1)));
    let none = lab.get("/v1/packetIns?since=1").await.is(200);
    assert_eq!((&none["items"], &none["next"]), (&json!([]), &json!(1)));
    let none = lab.get("/v1/packetIns?switch=s2").await.is(200);
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn packets_that_cannot_be_are_refused() {
    let lab = Lab::up().await;
    for (body, pointer) in [
        (json!({ "switch": "s9", "payload": FRAME }), "/switch"),
        (
            json!({ "switch": "s1", "port": "nowhere", "payload": FRAME }),
            "/port",
        ),
        (json!({ "switch": "s1", "payload": "00" }), "/payload"),
        (json!({ "switch": "s1", "payload": "!" }), "/payload"),
        (
            json!({ "switch": "s1", "payload": FRAME, "metadata": { "colour": 1 } }),
            "/metadata/colour",
        ),
        (
            json!({ "switch": "s1", "payload": FRAME, "encoding": "morse" }),
            "/encoding",
        ),
        (
            json!({ "switch": "s1", "payload": FRAME, "prot": 1 }),
            "/prot",
        ),
    ] {
        let problem = send(&lab, body).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    for query in ["wait=x", "since=r1", "limit=0", "limit=2000", "x=1"] {
        lab.get(&format!("/v1/packetIns?{query}"))
            .await
            .problem(400);
    }
    lab.get("/v1/packetIns?switch=s9").await.problem(404);
    let away = Lab::without_switches().await;
    send(&away, json!({ "switch": "s1", "payload": FRAME }))
        .await
        .problem(503);
}
