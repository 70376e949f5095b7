//! What travels with a packet-in or a packet-out (P4Runtime §16.1).

use super::MetadataError;
use crate::bytes;
use crate::p4::v1 as wire;
use crate::schema::MetadataSchema;

/// Decodes the metadata of a packet: one value for each declared field, in the order of declaration.
///
/// # Errors
///
/// A field is missing, is there twice, or is not declared; or a value does not fit.
pub fn decode_packet_metadata(
    schema: &[MetadataSchema],
    metadata: &[wire::PacketMetadata],
) -> Result<Vec<u128>, MetadataError> {
    let mut values = vec![None; schema.len()];
    for given in metadata {
        let id = given.metadata_id;
        let index = schema
            .iter()
            .position(|field| field.id == id)
            .ok_or(MetadataError::Unknown { id })?;
        let field = &schema[index];
        let value =
            bytes::decode(&given.value, field.bits).map_err(|error| MetadataError::Value {
                name: field.name.clone(),
                error,
            })?;
        if values[index].replace(value).is_some() {
            return Err(MetadataError::Duplicate {
                name: field.name.clone(),
            });
        }
    }
    schema
        .iter()
        .zip(values)
        .map(|(field, value)| {
            value.ok_or_else(|| MetadataError::Missing {
                name: field.name.clone(),
            })
        })
        .collect()
}

/// Encodes the metadata of a packet; `values` are in the order of declaration.
pub fn encode_packet_metadata(
    schema: &[MetadataSchema],
    values: &[u128],
) -> Vec<wire::PacketMetadata> {
    schema
        .iter()
        .zip(values)
        .map(|(field, &value)| wire::PacketMetadata {
            metadata_id: field.id,
            value: bytes::encode(value),
        })
        .collect()
}
