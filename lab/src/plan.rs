//! What a lab is built from, as it travels to the processes of the lab.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weft_controller::load::{self, LoadErrors};
use weft_controller::model::Model;
use weft_controller::resource::check;
use weft_switch::fabric;
use weft_switch::program::Program;

/// Why a file does not describe a lab.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The content is wrong; every mistake with its place.
    #[error(transparent)]
    Content(#[from] LoadErrors),
}

/// A topology file and how to build it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The lab's name.
    pub name: String,
    /// The file's path, for messages.
    pub file: String,
    /// The file's content.
    pub text: String,
    /// The folder that relative paths of the file are relative to.
    pub folder: PathBuf,
    /// Whether frames may leave to hosts as super-packets with unfinished checksums.
    pub offloads: bool,
}

impl Plan {
    /// Reads a topology file and checks it completely. `name` replaces the lab's name.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn read(path: &Path, name: Option<&str>) -> Result<(Self, Model), PlanError> {
        let failed = |source| PlanError::Read {
            path: path.to_owned(),
            source,
        };
        // One byte more than is allowed is enough to be told so.
        let limit = u64::try_from(load::MAX_FILE).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(failed)?;
        let file = path.display().to_string();
        let model = load::model(&bytes, &file, name)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let folder = std::path::absolute(path).map_err(failed)?;
        let plan = Self {
            name: model.name.clone(),
            file,
            text,
            folder: folder.parent().unwrap_or_else(|| Path::new("/")).to_owned(),
            offloads: true,
        };
        Ok((plan, model))
    }

    /// Checks what the file declares beside its topology, before there is a lab to declare it on.
    ///
    /// # Errors
    /// [`PlanError::Content`].
    pub fn check(&self, model: &Model) -> Result<(), PlanError> {
        let document = load::load(&self.text, &self.file)?;
        if document.resources().next().is_none() {
            return Ok(());
        }
        let Ok(program) = Program::new(fabric::pipeline()) else {
            // Then nothing is built, and whoever builds says why.
            return Ok(());
        };
        let found = check(&document, model, program.schema());
        if found.is_empty() {
            return Ok(());
        }
        Err(load::locate(&self.text, &self.file, found)?.into())
    }

    /// The lab that the file describes, the same in every process that asks.
    ///
    /// # Errors
    /// [`PlanError::Content`].
    pub fn model(&self) -> Result<Model, PlanError> {
        let mut model = load::model(self.text.as_bytes(), &self.file, Some(&self.name))?;
        model.offloads &= self.offloads;
        Ok(model)
    }
}
