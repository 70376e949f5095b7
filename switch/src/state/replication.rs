//! Multicast groups (P4Runtime §9.5).

use std::sync::Arc;

use weft_proto::vocab::{MulticastGroup, MulticastGroupId};

use super::{State, WriteError, check};

impl State {
    /// Adds a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert_group(&mut self, group: &MulticastGroup) -> Result<(), WriteError> {
        check::group(group)?;
        if self.groups.contains_key(&group.id) {
            return Err(WriteError::AlreadyExists {
                what: check::group_name(group.id),
            });
        }
        Arc::make_mut(&mut self.groups).insert(group.id, group.clone());
        Ok(())
    }

    /// Replaces a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify_group(&mut self, group: &MulticastGroup) -> Result<(), WriteError> {
        check::group(group)?;
        if !self.groups.contains_key(&group.id) {
            return Err(WriteError::NotFound {
                what: check::group_name(group.id),
            });
        }
        Arc::make_mut(&mut self.groups).insert(group.id, group.clone());
        Ok(())
    }

    /// Removes a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_group(&mut self, id: MulticastGroupId) -> Result<(), WriteError> {
        if !self.groups.contains_key(&id) {
            return Err(WriteError::NotFound {
                what: check::group_name(id),
            });
        }
        Arc::make_mut(&mut self.groups).remove(&id);
        Ok(())
    }

    /// All multicast groups in order of their ids.
    pub fn groups(&self) -> impl Iterator<Item = &MulticastGroup> {
        self.groups.values()
    }

    /// One multicast group.
    pub fn group(&self, id: MulticastGroupId) -> Option<&MulticastGroup> {
        self.groups.get(&id)
    }
}
