//! A running switch gets another pipeline: packets meet the old one or the new one, and nothing of both.

use std::collections::HashMap;

use tonic::Code;
use weft_proto::node::v1 as node;
use weft_proto::p4::v1::set_forwarding_pipeline_config_request::Action;
use weft_switch::ir::Pipeline;

use crate::client::{A_WHILE, Lab, SOON, at, frame, switches};
use crate::pipeline;

/// Marks each frame in ingress and again in egress, and sends it to port 2. `parts` is how the twelve bytes of
/// addresses are cut into two fields, so that the same field is elsewhere in another pipeline.
fn marking(name: &str, mark: u8, parts: [u16; 2]) -> Pipeline {
    let set = |field: &str, bits: u16| {
        let value = format!("{mark:#x}");
        serde_json::json!({ "set": { "dst": field, "value": { "const": { "value": value, "bits": bits } } } })
    };
    let run = |ops: Vec<serde_json::Value>| {
        serde_json::json!({ "start": "run", "nodes": [
            { "name": "run", "kind": { "run": { "ops": ops, "next": null } } } ] })
    };
    let out = serde_json::json!({ "output": { "const": { "value": "0x2", "bits": 32 } } });
    let reason = format!("{name}-refuses");
    let refuse = serde_json::json!({ "if": {
        "cond": { "binary": ["eq", { "field": "eth.type" }, { "const": { "value": "0x1111", "bits": 16 } }] },
        "then": [{ "drop": reason }] } });
    let pipeline = serde_json::json!({
        "name": name,
        "version": "1",
        "headers": [{ "name": "eth", "fields": [
            { "name": "one", "bits": parts[0] }, { "name": "two", "bits": parts[1] }, { "name": "type", "bits": 16 } ] }],
        "instances": [{ "name": "eth", "header": "eth" }],
        "parser": { "start": "start", "states": [
            { "name": "start", "extract": [{ "instance": "eth" }], "default": "accept" } ] },
        "actions": [],
        "tables": [],
        "ingress": run(vec![set("eth.one", parts[0]), out, refuse]),
        "egress": run(vec![set("eth.two", parts[1])]),
        "deparser": ["eth"],
        "linkInstances": ["eth"],
    });
    serde_json::from_value(pipeline).unwrap()
}

/// The address bytes of a frame that `marking(_, mark, parts)` sent.
fn marked(mark: u8, parts: [u16; 2]) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes[usize::from(parts[0] / 8) - 1] = mark;
    bytes[11] = mark;
    bytes
}

async fn drops(lab: &Lab, port: u32) -> HashMap<String, u64> {
    let request = node::GetPortCountersRequest { device_id: 1 };
    let answer = lab.node.clone().get_port_counters(request).await.unwrap();
    let ports = answer.into_inner().ports;
    let port = ports.into_iter().find(|counter| counter.port == port);
    port.unwrap().drops
}

#[tokio::test]
async fn packets_meet_one_pipeline_or_the_other() {
    const PACKETS: usize = 3000;
    let mut config = switches(1, 2);
    config.workers = 2;
    let lab = Lab::start(config).await;
    let (one, two) = (
        lab.host.attach_memory(at(1, 1)).unwrap(),
        lab.host.attach_memory(at(1, 2)).unwrap(),
    );
    let _primary = lab.own(1).await;
    let kinds = [(0xaa, [48, 48]), (0xbb, [64, 32])];
    let configs =
        kinds.map(|(mark, parts)| pipeline::config_of(marking("marks", mark, parts), mark.into()));
    lab.set_config(1, Action::VerifyAndCommit, Some(configs[0].clone()))
        .await
        .unwrap();
    let traffic = tokio::task::spawn_blocking(move || {
        let expected = kinds.map(|(mark, parts)| marked(mark, parts));
        let mut met = [0; 2];
        for number in 0..PACKETS {
            let payload = number.to_be_bytes();
            one.send(&frame(0x0800, &payload));
            let received = two.receive(SOON).expect("no packet is lost");
            assert_eq!(&received[14..], &payload);
            let by = expected.iter().position(|mark| received[..12] == **mark);
            met[by.unwrap_or_else(|| panic!("{received:x?} met a mixture"))] += 1;
        }
        met
    });
    let mut swaps = 0;
    while !traffic.is_finished() {
        swaps += 1;
        let config = configs[swaps % 2].clone();
        lab.set_config(1, Action::VerifyAndCommit, Some(config))
            .await
            .unwrap();
    }
    let met = traffic.await.unwrap();
    assert!(
        met.iter().all(|&count| count > 0),
        "{met:?} in {swaps} swaps"
    );
    assert_eq!(drops(&lab, 1).await, HashMap::new());
}

#[tokio::test]
async fn drop_counters_keep_their_reasons_over_pipelines() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    let refused = frame(0x1111, b"refused");
    let mut sent = [0; 2];
    for (round, name) in ["first", "second", "first"].into_iter().enumerate() {
        let config = pipeline::config_of(marking(name, 1, [48, 48]), 1);
        lab.set_config(1, Action::VerifyAndCommit, Some(config))
            .await
            .unwrap();
        for _ in 0..=round {
            one.send(&refused);
            sent[usize::from(name == "second")] += 1;
        }
        // Behind those that are refused.
        one.send(&frame(0x0800, b""));
        assert!(two.receive(SOON).is_some());
        let expected = ["first", "second"].into_iter().zip(sent);
        let expected = expected.filter(|&(_, count)| count > 0);
        let expected: HashMap<String, u64> = expected
            .map(|(name, count)| (format!("{name}-refuses"), count))
            .collect();
        assert_eq!(drops(&lab, 1).await, expected);
    }
}

#[tokio::test]
async fn a_pipeline_that_is_refused_leaves_the_old_one() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    let good = pipeline::config_of(marking("good", 7, [48, 48]), 7);
    let commit = Action::VerifyAndCommit;
    lab.set_config(1, commit, Some(good.clone())).await.unwrap();
    let mut bad = serde_json::from_slice::<serde_json::Value>(&good.p4_device_config).unwrap();
    bad["deparser"] = serde_json::json!(["nothing"]);
    let bad = weft_proto::p4::v1::ForwardingPipelineConfig {
        p4_device_config: bad.to_string().into(),
        ..good
    };
    let refused = lab.set_config(1, commit, Some(bad)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("nothing"), "{refused}");
    one.send(&frame(0x0800, b""));
    assert_eq!(two.receive(SOON).unwrap()[..12], marked(7, [48, 48]));
    assert_eq!(two.receive(A_WHILE), None);
}
