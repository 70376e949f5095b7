//! Whether a P4Info that a client pushes is that of the pipeline it comes with.
//!
//! The specification leaves what a target can realize to the target (§7, §14). Ours is generated from the pipeline, so
//! the client's must say the same; it may say it in another order, with other documentation, and with annotations
//! that we know nothing of.

use std::collections::BTreeSet;

use weft_proto::p4::config::v1 as p4;

/// The first thing in which `theirs` says something else than `ours`; `None` where they mean the same.
pub(super) fn difference(ours: &p4::P4Info, theirs: &p4::P4Info) -> Option<String> {
    let known = annotations(ours);
    let (ours, theirs) = (canonical(ours, None), canonical(theirs, Some(&known)));
    if ours == theirs {
        return None;
    }
    let found = objects("table", &ours.tables, &theirs.tables, |table| {
        named(table.preamble.as_ref())
    })
    .map(|found| detail(&ours, &theirs, found));
    let found = found.or_else(|| {
        objects("action", &ours.actions, &theirs.actions, |action| {
            named(action.preamble.as_ref())
        })
    });
    let found = found.or_else(|| {
        let (ours, theirs) = (&ours.action_profiles, &theirs.action_profiles);
        objects("action profile", ours, theirs, |profile| {
            named(profile.preamble.as_ref())
        })
    });
    let found = found.or_else(|| {
        let (ours, theirs) = (&ours.direct_counters, &theirs.direct_counters);
        objects("direct counter", ours, theirs, |counter| {
            named(counter.preamble.as_ref())
        })
    });
    let found = found.or_else(|| {
        objects("counter", &ours.counters, &theirs.counters, |counter| {
            named(counter.preamble.as_ref())
        })
    });
    let found = found.or_else(|| {
        objects("meter", &ours.meters, &theirs.meters, |meter| {
            named(meter.preamble.as_ref())
        })
    });
    let found = found.or_else(|| {
        let (ours, theirs) = (&ours.direct_meters, &theirs.direct_meters);
        objects("direct meter", ours, theirs, |meter| {
            named(meter.preamble.as_ref())
        })
    });
    let found = found.or_else(|| {
        let (ours, theirs) = (
            &ours.controller_packet_metadata,
            &theirs.controller_packet_metadata,
        );
        objects("controller header", ours, theirs, |header| {
            named(header.preamble.as_ref())
        })
    });
    found.or_else(|| {
        Some(match ours.pkg_info == theirs.pkg_info {
            true => "it declares what the pipeline has not: value sets, registers, digests, externs or types".into(),
            false => "its package has another name, version or architecture".into(),
        })
    })
}

/// The first object that is missing, not ours, or not the same.
fn objects<T: PartialEq>(
    kind: &str,
    ours: &[T],
    theirs: &[T],
    key: impl Fn(&T) -> (u32, &str),
) -> Option<String> {
    for object in ours {
        let (id, name) = key(object);
        match theirs.iter().find(|other| key(other).0 == id) {
            None => return Some(format!("{kind} {name} ({id:#010x}) is missing")),
            Some(other) if other != object => {
                return Some(format!(
                    "{kind} {name} ({id:#010x}) is declared in another way"
                ));
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<u32> = ours.iter().map(|object| key(object).0).collect();
    let strange = theirs.iter().find(|object| !known.contains(&key(object).0));
    strange.map(|object| {
        let (id, name) = key(object);
        format!("the pipeline has no {kind} {name} ({id:#010x})")
    })
}

/// Says what of a table is declared in another way.
fn detail(ours: &p4::P4Info, theirs: &p4::P4Info, found: String) -> String {
    let pairs = ours.tables.iter().filter_map(|table| {
        let id = named(table.preamble.as_ref()).0;
        let other = theirs.tables.iter();
        let mut other = other.filter(|other| named(other.preamble.as_ref()).0 == id);
        Some((table, other.next()?))
    });
    let Some((ours, theirs)) = { pairs }.find(|(ours, theirs)| ours != theirs) else {
        return found;
    };
    let what = if ours.match_fields != theirs.match_fields {
        "key fields"
    } else if ours.action_refs != theirs.action_refs {
        "actions"
    } else if ours.size != theirs.size {
        "size"
    } else if ours.direct_resource_ids != theirs.direct_resource_ids {
        "direct resources"
    } else {
        return found;
    };
    format!("{found}: its {what}")
}

fn named(preamble: Option<&p4::Preamble>) -> (u32, &str) {
    preamble.map_or((0, ""), |preamble| (preamble.id, preamble.name.as_str()))
}

/// Without documentation and source locations, in the order of ids; of annotations only those that are known.
fn canonical(info: &p4::P4Info, known: Option<&BTreeSet<String>>) -> p4::P4Info {
    let mut info = info.clone();
    if let Some(package) = &mut info.pkg_info {
        *package = p4::PkgInfo {
            name: std::mem::take(&mut package.name),
            version: std::mem::take(&mut package.version),
            arch: std::mem::take(&mut package.arch),
            ..p4::PkgInfo::default()
        };
    }
    visit(&mut info, &mut |annotations| {
        if let Some(known) = known {
            annotations.retain(|annotation| known.contains(annotation));
        }
        annotations.sort();
    });
    info.tables.sort_by_key(|table| id(table.preamble.as_ref()));
    for table in &mut info.tables {
        table.match_fields.sort_by_key(|field| field.id);
        table.action_refs.sort_by_key(|action| action.id);
        table.direct_resource_ids.sort_unstable();
        if let Some(default) = &mut table.initial_default_action {
            default.arguments.sort_by_key(|argument| argument.param_id);
        }
    }
    info.actions
        .sort_by_key(|action| id(action.preamble.as_ref()));
    for action in &mut info.actions {
        action.params.sort_by_key(|param| param.id);
    }
    info.action_profiles
        .sort_by_key(|profile| id(profile.preamble.as_ref()));
    for profile in &mut info.action_profiles {
        profile.table_ids.sort_unstable();
    }
    info.counters
        .sort_by_key(|counter| id(counter.preamble.as_ref()));
    info.direct_counters
        .sort_by_key(|counter| id(counter.preamble.as_ref()));
    info.meters.sort_by_key(|meter| id(meter.preamble.as_ref()));
    info.direct_meters
        .sort_by_key(|meter| id(meter.preamble.as_ref()));
    info.controller_packet_metadata
        .sort_by_key(|header| id(header.preamble.as_ref()));
    for header in &mut info.controller_packet_metadata {
        header.metadata.sort_by_key(|field| field.id);
    }
    info
}

fn id(preamble: Option<&p4::Preamble>) -> u32 {
    named(preamble).0
}

/// All annotations of objects.
fn annotations(info: &p4::P4Info) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    visit(&mut info.clone(), &mut |annotations| {
        all.extend(annotations.iter().cloned());
    });
    all
}

/// Shows each object's annotations, and takes away what says nothing of the object: documentation, source locations,
/// structured annotations (the pipeline has none).
fn visit(info: &mut p4::P4Info, each: &mut impl FnMut(&mut Vec<String>)) {
    let preambles = (info.tables.iter_mut().map(|object| &mut object.preamble))
        .chain(info.actions.iter_mut().map(|object| &mut object.preamble))
        .chain(
            info.action_profiles
                .iter_mut()
                .map(|object| &mut object.preamble),
        )
        .chain(info.counters.iter_mut().map(|object| &mut object.preamble))
        .chain(
            info.direct_counters
                .iter_mut()
                .map(|object| &mut object.preamble),
        )
        .chain(info.meters.iter_mut().map(|object| &mut object.preamble))
        .chain(
            info.direct_meters
                .iter_mut()
                .map(|object| &mut object.preamble),
        )
        .chain(
            info.controller_packet_metadata
                .iter_mut()
                .map(|object| &mut object.preamble),
        );
    for preamble in preambles.flatten() {
        each(&mut preamble.annotations);
        preamble.doc = None;
        preamble.annotation_locations.clear();
        preamble.structured_annotations.clear();
    }
    for table in &mut info.tables {
        for field in &mut table.match_fields {
            each(&mut field.annotations);
            field.doc = None;
            field.annotation_locations.clear();
            field.structured_annotations.clear();
        }
        for action in &mut table.action_refs {
            each(&mut action.annotations);
            action.annotation_locations.clear();
            action.structured_annotations.clear();
        }
    }
    for param in info
        .actions
        .iter_mut()
        .flat_map(|action| &mut action.params)
    {
        each(&mut param.annotations);
        param.doc = None;
        param.annotation_locations.clear();
        param.structured_annotations.clear();
    }
    let headers = info.controller_packet_metadata.iter_mut();
    for field in headers.flat_map(|header| &mut header.metadata) {
        each(&mut field.annotations);
        field.annotation_locations.clear();
        field.structured_annotations.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric;
    use crate::program::Program;

    fn info() -> p4::P4Info {
        Program::new(fabric::pipeline()).unwrap().p4info().clone()
    }

    #[test]
    fn order_documentation_and_strange_annotations_do_not_matter() {
        let ours = info();
        let mut theirs = ours.clone();
        theirs.tables.reverse();
        theirs.actions.reverse();
        theirs.tables[0].match_fields.reverse();
        theirs.tables[0].action_refs.reverse();
        for action in &mut theirs.actions {
            action.params.reverse();
        }
        let preamble = theirs.tables[1].preamble.as_mut().unwrap();
        preamble.doc = Some(p4::Documentation {
            brief: "another".into(),
            ..p4::Documentation::default()
        });
        preamble.annotations.insert(0, "@nobody_knows(1)".into());
        theirs.pkg_info.as_mut().unwrap().contact = "somebody".into();
        assert_eq!(difference(&ours, &theirs), None);
    }

    #[test]
    fn the_first_difference_is_named() {
        let ours = info();
        let told = |change: &dyn Fn(&mut p4::P4Info)| {
            let mut theirs = ours.clone();
            change(&mut theirs);
            difference(&ours, &theirs).unwrap()
        };
        let missing = told(&|info| drop(info.tables.remove(0)));
        assert!(missing.contains("table flows"), "{missing}");
        assert!(missing.ends_with("is missing"), "{missing}");
        let size = told(&|info| info.tables[0].size = 1);
        assert!(size.ends_with("in another way: its size"), "{size}");
        let key = told(&|info| info.tables[0].match_fields[0].bitwidth = 9);
        assert!(key.ends_with("its key fields"), "{key}");
        let action = told(&|info| {
            for action in &mut info.actions {
                action.params.clear();
            }
        });
        assert!(action.starts_with("action "), "{action}");
        let unit = told(&|info| info.meters[0].size = 5);
        assert!(unit.starts_with("meter flow_meters"), "{unit}");
        let more = told(&|info| {
            let mut meter = info.meters[0].clone();
            meter.preamble.as_mut().unwrap().id += 1;
            info.meters.push(meter);
        });
        assert!(more.starts_with("the pipeline has no meter"), "{more}");
        let lost = told(&|info| {
            let preamble = info.tables[0].preamble.as_mut().unwrap();
            preamble.annotations.clear();
        });
        assert!(lost.contains("table flows"), "{lost}");
        let name = told(&|info| info.pkg_info.as_mut().unwrap().name = "x".into());
        assert!(name.contains("package"), "{name}");
        let digest = told(&|info| info.digests.push(p4::Digest::default()));
        assert!(digest.contains("digests"), "{digest}");
    }
}
