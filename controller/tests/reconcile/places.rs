//! Whose a place on a switch is: entries at the fabric's places, numbers of groups and meters.

use super::*;

/// A raw entry that takes the place of an entry.
fn same_place(lab: &Lab, entry: &TableEntry) -> (Place, Value) {
    use weft_controller::flow::text::{Form, Pattern, print};
    let schema = weft_proto::schema::Schema::new(&lab.pipeline.p4info).unwrap();
    let table = schema.table(entry.key.table).unwrap();
    let ports = lab.model.switches["s1"].ports.iter();
    let ports = ports
        .map(|(number, port)| (port.name.clone(), *number))
        .collect();
    let mut matched = json!({});
    for (id, wanted) in &entry.key.matches {
        let field = table.field(*id).unwrap();
        let pattern = Pattern::of_match(*wanted, field.bits);
        matched[&field.name] = print(&Form::of_field(field), &ports, pattern);
    }
    let Some(weft_proto::vocab::TableAction::Call(call)) = &entry.action else {
        panic!("an entry with one action");
    };
    let action = schema.action(call.action).unwrap();
    let mut params = json!({});
    for (id, value) in &call.params {
        let param = action.param(*id).unwrap();
        let pattern = Pattern::exact(*value, param.bits);
        params[&param.name] = print(&Form::of_param(param), &ports, pattern);
    }
    let mut spec = json!({ "match": matched, "action": { "name": action.name, "params": params } });
    if table.needs_priority() {
        spec["priority"] = entry.key.priority.into();
    }
    (Place::new(Kind::Entry, &["s1", &table.name, "mine"]), spec)
}

#[tokio::test]
async fn the_places_of_the_fabric_and_of_constant_tables_are_not_free() {
    let mut lab = Lab::new(TWO_SWITCHES);
    let running = lab.ready_controller(memory()).await;
    let held = entries(&lab, "s1").await;
    let is_call = |entry: &&TableEntry| {
        matches!(entry.action, Some(weft_proto::vocab::TableAction::Call(_)))
            && !entry.key.matches.is_empty()
    };
    let (place, spec) = same_place(&lab, held.iter().find(is_call).unwrap());
    let put = |handle: &Handle| {
        let request = PutResource {
            place: place.clone(),
            spec: spec.clone(),
            context: by("ci"),
        };
        let handle = handle.clone();
        async move { handle.put(request).await }
    };
    let refused = put(&running.handle).await;
    assert!(
        matches!(&refused, Err(HandleError::Conflict { with, .. }) if with == "fabric"),
        "{refused:?}"
    );
    running.stop().await;

    let table = place.table().unwrap().to_owned();
    for known in &mut lab.pipeline.p4info.tables {
        known.is_const_table |= (known.preamble.as_ref()).is_some_and(|p| p.name == table);
    }
    let running = lab.controller(memory()).await;
    let refused = put(&running.handle).await;
    assert!(
        matches!(&refused, Err(HandleError::Conflict { with, .. }) if *with == table),
        "{refused:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn numbers_of_groups_and_meters_outlive_the_controller() {
    let lab = Lab::new(TWO_SWITCHES);
    let store = memory();
    let running = lab.ready_controller(Arc::clone(&store)).await;
    let handle = &running.handle;
    let declare = |kind, name: &'static str, spec: Value| {
        let place = Place::new(kind, &["s1", name]);
        let context = by("ci");
        handle.put(PutResource {
            place,
            spec,
            context,
        })
    };
    let group = json!({ "kind": "select", "buckets": [{ "output": "east" }, { "output": "h1" }] });
    for name in ["g1", "g2", "g3"] {
        declare(Kind::Group, name, group.clone()).await.unwrap();
    }
    for name in ["gold", "silver"] {
        declare(Kind::Meter, name, json!({ "rate": "1mbit" }))
            .await
            .unwrap();
    }
    let flow = json!({
        "match": { "ipv4_dst": "10.9.0.1" }, "actions": [{ "meter": "gold" }, { "group": "g3" }]
    });
    let made = declare(Kind::Flow, "f", flow).await.unwrap();
    // What went leaves no gap that others would fill after a restart.
    let gone = DeleteResource {
        place: Place::new(Kind::Group, &["s1", "g1"]),
        context: by("ci"),
    };
    let gone = handle.delete(gone).await.unwrap();
    realized(handle, "s1", gone.revision).await;
    let programs = |handle: &Handle| {
        let of = |kind| {
            handle
                .resources(kind, &["s1"])
                .into_iter()
                .map(|view| view.program)
        };
        of(Kind::Group)
            .chain(of(Kind::Meter))
            .chain(of(Kind::Flow))
            .collect::<Vec<_>>()
    };
    let before = (programs(handle), entries(&lab, "s1").await);
    assert_eq!(before.0.len(), 5);
    assert!(before.0.contains(&made.resource.program));
    let cells: std::collections::BTreeSet<u32> = (before.0.iter())
        .flat_map(|program| &program.meters)
        .map(|cell| cell.index)
        .collect();
    assert_eq!(cells.len(), 2);
    running.stop().await;

    let running = lab.ready_controller(store).await;
    assert_eq!(
        (programs(&running.handle), entries(&lab, "s1").await),
        before
    );
    assert_eq!(writes(&running.handle), 0);
    assert!(running.handle.switch_diff("s1").await.unwrap().is_proper());
    running.stop().await;
}
