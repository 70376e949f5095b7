//! Where the parts of a model stand in its file. For people only: nothing is compiled, compared or hashed by it.

use std::collections::BTreeMap;

/// The places of a model's parts.
///
/// All are equal, so that two models are the same wherever their parts stand.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// The file as the user named it; empty for a model without one.
    pub file: String,
    /// Places of nodes by name; of a range, all have one.
    pub nodes: BTreeMap<String, Origin>,
    /// Places of links by name; a host that the lab attaches has its link at its own place.
    pub links: BTreeMap<String, Origin>,
}

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// JSON pointer into the document.
    pub pointer: String,
    /// Line, from 1; `None` where the document has no lines.
    pub line: Option<usize>,
}

impl Origins {
    /// Finds the lines of all pointers.
    pub(crate) fn locate(&mut self, file: &str, line: impl Fn(&str) -> Option<usize>) {
        file.clone_into(&mut self.file);
        for origin in self.nodes.values_mut().chain(self.links.values_mut()) {
            origin.line = line(&origin.pointer);
        }
    }
}

impl From<&str> for Origin {
    fn from(pointer: &str) -> Self {
        Self {
            pointer: pointer.to_owned(),
            line: None,
        }
    }
}

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origins {}
