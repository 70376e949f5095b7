//! Reads captures: pcapng, and pcap, the older format (draft-ietf-opsawg-pcap), in either byte order.
//!
//! A file comes from anywhere, so nothing in it is trusted: lengths are bounded before anything is allocated, blocks
//! that are not known are passed over, and what does not fit ends in an error.

use std::io::{self, Read};

use super::{
    BYTE_ORDER, Direction, END_OF_OPTIONS, INTERFACE, INTERFACE_RESOLUTION, LinkType, PACKET,
    PACKET_FLAGS, SECTION_HEADER,
};

/// Most bytes of a block; the largest frame has less than 64 KiB and a few bytes.
const MAX_BLOCK: usize = 1 << 20;
/// Most interfaces of a section.
const MAX_INTERFACES: usize = 4096;
const SIMPLE_PACKET: u32 = 3;
/// Magic number of pcap with microseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// Magic number of pcap with nanoseconds.
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const SECOND_NS: u64 = 1_000_000_000;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It begins with something else.
    #[error("this is neither pcapng nor pcap")]
    NotACapture,
    /// A block's lengths contradict each other, or are beyond any frame.
    #[error("block {block} of the capture is broken: {problem}")]
    Broken {
        /// Blocks before it; of pcap, packets.
        block: u64,
        /// What does not fit.
        problem: &'static str,
    },
    /// The input fails, or ends within a block.
    #[error("cannot read the capture")]
    Io(#[from] io::Error),
}

/// A frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Nanoseconds since 1970; 0 where the file does not say.
    pub time_ns: u64,
    /// What it begins with; `None` for what no port carries.
    pub link_type: Option<LinkType>,
    /// Which way it travelled, where the file says so.
    pub direction: Option<Direction>,
    /// As many bytes as were captured.
    pub bytes: Vec<u8>,
    /// Bytes that it had.
    pub original_len: u32,
}

/// Reads a capture from its beginning.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    big_endian: bool,
    format: Format,
    blocks: u64,
}

#[derive(Debug)]
enum Format {
    Pcap {
        link_type: Option<LinkType>,
        /// Nanoseconds of a unit of the fraction.
        unit: u64,
    },
    Pcapng {
        interfaces: Vec<Source>,
    },
}

/// An interface of a section.
#[derive(Clone, Copy, Debug)]
struct Source {
    link_type: Option<LinkType>,
    snap_len: u32,
    /// `if_tsresol`: ten or, with the highest bit, two to the power of minus this.
    resolution: u8,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic)?;
        let (little, big) = (u32::from_le_bytes(magic), u32::from_be_bytes(magic));
        let mut reader = Self {
            input,
            big_endian: false,
            format: Format::Pcapng {
                interfaces: Vec::new(),
            },
            blocks: 0,
        };
        let known = [MICROSECONDS, NANOSECONDS];
        if little == SECTION_HEADER {
            reader.section()?;
        } else if known.contains(&little) || known.contains(&big) {
            reader.big_endian = known.contains(&big);
            let unit = match little == NANOSECONDS || big == NANOSECONDS {
                true => 1,
                false => 1000,
            };
            // Version, zone, accuracy, limit, link type; the upper half of the last says other things.
            let rest = reader.bytes(20)?;
            let link_type = link_type(reader.u32_at(&rest, 16) & 0xffff);
            reader.format = Format::Pcap { link_type, unit };
        } else {
            return Err(ReadError::NotACapture);
        }
        Ok(reader)
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`]; the reader is of no use after that.
    pub fn frame(&mut self) -> Result<Option<Captured>, ReadError> {
        if let Format::Pcap { link_type, unit } = self.format {
            return self.pcap_packet(link_type, unit);
        }
        loop {
            let Some(kind) = self.word_or_end()? else {
                return Ok(None);
            };
            self.blocks += 1;
            // The same in both byte orders.
            if kind == SECTION_HEADER {
                self.section()?;
                continue;
            }
            let body = self.block()?;
            match kind {
                INTERFACE => self.interface(&body)?,
                PACKET => return self.packet(&body).map(Some),
                SIMPLE_PACKET => return self.simple_packet(&body).map(Some),
                _ => {}
            }
        }
    }

    fn pcap_packet(
        &mut self,
        link_type: Option<LinkType>,
        unit: u64,
    ) -> Result<Option<Captured>, ReadError> {
        let Some(seconds) = self.word_or_end()? else {
            return Ok(None);
        };
        self.blocks += 1;
        let rest = self.bytes(12)?;
        let [fraction, len, original_len] = [0, 4, 8].map(|at| self.u32_at(&rest, at));
        let len = self.bounded(len)?;
        Ok(Some(Captured {
            time_ns: u64::from(seconds) * SECOND_NS + u64::from(fraction) * unit,
            link_type,
            direction: None,
            bytes: self.bytes(len)?,
            original_len,
        }))
    }

    /// A section header after its type, which has told nothing about the byte order yet.
    fn section(&mut self) -> Result<(), ReadError> {
        let head = self.bytes(8)?;
        self.big_endian = match self.u32_at(&head, 4) {
            BYTE_ORDER => self.big_endian,
            other if other.swap_bytes() == BYTE_ORDER => !self.big_endian,
            _ => return Err(ReadError::NotACapture),
        };
        let len = self.bounded(self.u32_at(&head, 0))?;
        // Type, both lengths and the magic number have 16 bytes.
        let rest = len
            .checked_sub(16)
            .filter(|rest| *rest >= 12 && rest % 4 == 0);
        let rest = rest.ok_or_else(|| self.broken("a section header of this length"))?;
        self.bytes(rest)?;
        self.trailer(len)?;
        self.format = Format::Pcapng {
            interfaces: Vec::new(),
        };
        Ok(())
    }

    /// The body of a block after its type.
    fn block(&mut self) -> Result<Vec<u8>, ReadError> {
        let head = self.bytes(4)?;
        let len = self.bounded(self.u32_at(&head, 0))?;
        let body = len.checked_sub(12).filter(|_| len % 4 == 0);
        let body = body.ok_or_else(|| self.broken("a block of this length"))?;
        let body = self.bytes(body)?;
        self.trailer(len)?;
        Ok(body)
    }

    fn trailer(&mut self, len: usize) -> Result<(), ReadError> {
        let trailer = self.bytes(4)?;
        match usize::try_from(self.u32_at(&trailer, 0)) {
            Ok(again) if again == len => Ok(()),
            _ => Err(self.broken("its two lengths differ")),
        }
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), ReadError> {
        if body.len() < 8 {
            return Err(self.broken("an interface without a link type"));
        }
        let kind = self.u16_at(body, 0).into();
        let resolution = self.option(&body[8..], INTERFACE_RESOLUTION);
        let source = Source {
            link_type: link_type(kind),
            snap_len: self.u32_at(body, 4),
            // Microseconds, where nothing is said.
            resolution: resolution.and_then(<[u8]>::first).copied().unwrap_or(6),
        };
        let broken = self.broken("more interfaces than anybody has");
        match &mut self.format {
            Format::Pcapng { interfaces } if interfaces.len() < MAX_INTERFACES => {
                interfaces.push(source);
                Ok(())
            }
            _ => Err(broken),
        }
    }

    fn packet(&self, body: &[u8]) -> Result<Captured, ReadError> {
        if body.len() < 20 {
            return Err(self.broken("a packet without a header"));
        }
        let [interface, upper, lower, len, original_len] =
            [0, 4, 8, 12, 16].map(|at| self.u32_at(body, at));
        let source = self.source(interface)?;
        let len = self.bounded(len)?;
        let too_short = || self.broken("a packet that is longer than its block");
        let bytes = body.get(20..20 + len).ok_or_else(too_short)?;
        let options = body.get(20 + len.next_multiple_of(4)..).unwrap_or_default();
        let flags = self
            .option(options, PACKET_FLAGS)
            .filter(|flags| flags.len() == 4);
        Ok(Captured {
            time_ns: source.nanoseconds(u64::from(upper) << 32 | u64::from(lower)),
            link_type: source.link_type,
            direction: match flags.map(|flags| self.u32_at(flags, 0) & 3) {
                Some(1) => Some(Direction::Inbound),
                Some(2) => Some(Direction::Outbound),
                _ => None,
            },
            bytes: bytes.to_vec(),
            original_len,
        })
    }

    /// A packet of the first interface, whose captured length is the least of three.
    fn simple_packet(&self, body: &[u8]) -> Result<Captured, ReadError> {
        let Some(data) = body.get(4..) else {
            return Err(self.broken("a packet without a header"));
        };
        let source = self.source(0)?;
        let original_len = self.u32_at(body, 0);
        let limit = match source.snap_len {
            0 => original_len,
            limit => limit.min(original_len),
        };
        let len = usize::try_from(limit).unwrap_or(usize::MAX).min(data.len());
        Ok(Captured {
            time_ns: 0,
            link_type: source.link_type,
            direction: None,
            bytes: data[..len].to_vec(),
            original_len,
        })
    }

    fn source(&self, number: u32) -> Result<Source, ReadError> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let found = match &self.format {
            Format::Pcapng { interfaces } => interfaces.get(index).copied(),
            Format::Pcap { .. } => None,
        };
        found.ok_or_else(|| self.broken("a packet of an interface that is not described"))
    }

    /// The value of the first option with a code.
    fn option<'a>(&self, mut options: &'a [u8], wanted: u16) -> Option<&'a [u8]> {
        while options.len() >= 4 {
            let (code, len) = (self.u16_at(options, 0), self.u16_at(options, 2));
            let len = usize::from(len);
            let value = options.get(4..4 + len)?;
            match code {
                END_OF_OPTIONS => return None,
                code if code == wanted => return Some(value),
                _ => {}
            }
            options = options.get(4 + len.next_multiple_of(4)..)?;
        }
        None
    }

    /// The next four bytes as a number; `None` where the input ends before them.
    fn word_or_end(&mut self) -> Result<Option<u32>, ReadError> {
        let mut word = [0; 4];
        let mut read = 0;
        while read < word.len() {
            match self.input.read(&mut word[read..]) {
                Ok(0) if read == 0 => return Ok(None),
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(self.u32_at(&word, 0)))
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; len];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn bounded(&self, len: u32) -> Result<usize, ReadError> {
        match usize::try_from(len) {
            Ok(len) if len <= MAX_BLOCK => Ok(len),
            _ => Err(self.broken("larger than any frame")),
        }
    }

    fn broken(&self, problem: &'static str) -> ReadError {
        ReadError::Broken {
            block: self.blocks,
            problem,
        }
    }

    /// The number at an offset that has four bytes.
    fn u32_at(&self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self.big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        }
    }

    /// The number at an offset that has two bytes.
    fn u16_at(&self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        match self.big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        }
    }
}

impl Source {
    fn nanoseconds(self, ticks: u64) -> u64 {
        let exponent = u32::from(self.resolution & 0x7f);
        let per_second = match self.resolution & 0x80 {
            0 => 10u128.checked_pow(exponent),
            _ => 1u128.checked_shl(exponent),
        };
        // A resolution beyond all clocks leaves nothing of the time.
        let per_second = per_second.unwrap_or(u128::MAX);
        let ns = u128::from(ticks) * u128::from(SECOND_NS) / per_second;
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

fn link_type(number: u32) -> Option<LinkType> {
    [LinkType::Ethernet, LinkType::Raw]
        .into_iter()
        .find(|known| *known as u32 == number)
}

#[cfg(test)]
mod tests;
