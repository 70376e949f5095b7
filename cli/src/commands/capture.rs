//! `weft capture`: what passes an interface, as pcapng.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use weft_lab::capture::{self, CaptureError, Filter, Frames};
use weft_switch::pcapng::{self, Writer};

use crate::args::{Capture, Global};
use crate::failure::{Failure, NO_INPUT, SOFTWARE, UNAVAILABLE, USAGE};
use crate::output::say;
use crate::target;

/// Where the capture goes.
type Output = Writer<BufWriter<Box<dyn Write>>>;

pub(crate) async fn run(global: &Global, args: &Capture) -> Result<(), Failure> {
    if global.api.is_some() {
        return Err(Failure::message(
            USAGE,
            "captures are made on the lab's own machine, not by --api",
        ));
    }
    let to_stdout = args
        .write
        .as_deref()
        .is_none_or(|path| path == Path::new("-"));
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::message(
            USAGE,
            "a capture is not for terminals: write it with -w FILE, or pipe it, as in `weft capture … | tshark -r -`",
        ));
    }
    let dir = target::lab(global)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut capture = capture::Capture::begin(&dir, &args.place, filter(args)).await?;
    let place = capture.place().clone();
    let out: Box<dyn Write> = match &args.write {
        Some(path) if !to_stdout => Box::new(create(path)?),
        _ => Box::new(io::stdout()),
    };
    let interface = pcapng::Interface {
        name: &place.name,
        description: &format!("lab {}, link {}", dir.name(), place.link),
        link_type: place.link_type,
    };
    let mut tally = Tally::new(args.count);
    let mut writer = match begin(out, interface) {
        Ok(writer) => writer,
        Err(error) => return nobody_reads(error),
    };
    say(format_args!("capturing at {}", place.name));
    let ended = loop {
        let frames = tokio::select! {
            biased;
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            frames = capture.next() => frames,
        };
        match frames {
            Ok(Some(frames)) => match tally.write(&mut writer, &frames) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => return nobody_reads(error),
            },
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    match writer.finish(now_ns(), tally.kept, tally.dropped) {
        Ok(_) => {}
        Err(error) => return nobody_reads(error),
    }
    say(format_args!(
        "{} frames captured, {} dropped",
        tally.kept, tally.dropped
    ));
    ended
}

fn filter(args: &Capture) -> Filter {
    let (ether_type, ip_proto) = args.proto.map_or((None, None), |proto| proto.numbers());
    Filter {
        host: args.host,
        port: args.port,
        ip_proto,
        ether_type,
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        let error = anyhow::Error::new(error);
        Failure::new(
            NO_INPUT,
            error.context(format!("cannot write {}", path.display())),
        )
    })
}

fn begin(out: Box<dyn Write>, interface: pcapng::Interface<'_>) -> io::Result<Output> {
    let mut writer = Writer::new(BufWriter::new(out), interface)?;
    writer.flush()?;
    Ok(writer)
}

/// A reader that has gone away has seen enough; everything else is an error.
fn nobody_reads(error: io::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::new(
            SOFTWARE,
            anyhow::Error::new(error).context("cannot write the capture"),
        )),
    }
}

/// What was written, and how much more may be.
struct Tally {
    kept: u64,
    dropped: u64,
    most: u64,
}

impl Tally {
    fn new(most: Option<u64>) -> Self {
        Self {
            kept: 0,
            dropped: 0,
            most: most.unwrap_or(u64::MAX),
        }
    }

    /// Writes frames and hands them to whoever reads; whether more are wanted.
    fn write(&mut self, writer: &mut Output, frames: &Frames) -> io::Result<bool> {
        self.dropped += frames.dropped;
        for frame in &frames.kept {
            if self.kept == self.most {
                break;
            }
            writer.frame(pcapng::Frame {
                time_ns: frame.time_ns,
                direction: frame.direction,
                bytes: &frame.bytes,
            })?;
            self.kept += 1;
        }
        writer.flush()?;
        Ok(self.kept < self.most)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: the capture says when it ended"
)]
fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::RuntimeDir(error) => error.into(),
            CaptureError::Plan(error) => error.into(),
            CaptureError::NoNode { .. } | CaptureError::NoInterface { .. } => {
                Self::new(NO_INPUT, error)
            }
            CaptureError::Refused(_) | CaptureError::Broken(_) => Self::new(UNAVAILABLE, error),
        }
    }
}
