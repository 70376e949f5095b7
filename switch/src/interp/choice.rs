//! What an entry does that has no action of its own: its member's, or that of a member that its group chooses.

use weft_proto::vocab::{MemberId, ProfileGroupId};

use super::{Machine, mix_value};
use crate::bits::mix;
use crate::ir::SelectorMode;
use crate::observe::{Candidate, Choice, Observer};
use crate::selector::{Does, Group};
use crate::table::{Act, Bound};

impl<'a, O: Observer> Machine<'a, O> {
    /// The action to run; `None` where no member is alive.
    pub(super) fn choose(&mut self, table: usize, act: &'a Act) -> Option<&'a Bound> {
        let selector = self.program.tables[table].selector.unwrap_or_default();
        let state = self.state;
        match act {
            Act::Call(bound) => Some(bound),
            Act::Select(group) => self.member_of(table, selector, None, group),
            Act::Group(slot) => {
                let (id, group) = state.profile(selector).group(*slot)?;
                self.member_of(table, selector, Some(id), group)
            }
            Act::Member(slot) => {
                let profile = state.profile(selector);
                if !O::COUNTS {
                    self.observer.chose(Choice {
                        group: None,
                        members: vec![Candidate {
                            member: profile.member_id(*slot),
                            weight: 1,
                            watch_port: None,
                            alive: true,
                        }],
                        chosen: Some(0),
                    });
                }
                profile.bound(*slot)
            }
        }
    }

    fn member_of(
        &mut self,
        table: usize,
        selector: usize,
        id: Option<ProfileGroupId>,
        group: &'a Group,
    ) -> Option<&'a Bound> {
        let def = &self.program.selectors[selector];
        let hash = match def.mode {
            SelectorMode::FirstLive => 0,
            SelectorMode::Hash => {
                let start = mix(self.salt, table as u64);
                let slots = def.hash.iter();
                let values = slots.map(|slot| slot.read(&self.frame.arena));
                mix(values.fold(start, mix_value), 0)
            }
        };
        let chosen = group.choose(hash, self.ports);
        if !O::COUNTS {
            let choice = self.choice(id, group, chosen);
            self.observer.chose(choice);
        }
        match &group.members()[chosen?].does {
            Does::Call(bound) => Some(bound),
            Does::Member { slot, .. } => self.state.profile(selector).bound(*slot),
        }
    }

    fn choice(&self, id: Option<ProfileGroupId>, group: &Group, chosen: Option<usize>) -> Choice {
        let id_of = |does: &Does| -> Option<MemberId> {
            match does {
                Does::Call(_) => None,
                Does::Member { id, .. } => Some(*id),
            }
        };
        let members = group.members().iter().map(|member| Candidate {
            member: id_of(&member.does),
            weight: member.weight,
            watch_port: member.watch,
            alive: member.is_alive(self.ports),
        });
        Choice {
            group: id,
            members: members.collect(),
            chosen,
        }
    }
}
