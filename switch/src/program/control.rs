//! The lowering of control graphs, and the check of what their tables' actions may do.

use std::collections::BTreeMap;

use super::expr::Scope;
use super::lower::Lower;
use super::{Control, Instr, MAX_NODES, Node};
use crate::ir;

impl Lower<'_> {
    /// Lowers one control.
    pub(crate) fn lower_control(&mut self, what: &str, control: &ir::Control) -> Control {
        let mut indices = BTreeMap::new();
        if control.nodes.len() > MAX_NODES {
            self.errors.push(what, "has more than 32768 nodes");
            return Control {
                start: Control::END,
                nodes: Box::default(),
            };
        }
        for (index, node) in (0_u16..).zip(&control.nodes) {
            if indices.insert(node.name.as_str(), index).is_some() {
                let object = format!("{what} node {}", node.name);
                self.errors.push(object, "is declared twice");
            }
        }
        let start = self.node_index(what, control.start.as_ref(), &indices);
        let nodes: Box<[Node]> = control
            .nodes
            .iter()
            .filter_map(|node| {
                let object = format!("{what} node {}", node.name);
                self.lower_node(&object, &node.kind, &indices)
            })
            .collect();
        if nodes.len() == control.nodes.len()
            && let Some(node) = cyclic(&nodes)
        {
            let object = format!("{what} node {}", control.nodes[node].name);
            self.errors.push(object, "is part of a cycle");
        }
        Control { start, nodes }
    }

    /// Each table is applied by one node at most, and egress forwards nothing.
    pub(crate) fn check_appliers(&mut self, actions: &[Box<[Instr]>], egress: &Control) {
        let pipeline = self.pipeline;
        for node in &egress.nodes {
            if let Node::Run { ops, .. } = node
                && forwards(ops)
            {
                let problem = "a node decides where the packet goes, which ingress does";
                self.errors.push("egress", problem);
            }
        }
        let mut applied = BTreeMap::new();
        let ingress = pipeline.ingress.nodes.iter().map(|node| (false, node));
        let egress = pipeline.egress.nodes.iter().map(|node| (true, node));
        for (in_egress, node) in ingress.chain(egress) {
            let used = match &node.kind {
                ir::NodeKind::Table { table, .. } => table,
                ir::NodeKind::Run { .. } | ir::NodeKind::If { .. } => continue,
            };
            if applied.insert(used.as_str(), ()).is_some() {
                self.errors
                    .push(format!("table {used}"), "is applied by two nodes");
            }
            let Some(table) = pipeline.tables.iter().find(|table| table.name == *used) else {
                continue;
            };
            for action in &table.actions {
                if in_egress
                    && let Some(&index) = self.actions.get(action.name.as_str())
                    && forwards(&actions[index])
                {
                    let problem = format!(
                        "is applied in egress, and its action {} decides where the packet goes",
                        action.name
                    );
                    self.errors.push(format!("table {used}"), problem);
                }
            }
        }
    }

    fn node_index(
        &mut self,
        object: &str,
        name: Option<&String>,
        indices: &BTreeMap<&str, u16>,
    ) -> u16 {
        let Some(name) = name else {
            return Control::END;
        };
        indices.get(name.as_str()).copied().unwrap_or_else(|| {
            self.errors.push(object, format!("there is no node {name}"));
            Control::END
        })
    }

    fn lower_node(
        &mut self,
        object: &str,
        kind: &ir::NodeKind,
        indices: &BTreeMap<&str, u16>,
    ) -> Option<Node> {
        Some(match kind {
            ir::NodeKind::If {
                cond,
                then,
                otherwise,
            } => Node::If {
                cond: self.sized(object, "the condition", cond, 1, &Scope::CONTROL)?,
                then: self.node_index(object, then.as_ref(), indices),
                otherwise: self.node_index(object, otherwise.as_ref(), indices),
            },
            ir::NodeKind::Run { ops, next } => Node::Run {
                ops: self.ops(object, ops, &Scope::CONTROL),
                next: self.node_index(object, next.as_ref(), indices),
            },
            ir::NodeKind::Table {
                table,
                on_action,
                on_hit,
                on_miss,
                next,
            } => {
                let found = self
                    .pipeline
                    .tables
                    .iter()
                    .position(|known| known.name == *table);
                let Some(index) = found else {
                    self.errors
                        .push(object, format!("there is no table {table}"));
                    return None;
                };
                let next = self.node_index(object, next.as_ref(), indices);
                let outcome = |cx: &mut Self, by_outcome: &Option<Option<String>>| {
                    let otherwise = match by_outcome {
                        Some(name) => cx.node_index(object, name.as_ref(), indices),
                        None => next,
                    };
                    // One more for a miss without a default action.
                    vec![otherwise; cx.pipeline.actions.len() + 1]
                };
                let mut hit = outcome(self, on_hit);
                let mut miss = outcome(self, on_miss);
                for (action, name) in on_action {
                    let next = self.node_index(object, name.as_ref(), indices);
                    let allowed = &self.pipeline.tables[index].actions;
                    match self.actions.get(action.as_str()) {
                        Some(&action_index) if allowed.iter().any(|a| a.name == *action) => {
                            hit[action_index] = next;
                            miss[action_index] = next;
                        }
                        _ => {
                            let problem = format!("table {table} has no action {action}");
                            self.errors.push(object, problem);
                        }
                    }
                }
                Node::Table {
                    table: u16::try_from(index).ok()?,
                    on_hit: hit.into(),
                    on_miss: miss.into(),
                }
            }
        })
    }
}

/// Whether operations give a verdict other than drop.
fn forwards(ops: &[Instr]) -> bool {
    ops.iter().any(|op| match op {
        Instr::Output(_)
        | Instr::Multicast(_)
        | Instr::Flood
        | Instr::ToController
        | Instr::Clone(_)
        | Instr::Reject { .. }
        | Instr::Fragment(_) => true,
        Instr::If {
            then, otherwise, ..
        } => forwards(then) || forwards(otherwise),
        _ => false,
    })
}

/// A node on a cycle, found by depth-first search with an explicit stack.
fn cyclic(nodes: &[Node]) -> Option<usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let successors = |node: &Node| -> Vec<u16> {
        match node {
            Node::Table {
                on_hit, on_miss, ..
            } => on_hit.iter().chain(on_miss).copied().collect(),
            Node::If {
                then, otherwise, ..
            } => vec![*then, *otherwise],
            Node::Run { next, .. } => vec![*next],
        }
    };
    let mut marks = vec![Mark::New; nodes.len()];
    for root in 0..nodes.len() {
        let mut path = vec![(root, successors(&nodes[root]))];
        if marks[root] != Mark::New {
            continue;
        }
        marks[root] = Mark::Open;
        while let Some((node, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                marks[*node] = Mark::Done;
                path.pop();
                continue;
            };
            let next = usize::from(next);
            if next >= nodes.len() {
                continue;
            }
            match marks[next] {
                Mark::Open => return Some(next),
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::Open;
                    path.push((next, successors(&nodes[next])));
                }
            }
        }
    }
    None
}
