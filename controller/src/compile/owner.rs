//! The mark that says who wrote an entry: the `metadata` bytes of P4Runtime.

/// Who an entry is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The built-in fabric.
    Fabric,
    /// Flows that users put.
    Flow,
}

/// What an entry's metadata says: sixteen bytes of magic, owner and source. Nothing in it changes with a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerTag {
    /// Who.
    pub owner: Owner,
    /// A hash of what it was compiled from: a flow's name, a part of the fabric.
    pub source: u64,
}

const MAGIC: [u8; 4] = *b"WEFT";
const VERSION: u8 = 1;

impl OwnerTag {
    /// The tag of something that has a name.
    pub fn new(owner: Owner, source_name: &str) -> Self {
        Self {
            owner,
            source: fnv1a(source_name.as_bytes()),
        }
    }

    /// The metadata bytes.
    pub fn to_metadata(self) -> Vec<u8> {
        let owner = match self.owner {
            Owner::Fabric => 1,
            Owner::Flow => 2,
        };
        let mut bytes = Vec::with_capacity(16);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, owner, 0, 0]);
        bytes.extend_from_slice(&self.source.to_be_bytes());
        bytes
    }

    /// Reads metadata; `None` is somebody else's entry.
    pub fn from_metadata(metadata: &[u8]) -> Option<Self> {
        let (head, source) = metadata.split_at_checked(8)?;
        let owner = match head.strip_prefix(&MAGIC)? {
            [VERSION, 1, 0, 0] => Owner::Fabric,
            [VERSION, 2, 0, 0] => Owner::Flow,
            _ => return None,
        };
        let source = u64::from_be_bytes(source.try_into().ok()?);
        Some(Self { owner, source })
    }
}

/// FNV-1a, 64 bits: stable over processes and versions.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_the_wire() {
        for owner in [Owner::Fabric, Owner::Flow] {
            let tag = OwnerTag::new(owner, "edge1/web-in");
            assert_eq!(OwnerTag::from_metadata(&tag.to_metadata()), Some(tag));
        }
    }

    #[test]
    fn other_metadata_is_foreign() {
        for bytes in [
            &b""[..],
            b"WEFT",
            b"somebody else's.",
            &[0; 16],
            &[0xff; 40],
        ] {
            assert_eq!(OwnerTag::from_metadata(bytes), None);
        }
        let mut long = OwnerTag::new(Owner::Flow, "x").to_metadata();
        long.push(0);
        assert_eq!(OwnerTag::from_metadata(&long), None);
    }
}
