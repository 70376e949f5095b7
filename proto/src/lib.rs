//! P4Runtime v1 and `weft.node.v1` on the wire, and the vocabulary that both ends share.
//!
//! A message enters as generated code ([`p4`], [`node`]), is checked against the pipeline's P4Info and becomes a
//! vocabulary type ([`vocab`]); it leaves the same way back. Nothing here knows a table or a header field by name.

pub mod bytes;
pub mod codec;
pub mod schema;
pub mod status;
pub mod vocab;

/// Generated code of the P4Runtime specification's packages.
pub mod p4 {
    /// Package `p4.v1`: runtime messages and the `P4Runtime` service.
    #[allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::use_self,
        unreachable_pub,
        unused_qualifications,
        deprecated,
        elided_lifetimes_in_paths,
        missing_debug_implementations,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("p4.v1");
    }
    /// Package `p4.config`.
    pub mod config {
        /// Package `p4.config.v1`: P4Info.
        #[allow(
            missing_docs,
            clippy::all,
            clippy::pedantic,
            clippy::allow_attributes_without_reason,
            clippy::use_self,
            unreachable_pub,
            unused_qualifications,
            deprecated,
            elided_lifetimes_in_paths,
            missing_debug_implementations,
            reason = "generated code"
        )]
        pub mod v1 {
            tonic::include_proto!("p4.config.v1");
        }
    }
}

/// Generated code of `google.rpc`.
pub mod google {
    /// Package `google.rpc`: `Status`.
    #[allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::use_self,
        unreachable_pub,
        unused_qualifications,
        reason = "generated code"
    )]
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// Generated code of `weft.node.v1`.
pub mod node {
    /// Version 1.
    #[allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::use_self,
        unreachable_pub,
        unused_qualifications,
        elided_lifetimes_in_paths,
        missing_debug_implementations,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("weft.node.v1");
    }
}
