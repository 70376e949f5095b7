//! Ports whose other end is a file: a capture is replayed into the switch, and what leaves is recorded.
//!
//! For tests, and for asking what a switch does with traffic of yesterday. Each port has two threads, one that reads and
//! one that writes; between them and the workers are the queues of a [`MemoryPort`]. A reader that is ahead waits, so
//! nothing is lost on the way in; what leaves faster than it is written is counted as refused by the device.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::memory::MemoryPort;
use crate::packet::{HEAD_DATA, Packet, Pool, TAIL_SIZE};
use crate::pcapng::{self, Direction, Interface, LinkType, ReadError, Reader, Writer};
use crate::ports::Medium;
use crate::segment;

/// A capture to replay.
pub struct Replay {
    /// A pcapng or pcap file.
    pub file: Box<dyn Read + Send>,
    /// Only frames that travelled this way, where the file says it; `None` for all. Of a capture at a switch's port,
    /// those that came in are [`Direction::Inbound`].
    pub only: Option<Direction>,
    /// When frames enter.
    pub pace: Pace,
}

/// When frames of a capture enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the switch takes them.
    #[default]
    AtOnce,
    /// With the pauses that were between them.
    AsRecorded,
}

/// Where frames that leave are recorded, as pcapng.
pub struct Record {
    /// The file.
    pub file: Box<dyn Write + Send>,
    /// The port's name in it.
    pub name: String,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("only", &self.only)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a port with a file fails.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The capture cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A frame that the port does not carry.
    #[error("frame {number} of the capture is not what the port carries")]
    WrongLinkType {
        /// Its number, from 1.
        number: u64,
    },
    /// A frame that was not captured whole, or that is too large.
    #[error(
        "frame {number} of the capture has {original_len} bytes, of which {len} are there; at most {MAX_FRAME} are possible"
    )]
    Cut {
        /// Its number, from 1.
        number: u64,
        /// Bytes that are there.
        len: usize,
        /// Bytes that it had.
        original_len: u32,
    },
    /// The record cannot be written.
    #[error("cannot write the record")]
    Write(#[source] std::io::Error),
    /// The system refused a thread or a descriptor.
    #[error("cannot start a port with a file")]
    Start(#[source] std::io::Error),
}

/// The largest frame that is replayed.
const MAX_FRAME: usize = HEAD_DATA + TAIL_SIZE;

/// The other end of a port: its files. Dropping it ends both threads; what is recorded until then is in the file.
#[derive(Debug)]
pub struct PcapPort {
    pub(crate) memory: MemoryPort,
    replay: Option<JoinHandle<Result<u64, PcapError>>>,
    record: Option<JoinHandle<Result<u64, PcapError>>>,
    /// Dropped to end a pause between two frames.
    hurry: Option<mpsc::Sender<()>>,
}

impl PcapPort {
    /// Begins to replay and to record.
    ///
    /// # Errors
    /// [`PcapError::Start`], [`PcapError::Write`].
    pub(crate) fn start(
        medium: Medium,
        replay: Option<Replay>,
        record: Option<Record>,
    ) -> Result<Self, PcapError> {
        let memory = MemoryPort::new().map_err(PcapError::Start)?;
        let (hurry, pause) = mpsc::channel();
        let link_type = match medium {
            Medium::L2 => LinkType::Ethernet,
            Medium::L3 => LinkType::Raw,
        };
        let mut port = Self {
            memory: memory.clone(),
            replay: None,
            record: None,
            hurry: Some(hurry),
        };
        if let Some(record) = record {
            let interface = Interface {
                name: &record.name,
                description: "leaves a switch",
                link_type,
            };
            let writer = Writer::new(record.file, interface).map_err(PcapError::Write)?;
            let memory = memory.clone();
            port.record = Some(thread("pcap-out", move || write(writer, &memory, medium))?);
        }
        if let Some(replay) = replay {
            let read = move || read(replay, &memory, link_type, &pause);
            port.replay = Some(thread("pcap-in", read)?);
        }
        Ok(port)
    }

    /// Waits until the whole capture has been handed to the switch; the number of its frames. 0 when there is none, or
    /// when that was asked before. The switch may still be busy with the last of them; that it is not any more is
    /// certain when the port has been [detached](crate::host::SwitchHost::detach).
    ///
    /// # Errors
    /// [`PcapError`]; frames before the failing one have entered.
    pub fn replayed(&mut self) -> Result<u64, PcapError> {
        let count = join(self.replay.take())?;
        self.memory.shared.wait_until_taken();
        Ok(count)
    }

    /// Ends the record with what has left so far; the number of its frames. A replay that goes on is cut short.
    ///
    /// # Errors
    /// [`PcapError`]: the record's first, then the replay's.
    pub fn finish(mut self) -> Result<u64, PcapError> {
        let (replayed, recorded) = self.end();
        let recorded = recorded?;
        replayed.map(|_| recorded)
    }

    fn end(&mut self) -> (Result<u64, PcapError>, Result<u64, PcapError>) {
        self.hurry = None;
        self.memory.shared.close();
        (join(self.replay.take()), join(self.record.take()))
    }
}

impl Drop for PcapPort {
    fn drop(&mut self) {
        // Whoever wants to know how it ended finishes it.
        let _ = self.end();
    }
}

fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, PcapError> {
    let named = std::thread::Builder::new().name(name.to_owned());
    named.spawn(work).map_err(PcapError::Start)
}

fn join(thread: Option<JoinHandle<Result<u64, PcapError>>>) -> Result<u64, PcapError> {
    thread.map_or(Ok(0), |thread| {
        let ended = thread.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Sends the frames of a capture into the switch.
fn read(
    replay: Replay,
    memory: &MemoryPort,
    link_type: LinkType,
    pause: &mpsc::Receiver<()>,
) -> Result<u64, PcapError> {
    let mut reader = Reader::new(replay.file)?;
    let (mut number, mut sent) = (0, 0);
    let mut before = None;
    while let Some(frame) = reader.frame()? {
        number += 1;
        let travelled = (frame.direction, replay.only);
        if matches!(travelled, (Some(way), Some(wanted)) if way != wanted) {
            continue;
        }
        if frame.link_type != Some(link_type) {
            return Err(PcapError::WrongLinkType { number });
        }
        let len = frame.bytes.len();
        let is_whole = u32::try_from(len).is_ok_and(|len| len >= frame.original_len);
        if !is_whole || len > MAX_FRAME {
            let original_len = frame.original_len;
            return Err(PcapError::Cut {
                number,
                len,
                original_len,
            });
        }
        let since = frame
            .time_ns
            .saturating_sub(before.unwrap_or(frame.time_ns));
        before = Some(frame.time_ns);
        if replay.pace == Pace::AsRecorded && since > 0 {
            let ended = pause.recv_timeout(Duration::from_nanos(since));
            if ended == Err(mpsc::RecvTimeoutError::Disconnected) {
                break;
            }
        }
        if !memory
            .shared
            .send_when_room(Packet::from_bytes(&frame.bytes))
        {
            break;
        }
        sent += 1;
    }
    Ok(sent)
}

/// Writes what leaves the switch, as it is on a wire.
fn write(
    mut writer: Writer<Box<dyn Write + Send>>,
    memory: &MemoryPort,
    medium: Medium,
) -> Result<u64, PcapError> {
    let mut pool = Pool::default();
    let mut count = 0;
    while let Some(packet) = memory.shared.receive_until_closed() {
        let time_ns = now_ns();
        for frame in segment::wire_frames(packet, medium.is_l2(), &mut pool) {
            count += 1;
            let written = writer.frame(pcapng::Frame {
                time_ns,
                direction: Direction::Outbound,
                bytes: &frame,
            });
            written.map_err(PcapError::Write)?;
        }
    }
    let written = writer.finish(now_ns(), count, 0);
    written.map_err(PcapError::Write)?;
    Ok(count)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: the record says when frames left"
)]
fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
