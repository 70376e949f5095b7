//! Pipeline configuration (P4Runtime §7, §14, §15). The device configuration is the pipeline as JSON.

mod compare;
mod reconcile;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tonic::Status;
use tonic::codegen::Bytes;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::get_forwarding_pipeline_config_request::ResponseType;
use weft_proto::p4::v1::set_forwarding_pipeline_config_request::Action;
use weft_proto::vocab::DeviceId;

use super::idle;
use crate::datapath::Nanos;
use crate::device::{Device, Forwarding, Loaded};
use crate::host::Shared;
use crate::ir::Pipeline;
use crate::program::Program;
use crate::state::State;
use crate::worker::Change;

/// Most mistakes that one answer lists.
const MAX_MISTAKES: usize = 20;

/// Executes a SetForwardingPipelineConfig; returns when every worker runs the pipeline.
pub(super) async fn set(
    shared: &Arc<Shared>,
    request: wire::SetForwardingPipelineConfigRequest,
) -> Result<(), Status> {
    let device = shared.device(DeviceId(request.device_id))?;
    let action = request.action();
    let config = request.config;
    let _turn = device.turn.lock().await;
    device.check_primary(&request.role, request.election_id.as_ref())?;
    let mut forwarding = device.forwarding();
    match action {
        Action::Unspecified => return Err(Status::invalid_argument("the action is missing")),
        Action::Verify => {
            verify(shared, config).await?;
            return Ok(());
        }
        Action::VerifyAndSave => {
            forwarding.saved = Some(verify(shared, config).await?);
            device.set_forwarding(forwarding);
            return Ok(());
        }
        Action::VerifyAndCommit => {
            forwarding = Forwarding {
                committed: Some(verify(shared, config).await?),
                saved: None,
            };
        }
        Action::Commit => {
            if config.is_some() {
                return Err(Status::invalid_argument("COMMIT takes no config"));
            }
            let saved = forwarding
                .saved
                .take()
                .ok_or_else(|| Status::not_found("there is no saved config to commit"))?;
            forwarding.committed = Some(saved);
        }
        Action::ReconcileAndCommit => {
            let next = verify(shared, config).await?;
            forwarding = Forwarding {
                committed: Some(reconcile(
                    forwarding.committed.as_ref(),
                    next,
                    shared.now(),
                )?),
                saved: None,
            };
        }
    }
    commit(shared, device, forwarding).await
}

async fn commit(
    shared: &Arc<Shared>,
    device: &Arc<Device>,
    mut forwarding: Forwarding,
) -> Result<(), Status> {
    if let Some(loaded) = &mut forwarding.committed {
        loaded.state.share_drop_counters(&mut device.drop_names());
    }
    let state = forwarding
        .committed
        .as_ref()
        .map(|loaded| loaded.state.clone());
    // Sent and kept before the wait, so that a caller who goes away leaves nothing half done.
    let pending = shared.workers.apply(&Change::State(device.id, state))?;
    let timed = state_has_timeouts(&forwarding);
    device.set_forwarding(forwarding);
    if timed {
        // Searched at once: it is not known when what was kept or saved can expire.
        idle::watch(shared, device, shared.now());
    }
    pending.wait().await?;
    tracing::info!(dpid = device.id.0, "pipeline committed");
    Ok(())
}

fn state_has_timeouts(forwarding: &Forwarding) -> bool {
    let committed = forwarding.committed.as_ref();
    committed.is_some_and(|loaded| loaded.state.has_timeouts())
}

/// Checks a config and builds its initial state.
async fn verify(
    shared: &Shared,
    config: Option<wire::ForwardingPipelineConfig>,
) -> Result<Loaded, Status> {
    let config = config.ok_or_else(|| Status::invalid_argument("the config is missing"))?;
    let p4info = config
        .p4info
        .as_ref()
        .ok_or_else(|| Status::invalid_argument("the config has no P4Info"))?;
    let program = shared.programs.get(&config.p4_device_config).await?;
    if let Some(difference) = compare::difference(program.p4info(), p4info) {
        return Err(Status::invalid_argument(format!(
            "the P4Info is not that of the pipeline in p4_device_config: {difference}"
        )));
    }
    Ok(Loaded {
        config: Arc::new(config),
        state: State::new(program),
    })
}

/// The programs that switches of this process run, by their device configuration: what many switches are told to run
/// is read and checked once.
#[derive(Debug, Default)]
pub(crate) struct Programs(tokio::sync::Mutex<HashMap<Bytes, Weak<Program>>>);

impl Programs {
    /// The program of a device configuration.
    async fn get(&self, source: &Bytes) -> Result<Arc<Program>, Status> {
        // Held while a program is made: those who wait may want the same.
        let mut known = self.0.lock().await;
        if let Some(program) = known.get(source).and_then(Weak::upgrade) {
            return Ok(program);
        }
        let program = Arc::new(compile(source)?);
        // A program that no switch runs any more is forgotten.
        known.retain(|_, program| program.strong_count() > 0);
        // A copy of its own: the bytes are part of a larger message.
        known.insert(Bytes::copy_from_slice(source), Arc::downgrade(&program));
        Ok(program)
    }
}

fn compile(source: &[u8]) -> Result<Program, Status> {
    let pipeline: Pipeline = serde_json::from_slice(source)
        .map_err(|error| Status::invalid_argument(format!("p4_device_config: {error}")))?;
    Program::new(pipeline).map_err(|mistakes| {
        let lines: Vec<String> = mistakes
            .iter()
            .take(MAX_MISTAKES)
            .map(ToString::to_string)
            .collect();
        Status::invalid_argument(format!("p4_device_config: {}", lines.join("; ")))
    })
}

/// Takes over what the committed pipeline holds.
fn reconcile(current: Option<&Loaded>, mut next: Loaded, now: Nanos) -> Result<Loaded, Status> {
    let Some(current) = current else {
        return Ok(next);
    };
    if current.state.program().pipeline() == next.state.program().pipeline() {
        next.state = current.state.clone();
        return Ok(next);
    }
    next.state.set_time(now);
    reconcile::keep(&current.state, &mut next.state)
        .map_err(|problem| Status::invalid_argument(format!("state cannot be kept: {problem}")))?;
    Ok(next)
}

/// Executes a GetForwardingPipelineConfig; without a pipeline the config is unset.
pub(super) fn get(
    shared: &Shared,
    request: &wire::GetForwardingPipelineConfigRequest,
) -> Result<wire::GetForwardingPipelineConfigResponse, Status> {
    let device = shared.device(DeviceId(request.device_id))?;
    let Forwarding { committed, saved } = device.forwarding();
    let config = committed.or(saved).map(|loaded| {
        let whole = &loaded.config;
        let part = match request.response_type() {
            ResponseType::All => return wire::ForwardingPipelineConfig::clone(whole),
            ResponseType::CookieOnly => wire::ForwardingPipelineConfig::default(),
            ResponseType::P4infoAndCookie => wire::ForwardingPipelineConfig {
                p4info: whole.p4info.clone(),
                ..wire::ForwardingPipelineConfig::default()
            },
            ResponseType::DeviceConfigAndCookie => wire::ForwardingPipelineConfig {
                p4_device_config: whole.p4_device_config.clone(),
                ..wire::ForwardingPipelineConfig::default()
            },
        };
        wire::ForwardingPipelineConfig {
            cookie: whole.cookie,
            ..part
        }
    });
    Ok(wire::GetForwardingPipelineConfigResponse { config })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric;

    #[tokio::test]
    async fn a_program_is_made_once_and_forgotten_with_its_last_switch() {
        let programs = Programs::default();
        let source = Bytes::from(serde_json::to_vec(&fabric::pipeline()).unwrap());
        let first = programs.get(&source).await.unwrap();
        let again = programs
            .get(&Bytes::copy_from_slice(&source))
            .await
            .unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let other = Pipeline {
            version: "2".into(),
            ..fabric::pipeline()
        };
        let other = Bytes::from(serde_json::to_vec(&other).unwrap());
        let second = programs.get(&other).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        drop((first, again));
        programs.get(&other).await.unwrap();
        let third = Bytes::from_static(b"{}");
        assert!(programs.get(&third).await.is_err());
        assert!(programs.0.lock().await[&source].upgrade().is_none());
    }
}
