//! Declared resources: what all kinds have in common, and the table of kinds.
//!
//! A resource is a document at a [`Place`]. Whatever its kind, it goes one way: the API decodes it, the one writer checks
//! conditions and owners, compiles it against everything else that is declared, stores it, and tells the switches what
//! became of it. A kind adds what only it knows: its row in [`Kind`]'s table.
//!
//! ```text
//!  PUT, PATCH, apply ──► Edit ──► compile ──► Draft ──► one transaction ──► install ──► switches
//!                                   ▲  │ normal form, program, references
//!                      row of Kind ─┘  └► 422 with pointers
//! ```
//!
//! To add a kind: a variant of [`Kind`], its row, and the function that compiles it. Store, REST, lists, `weft apply`
//! and `weft get` follow.

mod check;
mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::Value;
use weft_proto::schema::Schema;
use weft_proto::vocab::{MeterCell, MulticastGroup, PortNo, TableEntry};

pub use check::check;

use crate::group;
use crate::meter;
use crate::problem::FieldError;
use crate::store::Revision;

/// Members of an answer that the controller makes; a client may send them back unread.
pub const COMPUTED: [&str; 8] = [
    "owner", "flowSet", "entries", "groups", "meter", "status", "diff", "changes",
];

/// What a resource is. The order is that of references: what is referred to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Several ways out under one name.
    Group,
    /// The most that may pass.
    Meter,
    /// What a user says about packets on a switch.
    Flow,
    /// A raw table entry.
    Entry,
    /// All flows of one purpose, over any switches.
    FlowSet,
}

type Compile = fn(&Scope<'_>, &Place, Value) -> Result<Compiled, Vec<FieldError>>;
type Numbers = fn(&Schema) -> Option<RangeInclusive<u32>>;
type Members = fn(&mut Value) -> Result<Vec<Member>, Vec<FieldError>>;

/// What the mechanism knows of a kind.
struct Row {
    /// The collection's name in the API, in files and in the store.
    collection: &'static str,
    /// One of it, in messages.
    noun: &'static str,
    /// What it is under.
    parents: &'static [&'static str],
    /// Makes the normal form and what follows from it.
    compile: Compile,
    /// The numbers that resources of this kind go by on a switch; none for most kinds.
    numbers: Option<Numbers>,
    /// Takes the resources out of a document that it makes and owns; none for most kinds.
    members: Option<Members>,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Group,
        Self::Meter,
        Self::Flow,
        Self::Entry,
        Self::FlowSet,
    ];

    fn row(self) -> &'static Row {
        match self {
            Self::Group => &Row {
                collection: "groups",
                noun: "group",
                parents: &["switch"],
                compile: kinds::group,
                numbers: Some(group::numbers),
                members: None,
            },
            Self::Meter => &Row {
                collection: "meters",
                noun: "meter",
                parents: &["switch"],
                compile: kinds::meter,
                numbers: Some(meter::numbers),
                members: None,
            },
            Self::Flow => &Row {
                collection: "flows",
                noun: "flow",
                parents: &["switch"],
                compile: kinds::flow,
                numbers: None,
                members: None,
            },
            Self::Entry => &Row {
                collection: "entries",
                noun: "entry",
                parents: &["switch", "table"],
                compile: kinds::entry,
                numbers: None,
                members: None,
            },
            Self::FlowSet => &Row {
                collection: "flowsets",
                noun: "flow set",
                parents: &[],
                compile: kinds::flow_set,
                numbers: None,
                members: Some(kinds::flow_set_members),
            },
        }
    }

    /// The collection's name in the API, in files and in the store.
    pub fn collection(self) -> &'static str {
        self.row().collection
    }

    /// One of it, in messages.
    pub fn noun(self) -> &'static str {
        self.row().noun
    }

    /// What it is under: nothing, a switch, a table of a switch.
    pub fn parents(self) -> &'static [&'static str] {
        self.row().parents
    }

    /// Whether resources of this kind make others, which are changed through them alone.
    pub fn has_members(self) -> bool {
        self.row().members.is_some()
    }

    /// The kinds that a topology file has a section of.
    pub fn sections() -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|kind| kind.parents().is_empty())
    }

    pub(crate) fn compile(
        self,
        scope: &Scope<'_>,
        place: &Place,
        spec: Value,
    ) -> Result<Compiled, Vec<FieldError>> {
        (self.row().compile)(scope, place, spec)
    }

    /// The numbers that resources of this kind go by on a switch with this pipeline.
    pub(crate) fn numbers(self, schema: &Schema) -> Option<RangeInclusive<u32>> {
        (self.row().numbers?)(schema)
    }

    /// Takes the resources out of a document that it makes.
    pub(crate) fn members(self, spec: &mut Value) -> Result<Vec<Member>, Vec<FieldError>> {
        self.row()
            .members
            .map_or_else(|| Ok(Vec::new()), |take| take(spec))
    }
}

/// Where a resource is: its kind, the names of what it is under, and its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The kind.
    pub kind: Kind,
    /// The names, joined by `/`, which no name has.
    path: String,
}

impl Place {
    /// The place with these names: one for each of the kind's parents, then the resource's own.
    pub fn new(kind: Kind, names: &[&str]) -> Self {
        Self {
            kind,
            path: names.join("/"),
        }
    }

    /// The flow `name` of a switch.
    pub fn flow(switch: &str, name: &str) -> Self {
        Self::new(Kind::Flow, &[switch, name])
    }

    /// The resource's own name.
    pub fn name(&self) -> &str {
        let end = self.path.rsplit('/').next();
        end.unwrap_or(&self.path)
    }

    /// What it is under, with their names: `("switch", "s1")`.
    pub fn parents(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let names = self.kind.parents().iter().copied();
        names.zip(self.path.split('/'))
    }

    /// The switch that it is on; `None` where it is on none, or many.
    pub fn switch(&self) -> Option<&str> {
        self.parents()
            .find_map(|(what, name)| (what == "switch").then_some(name))
    }

    /// The table that it is in.
    pub fn table(&self) -> Option<&str> {
        self.parents()
            .find_map(|(what, name)| (what == "table").then_some(name))
    }

    /// The place of a kind of thing on the same switch.
    pub(crate) fn beside(&self, kind: Kind, name: &str) -> Self {
        Self::new(kind, &[self.switch().unwrap_or_default(), name])
    }

    /// What marks its entries on its switch: unique there, over all kinds.
    pub(crate) fn tag(&self) -> String {
        match self.kind {
            Kind::Flow | Kind::Entry | Kind::FlowSet => self.local().to_owned(),
            // No name has a colon.
            Kind::Group | Kind::Meter => format!("{}:{}", self.kind.collection(), self.local()),
        }
    }

    /// What it is called among its kind on its switch. A flow has its name, an entry `table/name`.
    pub fn local(&self) -> &str {
        match self.switch() {
            Some(switch) => self.path.get(switch.len() + 1..).unwrap_or_default(),
            None => &self.path,
        }
    }

    /// The key in the store.
    pub(crate) fn key(&self) -> String {
        format!("/{}/{}", self.kind.collection(), self.path)
    }

    /// Reads a key of the store.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        let (collection, path) = key.strip_prefix('/')?.split_once('/')?;
        let kind = (Kind::ALL.into_iter()).find(|kind| kind.collection() == collection)?;
        let has_all = path.split('/').count() == kind.parents().len() + 1;
        has_all.then(|| Self {
            kind,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.noun(), self.local())?;
        match self.switch() {
            Some(switch) => write!(f, " of {switch}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// What a switch holds for a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// Table entries; their metadata is empty, the owner tag is put there by who installs them.
    pub entries: Vec<TableEntry>,
    /// Multicast groups that the entries refer to. Resources share equal ones.
    pub groups: Vec<MulticastGroup>,
    /// Configured meters, each wanted by one resource only.
    pub meters: Vec<MeterCell>,
}

/// What a document becomes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled {
    /// The normal form. Compiling that gives the same again.
    pub(crate) spec: Value,
    pub(crate) program: Program,
    /// The resources that it names.
    pub(crate) references: BTreeSet<Place>,
    /// What the user should know although it is no mistake.
    pub(crate) warnings: Vec<String>,
}

/// A resource that another one makes.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) place: Place,
    /// Where it is in the document that makes it.
    pub(crate) pointer: String,
    pub(crate) spec: Value,
}

/// A stored resource and what it becomes.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) revision: Revision,
    pub(crate) owner: String,
    /// The resource that made it, through which alone it is changed.
    pub(crate) set: Option<String>,
    /// What it goes by on its switch. Stored, so that it stays over restarts and whatever comes and goes beside it.
    pub(crate) number: Option<u32>,
    /// In normal form, where it fits.
    pub(crate) spec: Value,
    pub(crate) program: Arc<Program>,
    pub(crate) references: BTreeSet<Place>,
    pub(crate) warnings: Vec<String>,
    /// Why it does not fit the pipeline that runs now.
    pub(crate) misfit: Option<String>,
}

impl Resource {
    /// The same document with what it becomes; where it does not fit, it is kept as it is and becomes nothing.
    pub(crate) fn compiled(self, made: Result<Compiled, Vec<FieldError>>) -> Self {
        let misfit = made.as_ref().err().map(|errors| {
            let first = errors.first();
            first.map(ToString::to_string).unwrap_or_default()
        });
        let made = made.unwrap_or_else(|_| Compiled {
            spec: self.spec.clone(),
            ..Compiled::default()
        });
        Self {
            spec: made.spec,
            program: Arc::new(made.program),
            references: made.references,
            warnings: made.warnings,
            misfit,
            ..self
        }
    }
}

/// All resources, by place.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    all: BTreeMap<Place, Arc<Resource>>,
}

impl Resources {
    pub(crate) fn get(&self, place: &Place) -> Option<&Arc<Resource>> {
        self.all.get(place)
    }

    pub(crate) fn insert(&mut self, place: Place, resource: Resource) {
        self.all.insert(place, Arc::new(resource));
    }

    pub(crate) fn remove(&mut self, place: &Place) -> Option<Arc<Resource>> {
        self.all.remove(place)
    }

    /// Every resource.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &Arc<Resource>)> {
        self.all.iter()
    }

    /// Those of a kind under `parents`; an empty list is under anything.
    pub(crate) fn under<'a>(
        &'a self,
        kind: Kind,
        parents: &[&str],
    ) -> impl Iterator<Item = (&'a Place, &'a Arc<Resource>)> + use<'a> {
        let mut path = parents.join("/");
        if !path.is_empty() {
            path.push('/');
        }
        let from = Place {
            kind,
            path: path.clone(),
        };
        self.all
            .range(from..)
            .take_while(move |(place, _)| place.kind == kind && place.path.starts_with(&path))
    }

    /// The names of resources beside `place`.
    pub(crate) fn beside(&self, place: &Place) -> impl Iterator<Item = &str> {
        let parents: Vec<&str> = place.parents().map(|(_, name)| name).collect();
        let found = self.under(place.kind, &parents);
        found.map(|(place, _)| place.name())
    }

    /// What is on a switch, of all kinds.
    pub(crate) fn on_switch<'a>(
        &'a self,
        switch: &'a str,
    ) -> impl Iterator<Item = (&'a Place, &'a Arc<Resource>)> {
        let on_switches =
            (Kind::ALL.into_iter()).filter(|kind| kind.parents().first() == Some(&"switch"));
        on_switches.flat_map(move |kind| self.under(kind, &[switch]))
    }

    /// What a resource made.
    pub(crate) fn members<'a>(
        &'a self,
        set: &'a Place,
    ) -> impl Iterator<Item = (&'a Place, &'a Arc<Resource>)> {
        let makes = set.kind.has_members();
        let flows = makes.then(|| self.under(Kind::Flow, &[]));
        flows
            .into_iter()
            .flatten()
            .filter(move |(_, resource)| resource.set.as_deref() == Some(set.name()))
    }
}

/// What a compile may look at.
pub(crate) struct Scope<'a> {
    /// The pipeline of the switch that the resource is on, or of all.
    pub(crate) schema: &'a Schema,
    /// The ports of the switch that the resource is on.
    pub(crate) ports: &'a BTreeMap<String, PortNo>,
    /// Another resource makes this one.
    pub(crate) is_member: bool,
    /// What the resource goes by on its switch.
    pub(crate) number: u32,
    /// What else is declared.
    pub(crate) declared: &'a dyn Declared,
}

/// What is declared, with what is about to be.
pub(crate) trait Declared {
    /// A resource.
    fn get(&self, place: &Place) -> Option<&Resource>;

    /// The names of resources beside one, its own included where it exists.
    fn names(&self, place: &Place) -> Vec<String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_back_from_keys() {
        for (place, key, local) in [
            (
                Place::flow("leaf1", "web.in"),
                "/flows/leaf1/web.in",
                "web.in",
            ),
            (
                Place::new(Kind::Entry, &["leaf1", "ingress.acl", "a"]),
                "/entries/leaf1/ingress.acl/a",
                "ingress.acl/a",
            ),
            (
                Place::new(Kind::FlowSet, &["chain"]),
                "/flowsets/chain",
                "chain",
            ),
        ] {
            assert_eq!(place.key(), key);
            assert_eq!(Place::of_key(key), Some(place.clone()));
            assert_eq!(place.local(), local);
        }
        for other in ["/links/a", "/flows/leaf1", "/flows/leaf1/a/b", "flows/a/b"] {
            assert_eq!(Place::of_key(other), None, "{other}");
        }
    }

    #[test]
    fn a_switch_whose_name_begins_like_another_has_its_own_resources() {
        let mut resources = Resources::default();
        for switch in ["s1", "s10", "s1-x", "s"] {
            let resource = Resource {
                revision: Revision(1),
                owner: "ci".to_owned(),
                set: None,
                number: None,
                spec: Value::Null,
                program: Arc::default(),
                references: BTreeSet::new(),
                warnings: Vec::new(),
                misfit: None,
            };
            resources.insert(Place::flow(switch, "f"), resource);
        }
        let found: Vec<_> = resources.under(Kind::Flow, &["s1"]).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.switch(), Some("s1"));
        assert_eq!(resources.under(Kind::Flow, &[]).count(), 4);
        assert_eq!(resources.under(Kind::FlowSet, &[]).count(), 0);
    }
}
