//! Compiles the `.proto` files with protox, so that no `protoc` is needed.

use std::error::Error;

const FILES: [&str; 2] = ["p4/v1/p4runtime.proto", "weft/node/v1/node.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
