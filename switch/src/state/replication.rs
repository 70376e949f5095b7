//! Multicast groups and clone sessions (P4Runtime §9.5).

use std::sync::Arc;

use weft_proto::vocab::{CloneSession, CloneSessionId, MulticastGroup, MulticastGroupId};

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

    /// Adds a clone session.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert_session(&mut self, session: &CloneSession) -> Result<(), WriteError> {
        check::session(session)?;
        if self.sessions.contains_key(&session.id) {
            return Err(WriteError::AlreadyExists {
                what: check::session_name(session.id),
            });
        }
        Arc::make_mut(&mut self.sessions).insert(session.id, session.clone());
        Ok(())
    }

    /// Replaces a clone session.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify_session(&mut self, session: &CloneSession) -> Result<(), WriteError> {
        check::session(session)?;
        if !self.sessions.contains_key(&session.id) {
            return Err(WriteError::NotFound {
                what: check::session_name(session.id),
            });
        }
        Arc::make_mut(&mut self.sessions).insert(session.id, session.clone());
        Ok(())
    }

    /// Removes a clone session.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_session(&mut self, id: CloneSessionId) -> Result<(), WriteError> {
        if !self.sessions.contains_key(&id) {
            return Err(WriteError::NotFound {
                what: check::session_name(id),
            });
        }
        Arc::make_mut(&mut self.sessions).remove(&id);
        Ok(())
    }

    /// All clone sessions in order of their ids.
    pub fn sessions(&self) -> impl Iterator<Item = &CloneSession> {
        self.sessions.values()
    }

    /// One clone session.
    pub fn session(&self, id: CloneSessionId) -> Option<&CloneSession> {
        self.sessions.get(&id)
    }
}
