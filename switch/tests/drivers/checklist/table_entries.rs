//! §9.1 Table entries.

use tonic::Code::{
    AlreadyExists, InvalidArgument, NotFound, Ok as Done, PermissionDenied, ResourceExhausted,
};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::update::Type::{Delete, Insert, Modify};
use weft_proto::schema::Schema;

use super::{
    entry, entry_of, entry_update, exact, lpm, optional, outcome, range, read_entries, send,
    ternary,
};
use crate::client::{Lab, switches};
use crate::pipeline;

fn deny(kind: &[u8], priority: i32) -> wire::TableEntry {
    let key = [("type", ternary(kind, &[0xff, 0xff]))];
    entry("deny", &key, priority, Some(("refuse", &[])))
}

fn default_of(table: &str, action: Option<(&str, &[&[u8]])>) -> wire::TableEntry {
    wire::TableEntry {
        is_default_action: true,
        ..entry(table, &[], 0, action)
    }
}

/// §11.1: INSERT of what is there, MODIFY and DELETE of what is not.
#[tokio::test]
async fn entries_exist_once_and_only_what_exists_can_be_changed() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let steps = [
        (Modify, send(1, 2), NotFound),
        (Delete, send(1, 2), NotFound),
        (Insert, send(1, 2), Done),
        (Insert, send(1, 1), AlreadyExists),
        (Modify, send(1, 1), Done),
        (Delete, send(1, 1), Done),
        (Delete, send(1, 1), NotFound),
    ];
    for (kind, entry, code) in steps {
        assert_eq!(outcome(&lab, vec![entry_update(kind, entry)]).await, [code]);
    }
}

/// §9.1: match and priority are the identity of an entry; everything else of it can be replaced, and is read back.
#[tokio::test]
async fn match_and_priority_are_the_identity_of_an_entry() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let twin = [deny(&[8, 0], 1), deny(&[8, 0], 2)];
    let updates = twin.clone().map(|entry| entry_update(Insert, entry));
    assert_eq!(outcome(&lab, updates.into()).await, [Done; 2]);
    let mut changed = deny(&[8, 0], 2);
    changed.metadata = b"another".to_vec().into();
    changed.action = entry("deny", &[], 0, Some(("pass", &[]))).action;
    let updates = vec![entry_update(Modify, changed.clone())];
    assert_eq!(outcome(&lab, updates).await, [Done]);
    let mut read = read_entries(&lab, entry("deny", &[], 0, None)).await;
    read.sort_by_key(|entry| entry.priority);
    assert_eq!(read, [twin[0].clone(), changed]);
}

/// §9.1: a table that is full answers RESOURCE_EXHAUSTED.
#[tokio::test]
async fn a_full_table_refuses_one_more() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let entries = (1..=9).map(|port| entry_update(Insert, send(port, 1)));
    let mut expected = vec![Done; 8];
    expected.push(ResourceExhausted);
    assert_eq!(outcome(&lab, entries.collect()).await, expected);
}

/// §9.1: a priority above 0 where a field is ternary, range or optional, and 0 where none is.
#[tokio::test]
async fn a_priority_is_there_exactly_where_it_decides() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let with_priority = wire::TableEntry {
        priority: 1,
        ..send(1, 1)
    };
    let kinds = |priority| {
        let key = [("src", optional(&[2]))];
        entry("kinds", &key, priority, Some(("pass", &[])))
    };
    let entries = [
        deny(&[8, 0], 0),
        deny(&[8, 0], -1),
        with_priority,
        kinds(0),
        kinds(1),
    ];
    let updates = entries.map(|entry| entry_update(Insert, entry));
    let expected = [
        InvalidArgument,
        InvalidArgument,
        InvalidArgument,
        InvalidArgument,
        Done,
    ];
    assert_eq!(outcome(&lab, updates.into()).await, expected);
}

/// §9.1.1: don't-care fields are left out, an exact field never is, and a field is there once and in its own kind.
#[tokio::test]
async fn fields_that_do_not_care_are_left_out_and_exact_ones_never() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let pass: Option<(&str, &[&[u8]])> = Some(("pass", &[]));
    let mut twice = send(1, 1);
    twice.r#match.push(twice.r#match[0].clone());
    let mut unknown = send(1, 1);
    unknown.r#match[0].field_id = 99;
    let mut empty = send(1, 1);
    empty.r#match[0].field_match_type = None;
    let wrong = [
        entry("forward", &[], 0, Some(("send", &[&[1]]))),
        entry(
            "forward",
            &[("in_port", optional(&[1]))],
            0,
            Some(("send", &[&[1]])),
        ),
        entry("deny", &[("type", ternary(&[0], &[0]))], 1, pass),
        entry(
            "routes",
            &[("dst", lpm(&[0], 0))],
            0,
            Some(("send", &[&[1]])),
        ),
        entry("kinds", &[("type", range(&[0], &[0xff, 0xff]))], 1, pass),
        twice,
        unknown,
        empty,
    ];
    let updates = wrong.map(|entry| entry_update(Insert, entry));
    assert_eq!(outcome(&lab, updates.into()).await, [InvalidArgument; 8]);
    // All of them left out: an entry that matches everything.
    let right = [
        entry("deny", &[], 1, pass),
        entry("kinds", &[], 1, pass),
        entry("routes", &[], 0, Some(("send", &[&[1]]))),
    ];
    let updates = right.map(|entry| entry_update(Insert, entry));
    assert_eq!(outcome(&lab, updates.into()).await, [Done; 3]);
}

/// §9.1.1: bits that do not count are zero, prefixes fit their field, and bounds are in order.
#[tokio::test]
async fn matches_are_in_their_canonical_form() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let pass: Option<(&str, &[&[u8]])> = Some(("pass", &[]));
    let out: Option<(&str, &[&[u8]])> = Some(("send", &[&[1]]));
    let wrong = [
        entry("deny", &[("type", ternary(&[8, 1], &[0xff, 0]))], 1, pass),
        entry("routes", &[("dst", lpm(&[2, 0, 0, 0, 0, 1], 8))], 0, out),
        entry("routes", &[("dst", lpm(&[2, 0, 0, 0, 0, 0], 49))], 0, out),
        entry("routes", &[("dst", lpm(&[2, 0, 0, 0, 0, 0], -1))], 0, out),
        entry("kinds", &[("type", range(&[9], &[8]))], 1, pass),
    ];
    let updates = wrong.map(|entry| entry_update(Insert, entry));
    assert_eq!(outcome(&lab, updates.into()).await, [InvalidArgument; 5]);
}

/// §9.1.2: INSERT wants an action, MODIFY without one keeps what is there.
#[tokio::test]
async fn an_action_is_wanted_by_insert_and_kept_by_a_modify_without_one() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let bare = wire::TableEntry {
        action: None,
        ..send(1, 1)
    };
    let steps = [
        (Insert, bare.clone(), InvalidArgument),
        (Insert, send(1, 1), Done),
        (Modify, bare, Done),
    ];
    for (kind, entry, code) in steps {
        assert_eq!(outcome(&lab, vec![entry_update(kind, entry)]).await, [code]);
    }
    let read = read_entries(&lab, entry("forward", &[], 0, None)).await;
    assert_eq!(read, [send(1, 1)]);
}

/// §9.1.2: an action that the table has not, and arguments that are missing, too many, twice or unknown.
#[tokio::test]
async fn actions_and_their_arguments_are_those_of_the_p4info() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let with = |change: &dyn Fn(&mut wire::Action)| {
        let mut entry = send(1, 1);
        let action = entry.action.as_mut().unwrap();
        if let Some(wire::table_action::Type::Action(action)) = &mut action.r#type {
            change(action);
        }
        entry_update(Insert, entry)
    };
    let schema = pipeline::schema();
    let pass = schema.action_by_name("pass").unwrap().id.0;
    let mut no_kind = send(1, 1);
    no_kind.action = Some(wire::TableAction { r#type: None });
    let mut member = send(1, 1);
    member.action = Some(wire::TableAction {
        r#type: Some(wire::table_action::Type::ActionProfileMemberId(1)),
    });
    let updates = vec![
        with(&|action| action.action_id = 0x0100_0063),
        with(&|action| action.action_id = pass),
        with(&|action| action.params.clear()),
        with(&|action| action.params.push(action.params[0].clone())),
        with(&|action| action.params[0].param_id = 7),
        entry_update(Insert, no_kind),
        entry_update(Insert, member),
    ];
    assert_eq!(outcome(&lab, updates).await, [InvalidArgument; 7]);
}

/// §9.1.2: an action outside its scope is PERMISSION_DENIED.
#[tokio::test]
async fn an_action_outside_its_scope_is_denied() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let key = [("type", exact(&[8, 0]))];
    let updates = vec![
        entry_update(Insert, entry("scoped", &key, 0, Some(("refuse", &[])))),
        entry_update(Insert, entry("scoped", &key, 0, Some(("pass", &[])))),
    ];
    assert_eq!(outcome(&lab, updates).await, [PermissionDenied, Done]);
}

/// §9.1: a deletion looks at the key only, whatever else the message says.
#[tokio::test]
async fn a_deletion_looks_at_the_key_only() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    lab.write_wire(1, vec![entry_update(Insert, send(1, 1))])
        .await
        .unwrap();
    let mut nonsense = send(1, 1);
    nonsense.action = Some(wire::TableAction {
        r#type: Some(wire::table_action::Type::ActionProfileGroupId(77)),
    });
    nonsense.idle_timeout_ns = -5;
    nonsense.metadata = b"?".to_vec().into();
    assert_eq!(
        outcome(&lab, vec![entry_update(Delete, nonsense)]).await,
        [Done]
    );
}

/// §9.1: a table without a key has its default entry only.
#[tokio::test]
async fn a_table_without_key_takes_no_entries() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let updates = vec![
        entry_update(Insert, entry("keyless", &[], 0, Some(("pass", &[])))),
        entry_update(Modify, default_of("keyless", Some(("send", &[&[1]])))),
    ];
    assert_eq!(outcome(&lab, updates).await, [InvalidArgument, Done]);
}

/// §9.1: a table that the pipeline has not.
#[tokio::test]
async fn an_unknown_table_is_invalid() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let unknown = wire::TableEntry {
        table_id: 0x0200_0063,
        ..send(1, 1)
    };
    let none = wire::TableEntry {
        table_id: 0,
        ..send(1, 1)
    };
    let updates = [unknown, none].map(|entry| entry_update(Insert, entry));
    assert_eq!(outcome(&lab, updates.into()).await, [InvalidArgument; 2]);
}

/// §9.1: clients cannot make an entry constant.
#[tokio::test]
async fn a_write_that_says_const_is_invalid() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    for kind in [Insert, Modify, Delete] {
        let entry = wire::TableEntry {
            is_const: true,
            ..send(1, 1)
        };
        let codes = outcome(&lab, vec![entry_update(kind, entry)]).await;
        assert_eq!(codes, [InvalidArgument]);
    }
}

/// §9.1.3: the default entry is modified only, has no match and no priority, and goes back to the program's.
#[tokio::test]
async fn a_default_entry_is_modified_and_reset() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let initial = default_of("forward", Some(("refuse", &[])));
    let filter = || default_of("forward", None);
    assert_eq!(
        read_entries(&lab, filter()).await,
        std::slice::from_ref(&initial)
    );
    let mut written = default_of("forward", Some(("send", &[&[1]])));
    written.metadata = b"mine".to_vec().into();
    let matched = wire::TableEntry {
        is_default_action: true,
        ..send(1, 1)
    };
    let prior = wire::TableEntry {
        priority: 1,
        ..written.clone()
    };
    let steps = [
        (Insert, written.clone(), InvalidArgument),
        (Delete, written.clone(), InvalidArgument),
        (Modify, matched, InvalidArgument),
        (Modify, prior, InvalidArgument),
        (Modify, written.clone(), Done),
    ];
    for (kind, entry, code) in steps {
        assert_eq!(outcome(&lab, vec![entry_update(kind, entry)]).await, [code]);
    }
    assert_eq!(read_entries(&lab, filter()).await, [written]);
    let reset = default_of("forward", None);
    assert_eq!(
        outcome(&lab, vec![entry_update(Modify, reset)]).await,
        [Done]
    );
    assert_eq!(read_entries(&lab, filter()).await, [initial]);
}

/// §9.1.3: a constant default entry is PERMISSION_DENIED, and read as constant.
#[tokio::test]
async fn a_constant_default_entry_cannot_be_modified() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let change = default_of("scoped", Some(("refuse", &[])));
    assert_eq!(
        outcome(&lab, vec![entry_update(Modify, change.clone())]).await,
        [PermissionDenied]
    );
    let read = read_entries(&lab, default_of("scoped", None)).await;
    let constant = wire::TableEntry {
        is_const: true,
        ..change
    };
    assert_eq!(read, [constant]);
}

/// §9.1.4, §9.1.5: constant entries are read as such, and of them only direct resources can be written; entries beside
/// them are like any.
#[tokio::test]
async fn constant_entries_change_their_counters_only() {
    let lab = Lab::start(switches(1, 1)).await;
    let config = pipeline::config_of(pipeline::with_constants(), 1);
    let schema = Schema::new(config.p4info.as_ref().unwrap()).unwrap();
    let _primary = lab.own_with(1, config).await;
    let arp = [("type", ternary(&[8, 6], &[0xff, 0xff]))];
    let fixed = |action| entry_of(&schema, "fixed", &arp, 7, action);
    let pass: Option<(&str, &[&[u8]])> = Some(("pass", &[]));
    let read = read_entries(&lab, entry_of(&schema, "fixed", &[], 0, None)).await;
    let constant = wire::TableEntry {
        is_const: true,
        ..fixed(pass)
    };
    assert_eq!(read, [constant]);
    let ip = [("type", ternary(&[8, 0], &[0xff, 0xff]))];
    let counted = wire::TableEntry {
        counter_data: Some(wire::CounterData {
            packet_count: 5,
            byte_count: 500,
        }),
        ..fixed(None)
    };
    let steps = [
        (Insert, fixed(pass), AlreadyExists),
        (Modify, fixed(pass), PermissionDenied),
        (Delete, fixed(pass), PermissionDenied),
        (Modify, counted, Done),
        (Insert, entry_of(&schema, "fixed", &ip, 1, pass), Done),
        (Delete, entry_of(&schema, "fixed", &ip, 1, pass), Done),
    ];
    for (kind, entry, code) in steps {
        assert_eq!(outcome(&lab, vec![entry_update(kind, entry)]).await, [code]);
    }
    let mut filter = fixed(None);
    filter.counter_data = Some(wire::CounterData::default());
    let read = read_entries(&lab, filter).await;
    assert_eq!(read[0].counter_data.as_ref().unwrap().packet_count, 5);
}
