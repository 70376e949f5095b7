//! P4Runtime §7, §14, §15 over the wire.

use tonic::Code;
use weft_proto::codec::{EntryFilter, Query};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::get_forwarding_pipeline_config_request::ResponseType;
use weft_proto::p4::v1::set_forwarding_pipeline_config_request::Action;
use weft_switch::ir::Op;

use crate::client::{A_WHILE, Lab, SOON, at, forward, frame, insert, switches};
use crate::pipeline;

async fn get(lab: &Lab, what: ResponseType) -> Option<wire::ForwardingPipelineConfig> {
    let request = wire::GetForwardingPipelineConfigRequest {
        device_id: 1,
        response_type: what.into(),
    };
    let answer = lab.p4.clone().get_forwarding_pipeline_config(request).await;
    answer.unwrap().into_inner().config
}

#[tokio::test]
async fn a_switch_without_pipeline_says_so_and_drops_everything() {
    let lab = Lab::start(switches(1, 1)).await;
    let port = lab.host.attach_memory(at(1, 1)).unwrap();
    let mut stream = lab.stream().await;
    stream.bid(1, 1);
    stream.arbitration().await;
    let refused = lab.write(1, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(get(&lab, ResponseType::All).await, None);

    port.send(&frame(0x0800, &[0; 46]));
    assert_eq!(port.receive(A_WHILE), None);
    let counters = lab.host.counters(at(1, 1)).unwrap();
    let reason = weft_switch::drops::DropReason::NO_PIPELINE;
    assert_eq!(counters.drops().collect::<Vec<_>>(), [(reason.0, 1)]);
    assert_eq!(counters.rx().frames, 1);
}

#[tokio::test]
async fn the_committed_config_reads_back_whole_and_in_parts() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let whole = pipeline::config(7);
    assert_eq!(get(&lab, ResponseType::All).await.unwrap(), whole);
    let cookie = get(&lab, ResponseType::CookieOnly).await.unwrap();
    assert_eq!(cookie.cookie.unwrap().cookie, 7);
    assert_eq!((cookie.p4info, cookie.p4_device_config.len()), (None, 0));
    let info = get(&lab, ResponseType::P4infoAndCookie).await.unwrap();
    assert_eq!(info.p4info, whole.p4info);
    assert!(info.p4_device_config.is_empty());
    let device = get(&lab, ResponseType::DeviceConfigAndCookie)
        .await
        .unwrap();
    assert_eq!(device.p4_device_config, whole.p4_device_config);
    assert_eq!(device.p4info, None);
}

#[tokio::test]
async fn a_wrong_config_is_refused_and_changes_nothing() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let good = pipeline::config(8);
    let no_json = wire::ForwardingPipelineConfig {
        p4_device_config: "nothing".into(),
        ..good.clone()
    };
    let other_info = wire::ForwardingPipelineConfig {
        p4info: Some(weft_proto::p4::config::v1::P4Info::default()),
        ..good.clone()
    };
    for config in [None, Some(no_json), Some(other_info)] {
        let action = Action::VerifyAndCommit;
        let refused = lab.set_config(1, action, config).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    lab.set_config(1, Action::Verify, Some(good)).await.unwrap();
    let cookie = get(&lab, ResponseType::CookieOnly).await.unwrap().cookie;
    assert_eq!(cookie.unwrap().cookie, 7);
}

#[tokio::test]
async fn a_saved_config_takes_writes_and_forwards_when_it_is_committed() {
    let lab = Lab::start(switches(1, 2)).await;
    let (one, two) = (
        lab.host.attach_memory(at(1, 1)).unwrap(),
        lab.host.attach_memory(at(1, 2)).unwrap(),
    );
    let _primary = lab.own(1).await;
    let nothing = lab.set_config(1, Action::Commit, None).await.unwrap_err();
    assert_eq!(nothing.code(), Code::FailedPrecondition);
    let config = Some(pipeline::config(8));
    lab.set_config(1, Action::VerifyAndSave, config)
        .await
        .unwrap();
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    one.send(&frame(0x0800, b"early"));
    assert_eq!(two.receive(A_WHILE), None);
    lab.set_config(1, Action::Commit, None).await.unwrap();
    one.send(&frame(0x0800, b"late"));
    assert_eq!(two.receive(SOON), Some(frame(0x0800, b"late")));
}

#[tokio::test]
async fn reconcile_keeps_entries_and_commit_clears_them() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    let all = Query::Entries(EntryFilter::default());

    let mut other = pipeline::pipeline();
    other.actions[1].ops.push(Op::Exit);
    let config = pipeline::config_of(other, 9);
    let action = Action::ReconcileAndCommit;
    lab.set_config(1, action, Some(config)).await.unwrap();
    assert_eq!(lab.read(1, &all).await.len(), 1);

    let mut smaller = pipeline::pipeline();
    smaller.tables[0].size = 4;
    let config = pipeline::config_of(smaller, 10);
    let refused = lab.set_config(1, action, Some(config)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let config = Some(pipeline::config(7));
    lab.set_config(1, Action::VerifyAndCommit, config)
        .await
        .unwrap();
    assert_eq!(lab.read(1, &all).await.len(), 0);
}
