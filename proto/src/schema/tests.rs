use super::*;
use crate::p4::config::v1 as info;
use crate::p4::config::v1::match_field::{Match, MatchType};

fn p4info() -> info::P4Info {
    let preamble = |id, name: &str| {
        Some(info::Preamble {
            id,
            name: format!("ingress.{name}"),
            alias: name.to_owned(),
            annotations: vec!["@weft_flows".into()],
            doc: Some(info::Documentation {
                brief: "A doc.".into(),
                ..Default::default()
            }),
            ..info::Preamble::default()
        })
    };
    info::P4Info {
        tables: vec![info::Table {
            preamble: preamble(0x0200_0001, "flows"),
            match_fields: vec![info::MatchField {
                id: 1,
                name: "eth_dst".into(),
                annotations: vec!["@format(MAC)".into(), "@requires(eth_type=0x800)".into()],
                bitwidth: 48,
                r#match: Some(Match::MatchType(MatchType::Ternary.into())),
                ..info::MatchField::default()
            }],
            action_refs: vec![info::ActionRef {
                id: 0x0100_0001,
                ..Default::default()
            }],
            initial_default_action: Some(info::TableActionCall {
                action_id: 0x0100_0001,
                arguments: vec![info::table_action_call::Argument {
                    param_id: 1,
                    value: vec![5].into(),
                }],
            }),
            size: 100,
            ..info::Table::default()
        }],
        actions: vec![info::Action {
            preamble: preamble(0x0100_0001, "output"),
            params: vec![info::action::Param {
                id: 1,
                name: "port".into(),
                bitwidth: 32,
                ..info::action::Param::default()
            }],
        }],
        ..info::P4Info::default()
    }
}

#[test]
fn objects_are_found_by_id_name_and_alias() {
    let schema = Schema::new(&p4info()).unwrap();
    let table = schema.table(TableId(0x0200_0001)).unwrap();
    assert_eq!(schema.table_by_name("flows"), Some(table));
    assert_eq!(schema.table_by_name("ingress.flows"), Some(table));
    assert_eq!(schema.table_by_name("flow"), None);
    assert_eq!(schema.tables().count(), 1);
    assert_eq!((table.doc.as_str(), table.size), ("A doc.", 100));
    assert!(table.needs_priority());
    let field = table.field_by_name("eth_dst").unwrap();
    assert_eq!(field.format.as_deref(), Some("MAC"));
    assert_eq!(field.max_value(), 0xffff_ffff_ffff);
    let action = schema.action_by_name("output").unwrap();
    assert_eq!(
        table.action(action.id).map(|action| action.as_default),
        Some(true)
    );
    let default = table.initial_default.as_ref().unwrap();
    assert_eq!(
        default.params,
        [(action.param_by_name("port").unwrap().id, 5)]
    );
}

#[test]
fn what_is_ambiguous_or_dangling_is_refused() {
    let refused = |edit: fn(&mut info::P4Info)| {
        let mut info = p4info();
        edit(&mut info);
        Schema::new(&info).unwrap_err().to_string()
    };
    let tables = refused(|info| info.tables.push(info.tables[0].clone()));
    assert_eq!(tables, "table `ingress.flows` is declared twice");
    let actions = refused(|info| info.actions.clear());
    assert_eq!(
        actions,
        "`ingress.flows` refers to action 16777217, which is not declared"
    );
    let fields = refused(|info| {
        let field = info.tables[0].match_fields[0].clone();
        info.tables[0].match_fields.push(field);
    });
    assert_eq!(fields, "field `ingress.flows.eth_dst` is declared twice");
    let width = refused(|info| info.tables[0].match_fields[0].bitwidth = 129);
    assert_eq!(
        width,
        "`ingress.flows.eth_dst` has 129 bits; 1 to 128 are possible"
    );
    let kind = refused(|info| info.tables[0].match_fields[0].r#match = None);
    assert_eq!(kind, "`ingress.flows.eth_dst` has an unknown match kind");
    let profile = refused(|info| info.tables[0].implementation_id = 7);
    assert_eq!(
        profile,
        "`ingress.flows` refers to action profile 7, which is not declared"
    );
    let nameless = refused(|info| info.tables[0].preamble = None);
    assert_eq!(nameless, "a table has no id or no name");
    let default = refused(|info| {
        info.tables[0]
            .initial_default_action
            .as_mut()
            .unwrap()
            .arguments
            .clear();
    });
    assert_eq!(
        default,
        "the default action of table `ingress.flows` has wrong arguments"
    );
}
