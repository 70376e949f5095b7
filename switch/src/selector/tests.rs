use super::*;
use crate::bits::mix;
use crate::ports::PortInfo;

fn group(members: &[(u128, u32)]) -> Group {
    group_by(SelectorMode::Hash, members)
}

fn group_by(mode: SelectorMode, members: &[(u128, u32)]) -> Group {
    let members = members.iter().map(|&(port, weight)| Member {
        does: Does::Call(Bound {
            action: 3,
            args: [port].into(),
        }),
        weight,
        watch: PortNo(u32::try_from(port).unwrap()).into(),
    });
    Group::new(mode, members.collect())
}

fn ports(up: &[u32]) -> PortSet {
    let info = PortInfo {
        mtu: 1500,
        up: true,
        is_l2: true,
    };
    up.iter().map(|&number| (PortNo(number), info)).collect()
}

/// The port that each of many flows gets; 0 for none.
fn choices(group: &Group, ports: &PortSet) -> Vec<u128> {
    (0..20_000)
        .map(|flow| {
            let chosen = group.choose(mix(1, flow), ports);
            chosen.map_or(0, |index| match &group.members()[index].does {
                Does::Call(bound) => bound.args[0],
                Does::Member { id, .. } => id.0.into(),
            })
        })
        .collect()
}

fn share(choices: &[u128], port: u128) -> f64 {
    let count = choices.iter().filter(|&&chosen| chosen == port).count();
    f64::from(u32::try_from(count).unwrap()) / 20_000.0
}

#[test]
fn shares_follow_weights() {
    let all = ports(&[1, 2, 3]);
    let choices = choices(&group(&[(1, 1), (2, 2), (3, 5)]), &all);
    for (port, wanted) in [(1, 0.125), (2, 0.25), (3, 0.625)] {
        let found = share(&choices, port);
        assert!(
            (found - wanted).abs() < 0.015,
            "port {port} has {found} of the flows"
        );
    }
}

#[test]
fn the_loss_of_a_member_moves_its_flows_only_and_spreads_them() {
    let group = group(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
    let before = choices(&group, &ports(&[1, 2, 3, 4]));
    let after = choices(&group, &ports(&[1, 3, 4]));
    for (old, new) in before.iter().zip(&after) {
        assert!(if *old == 2 { *new != 2 } else { new == old });
    }
    for port in [1, 3, 4] {
        let found = share(&after, port);
        assert!(
            (found - 1.0 / 3.0).abs() < 0.03,
            "port {port} has {found} of the flows"
        );
    }
}

#[test]
fn the_only_live_member_takes_everything() {
    let members: Vec<_> = (1..=16).map(|port| (port, 1)).collect();
    let choices = choices(&group(&members), &ports(&[11]));
    assert!(choices.iter().all(|&port| port == 11));
}

#[test]
fn a_group_without_live_member_chooses_nothing() {
    assert!(group(&[(1, 1)]).choose(1, &ports(&[])).is_none());
    assert!(group(&[]).choose(1, &ports(&[1])).is_none());
}

#[test]
fn a_new_member_takes_its_share_and_little_else_moves() {
    let all = ports(&[1, 2, 3, 4]);
    let before = choices(&group(&[(1, 1), (2, 1), (3, 1)]), &all);
    let after = choices(&group(&[(1, 1), (2, 1), (3, 1), (4, 1)]), &all);
    let moved = before.iter().zip(&after).filter(|(old, new)| old != new);
    let others = moved.filter(|(_, new)| **new != 4).count();
    assert!(
        others < 2_000,
        "{others} of 20000 flows moved between members that stayed"
    );
}

#[test]
fn equal_members_share() {
    let choices = choices(&group(&[(1, 1), (1, 1), (2, 1)]), &ports(&[1, 2]));
    assert!((share(&choices, 1) - 2.0 / 3.0).abs() < 0.02);
}

#[test]
fn the_first_live_member_takes_all_flows_whatever_the_weights() {
    let group = group_by(SelectorMode::FirstLive, &[(3, 1), (1, 900), (2, 7)]);
    for (up, taken) in [(&[1, 2, 3][..], 3), (&[1, 2], 1), (&[2], 2), (&[], 0)] {
        let choices = choices(&group, &ports(up));
        assert!(choices.iter().all(|&port| port == taken), "{up:?}");
    }
}

#[test]
fn members_of_a_profile_share_by_weight_and_keep_their_flows() {
    let group = |ids: &[u32]| {
        let members = ids.iter().map(|&id| Member {
            does: Does::Member {
                id: MemberId(id),
                slot: 9,
            },
            weight: id,
            watch: Some(PortNo(id)),
        });
        Group::new(SelectorMode::Hash, members.collect())
    };
    let all = ports(&[1, 2, 5]);
    let before = choices(&group(&[1, 2, 5]), &all);
    assert!((share(&before, 5) - 0.625).abs() < 0.015);
    let after = choices(&group(&[1, 2, 5]), &ports(&[1, 5]));
    for (old, new) in before.iter().zip(&after) {
        assert!(if *old == 2 { *new != 2 } else { new == old });
    }
}
