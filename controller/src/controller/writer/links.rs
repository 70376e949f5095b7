//! Declared states of links: stored, then asked of the data plane until it reports them.

use tokio::sync::oneshot;
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;

use super::{Writer, wire_state};
use crate::handle::{HandleError, PutLinkState};
use crate::object::{self, Document, LinkDeclaration};
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
    pub(super) async fn put_link_state(&mut self, request: PutLinkState, reply: Reply) {
        match self.store_link_state(&request).await {
            Ok((link, up)) if !request.context.dry_run => self.call_set_link(link, up, Some(reply)),
            Ok((link, _)) => {
                let _ = reply.send(self.shared.link(&link));
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    async fn store_link_state(
        &mut self,
        request: &PutLinkState,
    ) -> Result<(String, bool), HandleError> {
        let view = self.shared.link(&request.link)?;
        let up = request.state != OperState::Down;
        let context = &request.context;
        let known = (view.revision != Revision::default()).then_some(view.revision);
        context.check_revision(known)?;
        if context.dry_run || view.desired_state == state(up) {
            return Ok((view.name, up));
        }
        let document = Document {
            owner: context.owner.clone(),
            set: None,
            spec: LinkDeclaration { up },
        };
        let put = Op::Put {
            key: object::link_key(&view.name),
            value: object::encode(&document),
            lease: None,
        };
        // Without condition: the last writer decides what state a link shall have.
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
                self.declare_link(&view.name, up, revision);
                Ok((view.name, up))
            }
            TxnOutcome::Conflict { .. } => Err(HandleError::PreconditionFailed { current: known }),
        }
    }

    /// Takes in what is declared of a link.
    pub(super) fn declare_link(&mut self, name: &str, up: bool, revision: Revision) {
        let Some(link) = self.model.links.get_mut(name) else {
            tracing::warn!(link = name, "stored state names a link that is gone");
            return;
        };
        link.up = up;
        if let Some(view) = self.shared.write().links.get_mut(name) {
            view.desired_state = state(up);
            view.revision = revision;
        }
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

fn state(up: bool) -> OperState {
    if up { OperState::Up } else { OperState::Down }
}
