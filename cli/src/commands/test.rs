//! `weft test`: build, prove, take down.

use std::process::ExitCode;

use crate::args::{Global, Test};
use crate::failure::{Failure, SOFTWARE};

pub(crate) async fn run(_global: &Global, _args: &Test) -> Result<ExitCode, Failure> {
    Err(Failure::message(SOFTWARE, "not built yet"))
}
