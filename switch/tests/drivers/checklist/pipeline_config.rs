//! §7 Forwarding-pipeline configuration, §13 SetForwardingPipelineConfig, §14 GetForwardingPipelineConfig.

use tonic::Code;
use weft_proto::codec::{EntryFilter, Query};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::get_forwarding_pipeline_config_request::ResponseType;
use weft_proto::p4::v1::set_forwarding_pipeline_config_request::Action;
use weft_proto::schema::Schema;
use weft_switch::ir::{Op, Pipeline};

use super::{change, entry_of, entry_update, exact, read_entries, send};
use crate::client::{
    A_WHILE, Lab, SOON, at, deny, election, forward, frame, group, insert, switches,
};
use crate::pipeline;

async fn get(lab: &Lab, what: ResponseType) -> Option<wire::ForwardingPipelineConfig> {
    let request = wire::GetForwardingPipelineConfigRequest {
        device_id: 1,
        response_type: what.into(),
    };
    let answer = lab.p4.clone().get_forwarding_pipeline_config(request).await;
    answer.unwrap().into_inner().config
}

/// §14: without a configuration the answer has none; writes are FAILED_PRECONDITION.
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

/// §14: a configuration reads back as it was set, whole or in the parts asked for.
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

/// §13: what is missing or cannot be realized is INVALID_ARGUMENT, and VERIFY changes nothing.
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

/// §13: VERIFY_AND_SAVE leaves forwarding alone, and takes the writes until COMMIT; COMMIT without it is NOT_FOUND.
#[tokio::test]
async fn a_saved_config_takes_writes_and_forwards_when_it_is_committed() {
    let lab = Lab::start(switches(1, 2)).await;
    let (one, two) = (
        lab.host.attach_memory(at(1, 1)).unwrap(),
        lab.host.attach_memory(at(1, 2)).unwrap(),
    );
    let _primary = lab.own(1).await;
    let nothing = lab.set_config(1, Action::Commit, None).await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound);
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

/// §13: RECONCILE_AND_COMMIT keeps the state, VERIFY_AND_COMMIT clears it.
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

    let config = Some(pipeline::config(7));
    lab.set_config(1, Action::VerifyAndCommit, config)
        .await
        .unwrap();
    assert_eq!(lab.read(1, &all).await.len(), 0);
}

/// §13: COMMIT brings its own configuration from before, and takes none.
#[tokio::test]
async fn a_commit_takes_no_config_and_an_action_is_wanted() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    for action in [Action::Commit, Action::Unspecified] {
        let config = Some(pipeline::config(8));
        let refused = lab.set_config(1, action, config).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

/// §13: device, role and primary are checked in this order.
#[tokio::test]
async fn only_the_primary_sets_a_config() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let request = |device_id, role: &str, id| wire::SetForwardingPipelineConfigRequest {
        device_id,
        role: role.into(),
        election_id: Some(election(id)),
        action: Action::Verify.into(),
        config: Some(pipeline::config(8)),
        ..wire::SetForwardingPipelineConfigRequest::default()
    };
    let cases = [
        (request(9, "", 1), Code::NotFound),
        (request(1, "nobody", 1), Code::NotFound),
        (request(1, "", 2), Code::PermissionDenied),
    ];
    for (request, code) in cases {
        let mut client = lab.p4.clone();
        let refused = client.set_forwarding_pipeline_config(request).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
    let unknown = wire::GetForwardingPipelineConfigRequest {
        device_id: 9,
        ..wire::GetForwardingPipelineConfigRequest::default()
    };
    let refused = lab.p4.clone().get_forwarding_pipeline_config(unknown).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}

/// §7: a P4Info in another order, with other documentation and more annotations, is the same; any other is refused with
/// the first difference. It reads back as it was set.
#[tokio::test]
async fn a_p4info_is_compared_by_what_it_means() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let mut config = pipeline::config(8);
    let info = config.p4info.as_mut().unwrap();
    info.tables.reverse();
    info.actions.reverse();
    let preamble = info.tables[0].preamble.as_mut().unwrap();
    preamble.annotations.push("@somebody(else)".into());
    preamble.doc = Some(weft_proto::p4::config::v1::Documentation::default());
    lab.set_config(1, Action::VerifyAndCommit, Some(config.clone()))
        .await
        .unwrap();
    assert_eq!(get(&lab, ResponseType::All).await.unwrap(), config);
    let info = config.p4info.as_mut().unwrap();
    info.tables[0].size += 1;
    let refused = lab.set_config(1, Action::Verify, Some(config)).await;
    let message = refused.unwrap_err().message().to_owned();
    assert!(
        message.contains("keyless") && message.contains("size"),
        "{message}"
    );
}

/// §13: VERIFY_AND_SAVE makes reads and writes refer to the new configuration.
#[tokio::test]
async fn reads_refer_to_the_saved_config() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    let all = Query::Entries(EntryFilter::default());
    lab.set_config(1, Action::VerifyAndSave, Some(pipeline::config(8)))
        .await
        .unwrap();
    assert_eq!(lab.read(1, &all).await.len(), 0);
    lab.write(1, &[insert(forward(2, "send", &[1]))])
        .await
        .unwrap();
    lab.set_config(1, Action::Commit, None).await.unwrap();
    assert_eq!(lab.read(1, &all).await.len(), 1);
}

/// §13: a configuration of more than gRPC's default 4 MiB is taken.
#[tokio::test]
async fn a_config_beyond_four_mebibytes_is_taken() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let mut pipeline = pipeline::pipeline();
    pipeline.tables[0].doc = "x".repeat(3 << 20);
    let config = pipeline::config_of(pipeline, 9);
    assert!(config.p4_device_config.len() > 3 << 20);
    lab.set_config(1, Action::VerifyAndCommit, Some(config.clone()))
        .await
        .unwrap();
    assert_eq!(get(&lab, ResponseType::All).await.unwrap(), config);
}

/// The test pipeline with its objects in another order, a table gone, one more, and a key field more.
fn rearranged() -> Pipeline {
    let mut next = pipeline::pipeline();
    next.version = "2".into();
    next.tables.retain(|table| table.name != "routes");
    next.tables.reverse();
    next.actions.reverse();
    let mut another = next.tables[0].clone();
    another.name = "another".into();
    next.tables.insert(0, another);
    let deny = next.tables.iter_mut().find(|table| table.name == "deny");
    let deny = deny.unwrap();
    let mut key = deny.keys[0].clone();
    key.name = "type_again".into();
    deny.keys.insert(0, key);
    next
}

/// §13: what means the same under the new P4Info is kept by name, whatever its ids: entries with metadata, counters and
/// timeouts, default entries, groups, meters, counters of arrays.
#[tokio::test]
async fn reconcile_keeps_what_means_the_same() {
    use wire::entity::Entity;
    use wire::update::Type::{Insert, Modify};

    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    let mut sending = send(1, 2);
    sending.metadata = b"mine".to_vec().into();
    sending.idle_timeout_ns = 1 << 50;
    let mut default = super::entry("forward", &[], 0, Some(("send", &[&[1]])));
    default.is_default_action = true;
    let meter = wire::MeterEntry {
        meter_id: pipeline::schema().meters().next().unwrap().id.0,
        index: Some(wire::Index { index: 5 }),
        config: Some(wire::MeterConfig {
            cir: 1,
            cburst: 2,
            pir: 3,
            pburst: 4,
            eburst: 0,
        }),
        counter_data: None,
    };
    let updates = vec![
        entry_update(Insert, sending.clone()),
        entry_update(Modify, default),
        change(Modify, Entity::MeterEntry(meter)),
        lab.wire(&group(4, &[1, 2])),
        lab.wire(&insert(deny(0x86dd, 3, "refuse"))),
    ];
    lab.write_wire(1, updates).await.unwrap();
    one.send(&frame(0x0800, b"before"));
    two.receive(SOON).unwrap();

    let config = pipeline::config_of(rearranged(), 9);
    let schema = Schema::new(config.p4info.as_ref().unwrap()).unwrap();
    lab.set_config(1, Action::ReconcileAndCommit, Some(config))
        .await
        .unwrap();
    one.send(&frame(0x0800, b"after"));
    assert_eq!(two.receive(SOON), Some(frame(0x0800, b"after")));

    let key = [("in_port", exact(&[1]))];
    let mut filter = entry_of(&schema, "forward", &key, 0, None);
    assert_ne!(filter.table_id, sending.table_id);
    filter.counter_data = Some(wire::CounterData::default());
    let read = read_entries(&lab, filter).await;
    assert_eq!(read[0].metadata, "mine");
    assert_eq!(read[0].idle_timeout_ns, 1 << 50);
    assert_eq!(read[0].counter_data.as_ref().unwrap().packet_count, 2);
    let mut filter = entry_of(&schema, "forward", &[], 0, None);
    filter.is_default_action = true;
    let read = read_entries(&lab, filter).await;
    let mut expected = entry_of(&schema, "forward", &[], 0, Some(("send", &[&[1]])));
    expected.is_default_action = true;
    assert_eq!(read, [expected]);
    assert_eq!(lab.read(1, &Query::Groups(None)).await.len(), 1);
    let denied = read_entries(&lab, entry_of(&schema, "deny", &[], 0, None)).await;
    assert_eq!(denied[0].r#match[0].field_id, 2);
    let asked = wire::Entity {
        entity: Some(Entity::MeterEntry(wire::MeterEntry {
            config: None,
            ..meter
        })),
    };
    let read = lab.read_wire(1, vec![asked]).await.1.unwrap();
    assert_eq!(read[0].entity, Some(Entity::MeterEntry(meter)));
}

/// §13: state that cannot be kept ends the change, by name, and everything stays as it was.
#[tokio::test]
async fn reconcile_names_what_cannot_be_kept() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    let change = |change: &dyn Fn(&mut Pipeline)| {
        let mut next = pipeline::pipeline();
        next.version = "2".into();
        change(&mut next);
        Some(pipeline::config_of(next, 9))
    };
    let renamed = change(&|next| {
        next.tables[0].name = "onward".into();
        for node in &mut next.ingress.nodes {
            if let weft_switch::ir::NodeKind::Table { table, .. } = &mut node.kind
                && table == "forward"
            {
                *table = "onward".into();
            }
        }
    });
    let widened = change(&|next| {
        next.tables[0].keys[0].value = weft_switch::ir::Expr::Field("ethernet.src".into());
    });
    let other_param = change(&|next| {
        let param = &mut next.actions[0].params[0];
        param.name = "out".into();
        next.actions[0].ops = vec![Op::Output(weft_switch::ir::Expr::Param("out".into()))];
    });
    let full = change(&|next| {
        next.tables[0].keys[0].kind = weft_switch::ir::KeyKind::Lpm;
    });
    for (config, named) in [
        (renamed, "table forward"),
        (widened, "in_port"),
        (other_param, "parameter port"),
        (full, "in_port"),
    ] {
        let refused = lab.set_config(1, Action::ReconcileAndCommit, config).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(named), "{refused}");
    }
    let all = Query::Entries(EntryFilter::default());
    assert_eq!(lab.read(1, &all).await.len(), 1);
    let cookie = get(&lab, ResponseType::CookieOnly).await.unwrap().cookie;
    assert_eq!(cookie.unwrap().cookie, 7);
}
