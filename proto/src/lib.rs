//! P4Runtime v1 and `weft.node.v1` on the wire, and the vocabulary that both ends share.
//!
//! How one update walks from the wire into a switch, and an entry back out:
//!
//! ```text
//!  bytes ──tonic──► p4::v1::Update ──► codec ──► vocab::TableEntry ──► the switch's state
//!                                        ▲ schema: the P4Info of the pipeline that runs
//!  bytes ◄──tonic── p4::v1::Entity ◄── codec ◄── vocab::TableEntry ◄── the switch's state
//! ```
//!
//! 1. Generated code ([`p4`], [`google`], [`node`]) takes the message from the wire.
//! 2. [`codec`] decodes it. It asks [`schema`], which has checked a P4Info once and knows tables, actions and their fields
//!    by id and by name; values are checked as [`bytes`] (P4Runtime §8.3).
//! 3. What comes out is a plain value of [`vocab`]. A wrong message is an error for that update alone, and [`status`] makes
//!    the answer of a batch from them (§12.3).
//! 4. A value leaves the same way: whatever [`codec`] encodes it can decode.
//!
//! Nothing here knows a table or a header field by name, and nothing here does I/O.

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
