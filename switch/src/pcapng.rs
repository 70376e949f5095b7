//! Packet captures as files: writes pcapng (draft-ietf-opsawg-pcapng), as far as one interface needs it, and
//! [reads](Reader) it.
//!
//! ```text
//! section header · interface · packet · packet · … · interface statistics
//! block: type (4) · length (4) · body, padded to 4 · length again (4)
//! ```

mod reader;

use std::io::{self, Write};

pub use reader::{Captured, ReadError, Reader};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Timestamps count nanoseconds: ten to the power of minus this.
const NANOSECONDS: u8 = 9;

const END_OF_OPTIONS: u16 = 0;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_DESCRIPTION: u16 = 3;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_DROPPED: u16 = 5;

/// Which way a frame travelled, as the interface sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    Inbound,
    /// It went out.
    Outbound,
}

/// What the frames of a capture begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// `LINKTYPE_ETHERNET`: an Ethernet header.
    Ethernet = 1,
    /// `LINKTYPE_RAW`: an IP header.
    Raw = 101,
}

/// The interface of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub description: &'a str,
    /// What its frames begin with.
    pub link_type: LinkType,
}

/// A frame of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Which way it travelled.
    pub direction: Direction,
    /// All its bytes, from what the interface's link type says.
    pub bytes: &'a [u8],
}

/// Writes one capture of one interface.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(out: W, interface: Interface<'_>) -> io::Result<Self> {
        let mut writer = Self {
            out,
            block: Vec::new(),
        };
        writer.block.extend(BYTE_ORDER.to_le_bytes());
        // Version 1.0; the section's length is not known.
        writer.block.extend([1, 0, 0, 0]);
        writer.block.extend(u64::MAX.to_le_bytes());
        let application = concat!("weft ", env!("CARGO_PKG_VERSION"));
        writer.option(SECTION_APPLICATION, application.as_bytes());
        writer.end_block(SECTION_HEADER)?;
        writer
            .block
            .extend((interface.link_type as u16).to_le_bytes());
        // Reserved, and no limit to the bytes of a frame.
        writer.block.extend([0; 2 + 4]);
        writer.option(INTERFACE_NAME, interface.name.as_bytes());
        writer.option(INTERFACE_DESCRIPTION, interface.description.as_bytes());
        writer.option(INTERFACE_RESOLUTION, &[NANOSECONDS]);
        writer.end_block(INTERFACE)?;
        Ok(writer)
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// Those of the output; `InvalidInput` for a frame of 4 GiB and more.
    pub fn frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let len = u32::try_from(frame.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.begin_interface_block(frame.time_ns);
        // Captured, and as it was.
        self.block.extend(len.to_le_bytes());
        self.block.extend(len.to_le_bytes());
        self.block.extend(frame.bytes);
        self.pad();
        let flags: u32 = match frame.direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        self.option(PACKET_FLAGS, &flags.to_le_bytes());
        self.end_block(PACKET)
    }

    /// Hands what was written to whoever reads the output.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the capture with how many frames there were, and how many were lost because nobody took them in time.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self, time_ns: u64, received: u64, dropped: u64) -> io::Result<W> {
        self.begin_interface_block(time_ns);
        self.option(STATISTICS_RECEIVED, &received.to_le_bytes());
        self.option(STATISTICS_DROPPED, &dropped.to_le_bytes());
        self.end_block(STATISTICS)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn begin_interface_block(&mut self, time_ns: u64) {
        const FIRST: u32 = 0;
        self.block.extend(FIRST.to_le_bytes());
        // The upper half of the time, then the lower.
        let time = time_ns.to_le_bytes();
        self.block.extend(&time[4..]);
        self.block.extend(&time[..4]);
    }

    /// Adds an option; a value over 65 535 bytes is cut.
    fn option(&mut self, code: u16, value: &[u8]) {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.block.extend(code.to_le_bytes());
        self.block.extend(len.to_le_bytes());
        self.block.extend(&value[..usize::from(len)]);
        self.pad();
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn end_block(&mut self, kind: u32) -> io::Result<()> {
        self.block.extend(END_OF_OPTIONS.to_le_bytes());
        self.block.extend([0; 2]);
        let len = u32::try_from(self.block.len() + 12).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&self.block)?;
        self.out.write_all(&len.to_le_bytes())?;
        self.block.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
