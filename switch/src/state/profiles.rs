//! Members and groups of action profiles (P4Runtime §9.2).
//!
//! A member is kept once. Entries and groups know where it is kept, so that a change of its action is one write,
//! however many entries and groups use it; nothing that is referred to can go. Groups are kept in the same way, so
//! that the members of a group change for all its entries at once.
//!
//! The entries of all tables that share a profile are of one style: one-shot sets, or references to members and groups
//! (§9.2.3). The sizes of groups and of one-shot sets count against the same limit.

use std::sync::Arc;

use weft_proto::vocab::{
    MemberId, ProfileGroup, ProfileGroupId, ProfileId, ProfileMember, TableAction, WeightedAction,
};

use super::slab::Slab;
use super::tables::bind;
use super::{State, WriteError, check, fingerprint};
use crate::program::SelectorDef;
use crate::selector::{Does, Group, Member};
use crate::table::{Act, Bound};

/// Most members of a group.
const MAX_MEMBERS: u64 = u16::MAX as u64;

/// One action profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    members: Slab<MemberId, HeldMember>,
    groups: Slab<ProfileGroupId, HeldGroup>,
    /// What groups and one-shot sets take of the profile's size.
    taken: u64,
    /// Entries with one-shot sets.
    one_shots: usize,
    /// Entries that refer to members or groups.
    references: usize,
    sum: u128,
}

#[derive(Clone, Debug)]
struct HeldMember {
    written: Arc<ProfileMember>,
    bound: Bound,
    groups: usize,
    entries: usize,
}

#[derive(Clone, Debug)]
struct HeldGroup {
    written: Arc<ProfileGroup>,
    group: Arc<Group>,
    entries: usize,
}

impl Profile {
    /// The action of the member that is kept at a place.
    pub(crate) fn bound(&self, slot: u32) -> Option<&Bound> {
        Some(&self.members.at(slot)?.bound)
    }

    /// The group that is kept at a place, and its id.
    pub(crate) fn group(&self, slot: u32) -> Option<(ProfileGroupId, &Group)> {
        let held = self.groups.at(slot)?;
        Some((held.written.id, &held.group))
    }

    /// The id of the member that is kept at a place.
    pub(crate) fn member_id(&self, slot: u32) -> Option<MemberId> {
        Some(self.members.at(slot)?.written.id)
    }

    /// A sum over members and groups, for fingerprints.
    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    /// Notes that an entry has this action, or has it no more.
    fn count(&mut self, def: &SelectorDef, action: &TableAction, comes: bool) {
        let step = |count: &mut usize| match comes {
            true => *count += 1,
            false => *count -= 1,
        };
        match action {
            TableAction::Call(_) => {}
            TableAction::OneShot(set) => {
                step(&mut self.one_shots);
                let size = one_shot_size(def, set);
                match comes {
                    true => self.taken += size,
                    false => self.taken -= size,
                }
            }
            TableAction::Member(id) => {
                step(&mut self.references);
                if let Some(member) = self.members.get_mut(*id) {
                    step(&mut member.entries);
                }
            }
            TableAction::Group(id) => {
                step(&mut self.references);
                if let Some(group) = self.groups.get_mut(*id) {
                    step(&mut group.entries);
                }
            }
        }
    }

    /// Notes that a group has these members, or has them no more.
    fn count_members(&mut self, group: &ProfileGroup, comes: bool) {
        for member in &group.members {
            if let Some(member) = self.members.get_mut(member.member) {
                match comes {
                    true => member.groups += 1,
                    false => member.groups -= 1,
                }
            }
        }
    }

    /// A group as packets see it; all its members must exist.
    fn build(&self, def: &SelectorDef, group: &ProfileGroup) -> Result<Group, WriteError> {
        let members = group.members.iter().map(|member| {
            let id = member.member;
            let slot = self.members.place(id);
            let slot = slot.ok_or_else(|| WriteError::NotFound {
                what: member_name(def, id),
            })?;
            Ok(Member {
                does: Does::Member { id, slot },
                weight: member.weight,
                watch: member.watch_port,
            })
        });
        let members: Result<Vec<Member>, WriteError> = members.collect();
        Ok(Group::with_room(def.mode, group.max_size, members?))
    }

    /// Whether a group fits its own limit and, in place of what takes `given`, the profile's.
    fn fits(&self, def: &SelectorDef, group: &ProfileGroup, given: u64) -> Result<u64, WriteError> {
        let size = group_size(def, group);
        let limit = match group.max_size {
            0 if def.counts_members() => MAX_MEMBERS,
            0 => u64::MAX,
            limit => limit.into(),
        };
        if size > limit || group.members.len() as u64 > MAX_MEMBERS {
            return Err(WriteError::Full {
                what: group_name(def, group.id),
                size: usize::try_from(limit.min(MAX_MEMBERS)).unwrap_or(usize::MAX),
            });
        }
        self.has_room(def, size, given)?;
        Ok(size)
    }

    fn has_room(&self, def: &SelectorDef, size: u64, given: u64) -> Result<(), WriteError> {
        if def.size > 0 && self.taken - given + size > def.size as u64 {
            return Err(WriteError::Full {
                what: format!("selector {}", def.name),
                size: def.size,
            });
        }
        Ok(())
    }
}

impl State {
    /// Adds a member.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert_member(&mut self, member: &ProfileMember) -> Result<(), WriteError> {
        let index = check::member(&self.program, member)?;
        let def = &self.program.selectors[index];
        let profile = &self.profiles[index];
        if profile.members.place(member.id).is_some() {
            return Err(WriteError::AlreadyExists {
                what: member_name(def, member.id),
            });
        }
        if def.size > 0 && profile.members.len() >= def.size {
            return Err(WriteError::Full {
                what: format!("action profile {}", def.name),
                size: def.size,
            });
        }
        let profile = Arc::make_mut(&mut self.profiles[index]);
        profile.sum = profile.sum.wrapping_add(fingerprint::member(member));
        let held = HeldMember {
            bound: bind(&member.call),
            written: Arc::new(member.clone()),
            groups: 0,
            entries: 0,
        };
        profile.members.insert(member.id, held);
        Ok(())
    }

    /// Replaces a member's action, for all entries and groups that refer to it.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify_member(&mut self, member: &ProfileMember) -> Result<(), WriteError> {
        let index = check::member(&self.program, member)?;
        let what = || member_name(&self.program.selectors[index], member.id);
        if self.profiles[index].members.place(member.id).is_none() {
            return Err(WriteError::NotFound { what: what() });
        }
        let profile = Arc::make_mut(&mut self.profiles[index]);
        if let Some(held) = profile.members.get_mut(member.id) {
            profile.sum = (profile.sum)
                .wrapping_sub(fingerprint::member(&held.written))
                .wrapping_add(fingerprint::member(member));
            held.bound = bind(&member.call);
            held.written = Arc::new(member.clone());
        }
        Ok(())
    }

    /// Removes a member that no entry and no group refers to.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_member(&mut self, profile: ProfileId, id: MemberId) -> Result<(), WriteError> {
        let index = check::profile(&self.program, profile)?;
        let what = || member_name(&self.program.selectors[index], id);
        let Some(held) = self.profiles[index].members.get(id) else {
            return Err(WriteError::NotFound { what: what() });
        };
        if let (groups, entries) = (held.groups, held.entries)
            && groups + entries > 0
        {
            return Err(WriteError::InUse {
                what: what(),
                by: format!("{entries} entries and {groups} groups"),
            });
        }
        let profile = Arc::make_mut(&mut self.profiles[index]);
        if let Some(held) = profile.members.remove(id) {
            profile.sum = (profile.sum).wrapping_sub(fingerprint::member(&held.written));
        }
        Ok(())
    }

    /// Adds a group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert_profile_group(&mut self, group: &ProfileGroup) -> Result<(), WriteError> {
        let index = check::profile_group(&self.program, group)?;
        let def = &self.program.selectors[index];
        let profile = &self.profiles[index];
        if profile.groups.place(group.id).is_some() {
            return Err(WriteError::AlreadyExists {
                what: group_name(def, group.id),
            });
        }
        if def.max_group_size == 0
            && let size = u64::from(group.max_size)
            && size > MAX_MEMBERS
            && def.counts_members()
        {
            // The client asks for more than any group can hold (§9.2.2, "Rules on setting max_size").
            return Err(WriteError::Full {
                what: group_name(def, group.id),
                size: usize::from(u16::MAX),
            });
        }
        let built = profile.build(def, group)?;
        let size = profile.fits(def, group, 0)?;
        let profile = Arc::make_mut(&mut self.profiles[index]);
        profile.taken += size;
        profile.sum = profile.sum.wrapping_add(fingerprint::group(group));
        profile.count_members(group, true);
        let held = HeldGroup {
            written: Arc::new(group.clone()),
            group: Arc::new(built),
            entries: 0,
        };
        profile.groups.insert(group.id, held);
        Ok(())
    }

    /// Replaces a group's members, for all entries that refer to it.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify_profile_group(&mut self, group: &ProfileGroup) -> Result<(), WriteError> {
        let index = check::profile_group(&self.program, group)?;
        let def = &self.program.selectors[index];
        let profile = &self.profiles[index];
        let Some(held) = profile.groups.get(group.id) else {
            return Err(WriteError::NotFound {
                what: group_name(def, group.id),
            });
        };
        let old = Arc::clone(&held.written);
        if old.max_size != group.max_size {
            return Err(WriteError::Invalid {
                what: group_name(def, group.id),
                problem: format!("max_size is {} and cannot be changed", old.max_size),
            });
        }
        let built = profile.build(def, group)?;
        let given = group_size(def, &old);
        let size = profile.fits(def, group, given)?;
        let profile = Arc::make_mut(&mut self.profiles[index]);
        profile.taken = profile.taken - given + size;
        profile.sum = (profile.sum)
            .wrapping_sub(fingerprint::group(&old))
            .wrapping_add(fingerprint::group(group));
        profile.count_members(&old, false);
        profile.count_members(group, true);
        if let Some(held) = profile.groups.get_mut(group.id) {
            held.written = Arc::new(group.clone());
            held.group = Arc::new(built);
        }
        Ok(())
    }

    /// Removes a group that no entry refers to.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_profile_group(
        &mut self,
        profile: ProfileId,
        id: ProfileGroupId,
    ) -> Result<(), WriteError> {
        let index = check::profile(&self.program, profile)?;
        let def = &self.program.selectors[index];
        let what = || group_name(def, id);
        let Some(held) = self.profiles[index].groups.get(id) else {
            return Err(WriteError::NotFound { what: what() });
        };
        if held.entries > 0 {
            return Err(WriteError::InUse {
                what: what(),
                by: format!("{} entries", held.entries),
            });
        }
        let profile = Arc::make_mut(&mut self.profiles[index]);
        if let Some(held) = profile.groups.remove(id) {
            profile.taken -= group_size(def, &held.written);
            profile.sum = (profile.sum).wrapping_sub(fingerprint::group(&held.written));
            profile.count_members(&held.written, false);
        }
        Ok(())
    }

    /// A profile's members in order of their ids. Nothing for an unknown profile.
    pub fn members(&self, profile: ProfileId) -> impl Iterator<Item = &ProfileMember> {
        let profile = self.profile_of(profile);
        let members = profile
            .into_iter()
            .flat_map(|profile| profile.members.iter());
        members.map(|held| &*held.written)
    }

    /// One member.
    pub fn member(&self, profile: ProfileId, id: MemberId) -> Option<&ProfileMember> {
        Some(&self.profile_of(profile)?.members.get(id)?.written)
    }

    /// A selector's groups in order of their ids. Nothing for an unknown selector.
    pub fn profile_groups(&self, profile: ProfileId) -> impl Iterator<Item = &ProfileGroup> {
        let profile = self.profile_of(profile);
        let groups = profile
            .into_iter()
            .flat_map(|profile| profile.groups.iter());
        groups.map(|held| &*held.written)
    }

    /// One group of a selector.
    pub fn profile_group(&self, profile: ProfileId, id: ProfileGroupId) -> Option<&ProfileGroup> {
        Some(&self.profile_of(profile)?.groups.get(id)?.written)
    }

    fn profile_of(&self, id: ProfileId) -> Option<&Profile> {
        Some(&*self.profiles[self.program.selector_index(id)?])
    }

    /// What an entry of a table with a profile does: takes what `new` needs of the profile, and gives back what `old`
    /// took. `new` has been checked; `None` is no entry.
    pub(super) fn exchange(
        &mut self,
        selector: usize,
        old: Option<&TableAction>,
        new: Option<&TableAction>,
    ) -> Result<Option<Act>, WriteError> {
        let def = &self.program.selectors[selector];
        let act = match new {
            Some(new) => Some(self.profiles[selector].resolve(def, old, new)?),
            None => None,
        };
        let profile = Arc::make_mut(&mut self.profiles[selector]);
        if let Some(old) = old {
            profile.count(def, old, false);
        }
        if let Some(new) = new {
            profile.count(def, new, true);
        }
        Ok(act)
    }
}

impl Profile {
    fn resolve(
        &self,
        def: &SelectorDef,
        old: Option<&TableAction>,
        new: &TableAction,
    ) -> Result<Act, WriteError> {
        let mixed = |problem: &str| WriteError::Invalid {
            what: format!("selector {}", def.name),
            problem: problem.into(),
        };
        let was_one_shot = matches!(old, Some(TableAction::OneShot(_)));
        let was_reference = old.is_some() && !was_one_shot;
        match new {
            TableAction::Call(call) => Ok(Act::Call(bind(call))),
            TableAction::OneShot(set) => {
                if self.references > usize::from(was_reference) {
                    return Err(mixed(
                        "its entries refer to members and groups, so none can have a one-shot set",
                    ));
                }
                let given = match old {
                    Some(TableAction::OneShot(old)) => one_shot_size(def, old),
                    _ => 0,
                };
                let size = one_shot_size(def, set);
                if def.max_group_size > 0 && size > def.max_group_size as u64 {
                    return Err(mixed(&format!(
                        "a one-shot set has size {size}; at most {} is possible",
                        def.max_group_size
                    )));
                }
                self.has_room(def, size, given)?;
                let members = set.iter().map(|member| Member {
                    does: Does::Call(bind(&member.call)),
                    weight: member.weight,
                    watch: member.watch_port,
                });
                Ok(Act::Select(Group::new(def.mode, members.collect())))
            }
            TableAction::Member(_) | TableAction::Group(_)
                if self.one_shots > usize::from(was_one_shot) =>
            {
                Err(mixed(
                    "its entries have one-shot sets, so none can refer to members or groups",
                ))
            }
            TableAction::Member(id) => {
                let slot = self.members.place(*id);
                slot.map(Act::Member).ok_or_else(|| WriteError::NotFound {
                    what: member_name(def, *id),
                })
            }
            TableAction::Group(id) => {
                let slot = self.groups.place(*id);
                slot.map(Act::Group).ok_or_else(|| WriteError::NotFound {
                    what: group_name(def, *id),
                })
            }
        }
    }
}

fn one_shot_size(def: &SelectorDef, set: &[WeightedAction]) -> u64 {
    match def.counts_members() {
        true => set.len() as u64,
        false => set.iter().map(|member| u64::from(member.weight)).sum(),
    }
}

fn group_size(def: &SelectorDef, group: &ProfileGroup) -> u64 {
    match def.counts_members() {
        true => group.members.len() as u64,
        false => group
            .members
            .iter()
            .map(|member| u64::from(member.weight))
            .sum(),
    }
}

fn member_name(def: &SelectorDef, id: MemberId) -> String {
    format!("member {id} of {}", def.name)
}

fn group_name(def: &SelectorDef, id: ProfileGroupId) -> String {
    format!("group {id} of {}", def.name)
}
