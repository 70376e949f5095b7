//! What the task tells of its switch: its status, with a condition for each thing that is not as it should be.

use std::sync::Arc;

use super::SwitchTask;
use crate::status::{Condition, ConditionType, TableUse};

impl SwitchTask {
    /// Publishes the status; `error` says why there is no session.
    pub(super) fn publish(&mut self, error: Option<String>) {
        let schema = &self.pipeline.schema;
        let status = &mut self.status;
        status.desired_entries = self.core.desired_count();
        status.foreign_entries = self.core.foreign_count();
        status.rejected = self.core.rejections();
        status.rejected_groups = self.core.group_rejections().clone();
        status.rejected_meters = self.core.meter_rejections().clone();
        let used = self.core.table_use();
        status.entries = schema
            .tables()
            .map(|table| {
                let used = used.get(&table.id).copied().unwrap_or(0);
                (
                    table.name.clone(),
                    TableUse {
                        used,
                        size: table.size,
                    },
                )
            })
            .collect();
        let mut conditions = vec![Condition {
            r#type: ConditionType::SwitchConnected,
            status: status.connected,
            detail: error.unwrap_or_default(),
        }];
        if let Some(detail) = &self.pipeline_error {
            conditions.push(Condition {
                r#type: ConditionType::PipelineReady,
                status: false,
                detail: detail.clone(),
            });
        }
        let mut add = |r#type, detail: String| {
            conditions.push(Condition {
                r#type,
                status: true,
                detail,
            })
        };
        if self.foreign_primary {
            add(
                ConditionType::ForeignPrimary,
                "another client is primary; nothing is written".to_owned(),
            );
        }
        if let Some(detail) = &self.behind {
            add(ConditionType::EpochBehind, detail.clone());
        }
        if self.core.deletes_held() {
            add(
                ConditionType::MassDeleteHeld,
                "nothing that was declared explains so many deletes".to_owned(),
            );
        }
        if status.foreign_entries > 0 {
            add(
                ConditionType::ForeignEntries,
                format!("{} entries of others", status.foreign_entries),
            );
        }
        let (groups, meters) = (&status.rejected_groups, &status.rejected_meters);
        let others = || groups.values().chain(meters.values());
        if let Some(first) = status.rejected.values().chain(others()).next() {
            let count = status.rejected.len() + others().count();
            add(
                ConditionType::EntriesRejected,
                format!("{count} refused, one with {}: {}", first.code, first.detail),
            );
        }
        status.conditions = conditions;
        self.published.send_replace(Arc::new(status.clone()));
        self.common.status_changed.notify_one();
    }
}
