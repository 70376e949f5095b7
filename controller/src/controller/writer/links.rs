//! What is declared of links while they run: stored, taken into the topology, and asked of the data plane until it
//! reports it.

use serde_json::Value;
use tokio::sync::oneshot;
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;

use super::{Writer, wire_state};
use crate::handle::{HandleError, PatchLink};
use crate::load;
use crate::model::Link;
use crate::object::{self, Document, LinkDeclaration};
use crate::problem::{Code, FieldError};
use crate::quantity::TimeSpan;
use crate::spec::LinkState;
use crate::status::{LinkView, OperState};
use crate::store::{Op, Revision, Txn, TxnOutcome};

type Reply = oneshot::Sender<Result<LinkView, HandleError>>;

/// A finished request to take a link up or down.
#[derive(Debug)]
pub(super) struct LinkCall {
    link: String,
    up: bool,
    error: Option<String>,
    reply: Option<Reply>,
}

impl Writer {
    pub(super) async fn patch_link(&mut self, request: PatchLink, reply: Reply) {
        let asks_state = request.change.get("state").is_some();
        match self.store_link(&request).await {
            Ok((link, up)) if asks_state && !request.context.dry_run => {
                self.call_set_link(link, up, Some(reply));
            }
            Ok((link, _)) => {
                let _ = reply.send(self.shared.link(&link));
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Stores what a link shall be now. Returns its name, and whether it shall carry packets.
    async fn store_link(&mut self, request: &PatchLink) -> Result<(String, bool), HandleError> {
        let view = self.shared.link(&request.link)?;
        let context = &request.context;
        let stored = (view.revision != Revision::default()).then_some(view.revision);
        context.check_revision(stored)?;
        let known = self.declared_links.get(&view.name);
        let known = known.cloned().unwrap_or_default();
        let declared = patched(&known, &view, &request.change)
            .map_err(|errors| HandleError::Invalid { errors })?;
        let up = |declared: &LinkDeclaration| declared.state.map(|state| state == LinkState::Up);
        let base = self.shared.model.links.get(&view.name);
        let is_up = up(&declared)
            .or_else(|| base.map(|base| base.up))
            .unwrap_or(true);
        if context.dry_run || declared == known {
            return Ok((view.name, is_up));
        }
        let put = Op::Put {
            key: object::link_key(&view.name),
            value: object::encode(&Document {
                owner: context.owner.clone(),
                set: None,
                number: None,
                spec: &declared,
            }),
            lease: None,
        };
        // Without condition: the last writer decides what a link shall be.
        match self
            .store
            .txn(Txn {
                compare: vec![],
                ops: vec![put],
            })
            .await?
        {
            TxnOutcome::Committed { revision } => {
                self.advance(revision);
                self.declare_link(&view.name, declared, revision);
                // Paths follow at once, and before the answer.
                self.compile().await;
                Ok((view.name, is_up))
            }
            TxnOutcome::Conflict { .. } => Err(HandleError::PreconditionFailed { current: stored }),
        }
    }

    /// Takes in what is declared of a link.
    pub(super) fn declare_link(
        &mut self,
        name: &str,
        declared: LinkDeclaration,
        revision: Revision,
    ) {
        let Some(base) = self.shared.model.links.get(name) else {
            tracing::warn!(link = name, "stored state names a link that is gone");
            return;
        };
        let link = apply(base, &declared);
        if let Some(view) = self.shared.write().links.get_mut(name) {
            let now = LinkView::new(&link);
            *view = LinkView {
                state: view.state,
                revision,
                ..now
            };
        }
        self.links_changed |= self.model.links.get(name) != Some(&link);
        self.model.links.insert(name.to_owned(), link);
        self.declared_links.insert(name.to_owned(), declared);
    }

    /// Asks the data plane for links that are up although they were declared down.
    pub(super) fn enforce_links(&mut self) {
        let Some(inventory) = &self.inventory else {
            return;
        };
        let wrong: Vec<String> = self
            .model
            .links
            .values()
            .filter(|link| !link.up && self.link_state(inventory, link) == OperState::Up)
            .map(|link| link.name.clone())
            .collect();
        for link in wrong {
            self.call_set_link(link, false, None);
        }
    }

    fn call_set_link(&mut self, link: String, up: bool, reply: Option<Reply>) {
        let mut client = NodeClient::new(self.shared.channel.clone());
        self.calls.spawn(async move {
            let request = node::SetLinkRequest {
                link: link.clone(),
                state: wire_state(up).into(),
            };
            let error = client
                .set_link(request)
                .await
                .err()
                .map(|status| status.message().to_owned());
            LinkCall {
                link,
                up,
                error,
                reply,
            }
        });
    }

    pub(super) fn finish_link_call(&mut self, call: LinkCall) {
        let LinkCall {
            link,
            up,
            error,
            reply,
        } = call;
        let answer = match error {
            None => {
                // The data plane did it; its event may come a moment later.
                if let Some(inventory) = &mut self.inventory {
                    inventory.links.insert(link.clone(), state(up));
                }
                self.show_inventory();
                self.shared.link(&link)
            }
            Some(detail) => {
                tracing::warn!(link, detail, "link state not set");
                Err(HandleError::SwitchUnavailable {
                    switch: link,
                    detail,
                })
            }
        };
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
    }
}

/// What is declared after a merge patch (RFC 7396) of what the link is. A member that is `null` is again what the file
/// says; `impair: null` takes all impairments away, the file's too.
fn patched(
    known: &LinkDeclaration,
    view: &LinkView,
    change: &Value,
) -> Result<LinkDeclaration, Vec<FieldError>> {
    let Value::Object(members) = change else {
        let detail = "an object with what changes is wanted";
        return Err(vec![FieldError::new("", Code::WrongType, detail)]);
    };
    let mut document = serde_json::to_value(known).unwrap_or_default();
    for (name, value) in members {
        document[name] = match (name.as_str(), value) {
            ("impair", Value::Null) => Value::Object(serde_json::Map::new()),
            ("impair", Value::Object(changes)) => {
                let mut impair = serde_json::to_value(&view.impair).unwrap_or_default();
                if let Value::Object(impair) = &mut impair {
                    for (key, value) in changes {
                        match value {
                            Value::Null => impair.remove(key),
                            value => impair.insert(key.clone(), value.clone()),
                        };
                    }
                }
                impair
            }
            (_, value) => value.clone(),
        };
    }
    let declared: LinkDeclaration = load::from_json(document)?;
    let mut errors = Vec::new();
    if declared.metric == Some(0) {
        let detail = "a metric is 1 or more";
        errors.push(FieldError::new("/metric", Code::OutOfRange, detail));
    }
    for (index, name) in declared.srlgs.iter().flatten().enumerate() {
        if !object::is_name(name) {
            let pointer = format!("/srlgs/{index}");
            errors.push(FieldError::new(
                pointer,
                Code::InvalidName,
                object::NAME_RULE,
            ));
        }
    }
    if errors.is_empty() {
        Ok(declared)
    } else {
        Err(errors)
    }
}

/// A link of the file with what was declared since.
fn apply(base: &Link, declared: &LinkDeclaration) -> Link {
    let mut link = base.clone();
    if let Some(impair) = &declared.impair {
        let rates = [&base.impair_a, &base.impair_b].map(|impair| impair.rate);
        let slowest = rates.into_iter().flatten().min().map(|rate| rate.0);
        // A capacity that only came from the file's rate goes with it.
        if base.capacity_bps == slowest {
            link.capacity_bps = None;
        }
        link.capacity_bps = link.capacity_bps.or_else(|| impair.rate.map(|rate| rate.0));
        link.latency = impair.delay.map(TimeSpan::as_duration);
        link.impair_a = impair.clone();
        link.impair_b = impair.clone();
    }
    if let Some(metric) = declared.metric {
        link.metric = metric;
    }
    if let Some(srlgs) = &declared.srlgs {
        link.srlgs.clone_from(srlgs);
    }
    if let Some(capacity) = declared.capacity {
        link.capacity_bps = Some(capacity.0);
    }
    if let Some(state) = declared.state {
        link.up = state == LinkState::Up;
    }
    link
}

fn state(up: bool) -> OperState {
    if up { OperState::Up } else { OperState::Down }
}
