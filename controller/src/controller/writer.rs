//! The one writer: takes commands and observations in turn, stores, compiles, and posts the result to the switches.

mod apply;
mod audit;
mod draft;
mod links;
mod pipelines;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use weft_proto::node::v1 as node;
use weft_proto::vocab::{DeviceId, EntryKey, PortNo};

use super::StartError;
use super::inventory::{Inventory, Observed, oper_state, port_kind};
use crate::compile::Fabric;
use crate::graph::Graph;
use crate::handle::{Command, Shared};
use crate::model::{Endpoint, Link, Model};
use crate::object::{self, Document, LinkDeclaration};
use crate::reconcile::{Common, Mailbox, TaskEvent};
use crate::resource::{Kind, Place};
use crate::status::OperState;
use crate::store::{ListQuery, Record, Revision, Store};

/// Revisions that stay in the store's history.
const HISTORY: u64 = 16_384;

/// What the writer listens to.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Receiver<TaskEvent>,
    pub(super) observed: mpsc::Receiver<Observed>,
}

/// The writer's state. What handles may see of it is in [`Shared`].
#[derive(Debug)]
pub(super) struct Writer {
    /// The topology with links as declared now.
    model: Model,
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    common: Arc<Common>,
    mailboxes: BTreeMap<String, Arc<Mailbox>>,
    ready: watch::Sender<bool>,
    inventory: Option<Inventory>,
    /// Links that are down, declared or observed; `None` before the first snapshot.
    down: Option<BTreeSet<String>>,
    /// What was declared of links since the file.
    declared_links: BTreeMap<String, LinkDeclaration>,
    /// A link is another than at the last compile.
    links_changed: bool,
    /// Links between switches that were down in the last compile; `None` before the first.
    compiled: Option<BTreeSet<String>>,
    /// Which resource has a key, by switch.
    keys: BTreeMap<String, BTreeMap<EntryKey, Place>>,
    /// Who refers to a resource.
    users: BTreeMap<Place, BTreeSet<Place>>,
    /// Port numbers by name, by switch.
    ports: BTreeMap<String, BTreeMap<String, PortNo>>,
    devices: BTreeMap<DeviceId, String>,
    calls: JoinSet<links::LinkCall>,
}

impl Writer {
    pub(super) fn new(
        model: Model,
        store: Arc<dyn Store>,
        shared: Arc<Shared>,
        common: Arc<Common>,
        mailboxes: BTreeMap<String, Arc<Mailbox>>,
        ready: watch::Sender<bool>,
    ) -> Self {
        let by_name = |switch: &crate::model::Switch| {
            switch
                .ports
                .iter()
                .map(|(number, port)| (port.name.clone(), *number))
                .collect()
        };
        let ports = model
            .switches
            .values()
            .map(|switch| (switch.name.clone(), by_name(switch)))
            .collect();
        let devices = model
            .switches
            .values()
            .map(|switch| (switch.device_id, switch.name.clone()))
            .collect();
        let keys = model
            .switches
            .keys()
            .map(|name| (name.clone(), BTreeMap::new()))
            .collect();
        Self {
            model,
            store,
            shared,
            common,
            mailboxes,
            ready,
            inventory: None,
            down: None,
            declared_links: BTreeMap::new(),
            links_changed: false,
            compiled: None,
            keys,
            users: BTreeMap::new(),
            ports,
            devices,
            calls: JoinSet::new(),
        }
    }

    /// Reads what was declared before this process, and checks that the fabric compiles.
    pub(super) async fn load(&mut self) -> Result<(), StartError> {
        let links = self.store.list(ListQuery::prefix(object::LINKS)).await?;
        let mut revision = links.revision;
        for record in &links.records {
            self.load_link(record);
        }
        // Before what they can hold.
        let pipelines = self
            .store
            .list(ListQuery::prefix(object::PIPELINES))
            .await?;
        revision = revision.max(pipelines.revision);
        for record in &pipelines.records {
            self.load_pipeline(record);
        }
        for kind in Kind::ALL {
            let prefix = format!("/{}/", kind.collection());
            let listing = self.store.list(ListQuery::prefix(prefix)).await?;
            revision = revision.max(listing.revision);
            for record in &listing.records {
                self.load_resource(record);
            }
        }
        self.advance(revision);
        Fabric::new(&self.model, &BTreeSet::new(), &self.common.builtin.schema)?;
        Ok(())
    }

    /// Runs until the controller is cancelled.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let common = Arc::clone(&self.common);
        self.update_ready();
        loop {
            tokio::select! {
                biased;
                () = common.cancel.cancelled() => break,
                Some(observed) = inputs.observed.recv() => {
                    self.handle_observed(observed);
                    // One compile for all that is known already.
                    while let Ok(observed) = inputs.observed.try_recv() {
                        self.handle_observed(observed);
                    }
                    self.show_inventory();
                    self.enforce_links();
                    self.compile().await;
                }
                Some(done) = self.calls.join_next(), if !self.calls.is_empty() => {
                    if let Ok(done) = done {
                        self.finish_link_call(done);
                        self.compile().await;
                    }
                }
                () = common.status_changed.notified() => self.update_ready(),
                Some(event) = inputs.events.recv() => self.handle_event(event).await,
                Some(command) = inputs.commands.recv() => self.handle_command(command).await,
            }
        }
        self.ready.send_replace(false);
    }

    async fn handle_command(&mut self, command: Command) {
        // An answer that nobody waits for any more is dropped; the write stands.
        match command {
            Command::Put(request, reply) => {
                let _ = reply.send(self.put(request).await);
            }
            Command::Apply(request, reply) => {
                let _ = reply.send(self.apply(*request).await);
            }
            Command::Delete(request, reply) => {
                let _ = reply.send(self.delete(request).await);
            }
            Command::Wanted(switch, reply) => {
                let _ = reply.send(self.wanted(&switch));
            }
            Command::PutPipeline(request, reply) => {
                let _ = reply.send(self.put_pipeline(request).await);
            }
            Command::DeletePipeline(request, reply) => {
                let _ = reply.send(self.delete_pipeline(request).await);
            }
            Command::PatchLink(request, reply) => self.patch_link(request, reply).await,
        }
    }

    async fn handle_event(&mut self, event: TaskEvent) {
        match event {
            TaskEvent::IdleTimeout { switch, tags } => self.expire_flows(&switch, &tags).await,
            TaskEvent::Pipeline {
                switch,
                cookie,
                accepted,
            } => self.judge_pipeline(&switch, cookie, accepted).await,
        }
    }

    fn handle_observed(&mut self, observed: Observed) {
        match observed {
            Observed::Snapshot(inventory) => {
                let before = self.inventory.replace(inventory);
                self.restart_rebooted(before.as_ref());
            }
            Observed::Port(device, port) => {
                if let Some(inventory) = &mut self.inventory {
                    inventory.ports.insert((device, PortNo(port.number)), port);
                }
            }
            Observed::Link(name, state) => {
                if let Some(inventory) = &mut self.inventory {
                    inventory.links.insert(name, state);
                }
            }
        }
    }

    /// A switch that started again lost its tables, whatever its session says.
    fn restart_rebooted(&self, before: Option<&Inventory>) {
        let (Some(before), Some(now)) = (before, &self.inventory) else {
            return;
        };
        for (device, boot) in &now.boot_ids {
            let rebooted = before.boot_ids.get(device).is_some_and(|old| old != boot);
            if let (true, Some(mailbox)) = (
                rebooted,
                self.devices.get(device).and_then(|n| self.mailboxes.get(n)),
            ) {
                mailbox.post(Revision::default(), |news| news.restart = true);
            }
        }
    }

    /// Shows handles what was observed.
    fn show_inventory(&self) {
        let Some(inventory) = &self.inventory else {
            return;
        };
        let mut state = self.shared.write();
        for (name, switch) in &self.model.switches {
            if let Some(boot) = inventory.boot_ids.get(&switch.device_id)
                && state.boot_ids.get(name) != Some(boot)
            {
                state.boot_ids.insert(name.clone(), boot.clone());
            }
        }
        for ((device, number), port) in &inventory.ports {
            let Some(view) = self
                .devices
                .get(device)
                .and_then(|name| state.ports.get_mut(name))
                .and_then(|ports| ports.get_mut(&number.0))
            else {
                continue;
            };
            view.kind = port_kind(port.kind());
            view.state = oper_state(port.state());
            if port.mtu > 0 {
                view.mtu = port.mtu;
            }
        }
        for (name, link) in &self.model.links {
            if let Some(view) = state.links.get_mut(name) {
                view.state = self.link_state(inventory, link);
            }
        }
    }

    /// A link is down when anything says so, and up when everything that is known says so.
    fn link_state(&self, inventory: &Inventory, link: &Link) -> OperState {
        let end = |end: &Endpoint| {
            let device = self.model.switches.get(&end.node)?.device_id;
            Some(inventory.port_state(device, end.port?))
        };
        let own = inventory.links.get(&link.name).copied();
        let states: Vec<OperState> = [own, end(&link.a), end(&link.b)]
            .into_iter()
            .flatten()
            .collect();
        if states.contains(&OperState::Down) {
            OperState::Down
        } else if states.contains(&OperState::Up) {
            OperState::Up
        } else {
            OperState::Unknown
        }
    }

    /// Takes in which links are down, and compiles the fabric for all switches when that changes paths.
    async fn compile(&mut self) {
        let Some(inventory) = &self.inventory else {
            return;
        };
        let down: BTreeSet<String> = self
            .model
            .links
            .values()
            .filter(|link| !link.up || self.link_state(inventory, link) == OperState::Down)
            .map(|link| link.name.clone())
            .collect();
        let is_changed = std::mem::take(&mut self.links_changed);
        if self.down.as_ref() == Some(&down) && !is_changed {
            return;
        }
        let foreign = self.foreign_links();
        let mut graph = Graph::new(&self.model);
        for link in down.iter().chain(&foreign) {
            graph.set_link(link, false);
        }
        self.shared.write().graph = Arc::new(graph);
        // A host's link changes where packets can go, not which way they take.
        let between = |name: &String| {
            self.model
                .links
                .get(name)
                .is_some_and(|link| self.is_trunk(link))
        };
        let cut = down.iter().chain(&foreign);
        let trunks: BTreeSet<String> = cut.filter(|name| between(name)).cloned().collect();
        self.down = Some(down);
        if is_changed || self.compiled.as_ref() != Some(&trunks) {
            self.compile_fabric(&trunks).await;
            self.compiled = Some(trunks);
        }
        self.update_ready();
    }

    /// Compiles again although no link has changed: another switch is part of the fabric, or not any more.
    async fn compile_paths(&mut self) {
        self.down = None;
        self.compiled = None;
        self.compile().await;
    }

    fn is_trunk(&self, link: &Link) -> bool {
        let is_switch = |end: &Endpoint| self.model.switches.contains_key(&end.node);
        is_switch(&link.a) && is_switch(&link.b)
    }

    async fn compile_fabric(&self, down: &BTreeSet<String>) {
        let revision = self.shared.revision();
        match Fabric::new(&self.model, down, &self.common.builtin.schema) {
            Ok(fabric) => {
                for (name, mailbox) in &self.mailboxes {
                    if !self.is_fabric(name) {
                        continue;
                    }
                    let desired = fabric.switch(name);
                    mailbox.post(revision, |news| news.fabric = desired);
                    // The first switches are written while the others are compiled.
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "fabric does not compile; switches stay as they are")
            }
        }
    }

    fn update_ready(&self) {
        let switches = &self.shared.switches;
        let ready = switches.is_empty()
            || self.compiled.is_some()
                && switches
                    .values()
                    .all(|switch| switch.status.borrow().reconciled);
        self.ready
            .send_if_modified(|known| std::mem::replace(known, ready) != ready);
    }

    /// Now and then, drops history that is too old for anybody to resume from.
    async fn forget_history(&self, revision: Revision) {
        if revision.0 > HISTORY && revision.0.is_multiple_of(HISTORY / 16) {
            let oldest = Revision(revision.0 - HISTORY);
            if let Err(error) = self.store.compact(oldest).await {
                tracing::warn!(%error, "history is not compacted");
            }
        }
    }

    /// The store is at a later revision.
    fn advance(&self, revision: Revision) {
        let mut state = self.shared.write();
        state.revision = state.revision.max(revision);
    }

    fn load_link(&mut self, record: &Record) {
        let Some(name) = record.key.strip_prefix(object::LINKS) else {
            return;
        };
        let Ok(document) = serde_json::from_slice::<Document<LinkDeclaration>>(&record.value)
        else {
            tracing::error!(key = record.key, "stored link state cannot be read");
            return;
        };
        self.declare_link(name, document.spec, record.modified);
    }
}

/// The wire form of a link's state.
fn wire_state(up: bool) -> node::port::State {
    if up {
        node::port::State::Up
    } else {
        node::port::State::Down
    }
}
