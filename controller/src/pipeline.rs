//! Pipelines of switches: the built-in one, and those that users declare.
//!
//! A declared pipeline goes its own way before anything else follows it, so that a switch which refuses it goes on as it
//! is:
//!
//! ```text
//!  PUT ──► stored ──► the switch verifies it ──► active: pushed, and everything on the switch is compiled again
//!                              └► refused: the one before stays active, the switch's words are shown
//! ```
//!
//! What the controller does on a switch (raw entries, flows, packets) follows the active pipeline's P4Info. A switch
//! with a declared pipeline is no part of the fabric: nothing is compiled for it, and no path leads over it.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_proto::p4::config::v1::P4Info;
use weft_proto::p4::v1 as wire;
use weft_proto::schema::{Schema, SchemaError};

use crate::problem::{Code, FieldError};
use crate::southbound::PipelineConfig;
use crate::store::Revision;

/// A pipeline that can be pushed, and what it offers.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Tables, fields and actions.
    pub(crate) schema: Arc<Schema>,
    /// As it is pushed.
    pub(crate) config: wire::ForwardingPipelineConfig,
    /// Tells it from others.
    pub(crate) cookie: u64,
}

impl Pipeline {
    /// # Errors
    ///
    /// The P4Info is not consistent.
    pub(crate) fn new(config: PipelineConfig) -> Result<Self, SchemaError> {
        Ok(Self {
            schema: Arc::new(Schema::new(&config.p4info)?),
            cookie: config.cookie,
            config: wire::ForwardingPipelineConfig {
                p4info: Some(config.p4info),
                p4_device_config: config.device_config,
                cookie: Some(wire::forwarding_pipeline_config::Cookie {
                    cookie: config.cookie,
                }),
            },
        })
    }
}

/// A declared pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PipelineSpec {
    /// The P4Info message (`p4.config.v1.P4Info`), in base64.
    pub p4info: String,
    /// What the switch executes, in its own format: an object, or bytes in base64.
    pub device_config: Value,
}

impl PipelineSpec {
    /// Checks what the controller can know: only the switch can tell whether it can execute the program.
    pub(crate) fn compile(&self) -> Result<Pipeline, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |pointer, detail: String| {
            errors.push(FieldError::new(pointer, Code::WrongFormat, detail));
        };
        let p4info = BASE64_STANDARD
            .decode(self.p4info.trim())
            .map_err(|error| format!("no base64: {error}"))
            .and_then(|bytes| {
                P4Info::decode(&*bytes).map_err(|error| format!("no P4Info: {error}"))
            })
            .map_err(|detail| wrong("/p4info", detail))
            .unwrap_or_default();
        let device_config = match &self.device_config {
            Value::String(text) => BASE64_STANDARD
                .decode(text.trim())
                .map_err(|error| wrong("/deviceConfig", format!("no base64: {error}")))
                .unwrap_or_default(),
            Value::Object(_) => self.device_config.to_string().into_bytes(),
            _ => {
                let detail = "an object is wanted, or base64".to_owned();
                wrong("/deviceConfig", detail);
                Vec::new()
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        if device_config.is_empty() {
            let detail = "there is nothing for the switch to execute";
            let error = FieldError::new("/deviceConfig", Code::MissingField, detail);
            return Err(vec![error]);
        }
        let mut seen = p4info.encode_to_vec();
        seen.extend(&device_config);
        let config = PipelineConfig {
            p4info,
            device_config: Bytes::from(device_config),
            cookie: fingerprint(&seen),
        };
        Pipeline::new(config).map_err(|error| {
            let detail = error.to_string();
            vec![FieldError::new("/p4info", Code::WrongFormat, detail)]
        })
    }
}

/// FNV-1a, 64 bits: tells one pipeline from another.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A pipeline that was declared for a switch.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) revision: Revision,
    pub(crate) owner: String,
    pub(crate) spec: PipelineSpec,
    pub(crate) pipeline: Arc<Pipeline>,
}

/// A switch's pipelines.
#[derive(Debug)]
pub(crate) struct Pipelines(RwLock<Known>);

/// What there is to know of them.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The one that the controller works with.
    pub(crate) active: Arc<Pipeline>,
    /// The one that was declared; not the active one before the switch has accepted it.
    pub(crate) declared: Option<Arc<Declared>>,
}

impl Pipelines {
    pub(crate) fn new(builtin: Arc<Pipeline>) -> Self {
        Self(RwLock::new(Known {
            active: builtin,
            declared: None,
        }))
    }

    pub(crate) fn known(&self) -> Known {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the active one offers.
    pub(crate) fn schema(&self) -> Arc<Schema> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known.active.schema)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(p4info: &str, device_config: Value) -> PipelineSpec {
        PipelineSpec {
            p4info: p4info.to_owned(),
            device_config,
        }
    }

    fn mistakes(spec: &PipelineSpec) -> Vec<String> {
        let mistakes = spec.compile().unwrap_err();
        mistakes.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn an_object_and_its_bytes_are_one_pipeline() {
        let object = json!({ "name": "x" });
        let bytes = json!(BASE64_STANDARD.encode(object.to_string()));
        let one = spec("", object).compile().unwrap();
        let other = spec("", bytes).compile().unwrap();
        assert_eq!(one.config, other.config);
        let third = spec("", json!({ "name": "y" })).compile().unwrap();
        assert_ne!(one.cookie, third.cookie);
    }

    #[test]
    fn mistakes_are_named() {
        let object = json!({ "name": "x" });
        assert_eq!(mistakes(&spec("%", json!(7))), ["/p4info", "/deviceConfig"]);
        assert_eq!(mistakes(&spec("/////w==", object)), ["/p4info"]);
        assert_eq!(mistakes(&spec("", json!(""))), ["/deviceConfig"]);
        assert_eq!(mistakes(&spec("", json!("?"))), ["/deviceConfig"]);
    }
}
