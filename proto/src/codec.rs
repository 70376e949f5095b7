//! Forwarding state between the wire and the vocabulary, checked against a [`Schema`](crate::schema::Schema).
//!
//! Decoding accepts exactly what P4Runtime §8.3, §9.1, §9.2 and §9.5 accept, and its errors name the table and the
//! field, and carry the status code that the specification asks for. Encoding writes the canonical form: shortest
//! byte strings, don't-care fields left out, everything sorted by id; so decoding what was encoded gives the same
//! value back.

mod action;
mod array;
mod entry;
mod error;
mod filter;
mod group;
mod metadata;
mod profile;
mod update;

#[cfg(test)]
mod tests;

pub use array::{
    Cells, decode_counter_cell, decode_meter, encode_counter_cell, encode_meter,
    encode_meter_config, encode_meter_counters, meter_config,
};
pub use entry::{counter_data, decode_counter, decode_entry, encode_entry};
pub use error::{EntryError, GroupError, MetadataError};
pub use filter::{EntryFilter, Query, decode_filter, decode_query, encode_filter, encode_query};
pub use group::{decode_group, decode_session, encode_group, encode_session};
pub use metadata::{decode_packet_metadata, encode_packet_metadata};
pub use profile::{decode_member, decode_profile_group, encode_member, encode_profile_group};
pub use update::{Entity, Update, UpdateKind, decode_update, encode_update};
