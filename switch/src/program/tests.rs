//! What is accepted as a program and what is not.

use super::*;

#[test]
fn the_fabric_pipeline_is_a_program() {
    let program = Program::new(crate::fabric::pipeline());
    if let Err(errors) = program {
        panic!("{errors:#?}");
    }
}
