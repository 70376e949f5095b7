//! What a link direction does to packets, as plain values.

use std::sync::Arc;

use super::random::WHOLE;

/// What one direction of a link does to the packets that enter it. The default is a wire: everything arrives at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Bits per second; `None` is without limit.
    pub rate: Option<u64>,
    /// What waits for the rate.
    pub queue: QueueProfile,
    /// Which packets are lost on the way.
    pub loss: Loss,
    /// Time on the way, in nanoseconds.
    pub delay_ns: u64,
    /// How the delay varies. Without [`Self::reorder`] packets keep their order all the same.
    pub jitter: Jitter,
    /// Share of packets that do not wait for the delay and so overtake, in parts per billion.
    pub reorder: u32,
    /// Share of packets that arrive twice, in parts per billion.
    pub duplicate: u32,
    /// Share of packets with one wrong bit, in parts per billion.
    pub corrupt: u32,
    /// Largest IP packet, in bytes; what is larger is dropped.
    pub mtu: Option<u32>,
    /// Whether super-packets are taken apart.
    pub segments: Segments,
}

/// How super-packets cross a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Segments {
    /// Segment by segment where a decision differs between segments.
    #[default]
    Auto,
    /// Segment by segment.
    Always,
    /// Whole: the whole super-packet has one fate.
    Never,
}

/// A queue with its limit and its discipline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueProfile {
    /// Most that waits.
    pub limit: QueueLimit,
    /// Who is dropped or marked before that.
    pub discipline: Discipline,
}

/// Most that waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// Wire segments.
    Packets(u32),
    /// Bytes.
    Bytes(u64),
}

impl Default for QueueLimit {
    /// As a network device of Linux has it.
    fn default() -> Self {
        Self::Packets(1000)
    }
}

/// Active queue management.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Discipline {
    /// None: the last one to come is dropped where there is no room.
    #[default]
    TailDrop,
    /// RFC 8289.
    CoDel(CoDel),
    /// RFC 8290: flows take turns, each with a CoDel of its own.
    FqCoDel {
        /// Of each flow.
        codel: CoDel,
        /// Bytes of one turn.
        quantum: u32,
        /// Number of queues that flows are hashed to.
        flows: u32,
    },
    /// Random early detection (Floyd and Jacobson 1993), in its gentle form.
    Red(Red),
    /// RFC 8033.
    Pie(Pie),
}

/// Parameters of CoDel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoDel {
    /// Waiting time that is accepted for good, in nanoseconds.
    pub target_ns: u64,
    /// How long it may be exceeded, in nanoseconds.
    pub interval_ns: u64,
    /// Packets that can be marked are marked instead of dropped (RFC 3168).
    pub ecn: bool,
}

impl Default for CoDel {
    /// RFC 8289 §4.2 and §4.3.
    fn default() -> Self {
        Self {
            target_ns: 5_000_000,
            interval_ns: 100_000_000,
            ecn: false,
        }
    }
}

/// Parameters of RED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Red {
    /// Average length in bytes from which on packets are dropped.
    pub min: u64,
    /// Average length in bytes at which the share is [`Self::share`].
    pub max: u64,
    /// Share at [`Self::max`], in parts per billion; it grows to the whole at twice that length.
    pub share: u32,
    /// The average's weight of a new sample is 2 to the power of minus this.
    pub weight_log2: u8,
    /// Packets that can be marked are marked instead of dropped, below [`Self::max`].
    pub ecn: bool,
}

impl Default for Red {
    fn default() -> Self {
        Self {
            min: 30_000,
            max: 90_000,
            share: WHOLE / 50,
            weight_log2: 9,
            ecn: false,
        }
    }
}

/// Parameters of PIE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pie {
    /// Waiting time that it steers to, in nanoseconds.
    pub target_ns: u64,
    /// Time between two looks, in nanoseconds.
    pub update_ns: u64,
    /// Time without drops at the start of congestion, in nanoseconds.
    pub burst_ns: u64,
    /// Packets that can be marked are marked instead of dropped, while the share is below a tenth.
    pub ecn: bool,
}

impl Default for Pie {
    /// RFC 8033 §4.
    fn default() -> Self {
        Self {
            target_ns: 15_000_000,
            update_ns: 15_000_000,
            burst_ns: 150_000_000,
            ecn: false,
        }
    }
}

/// Which packets are lost. Shares are in parts per billion.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability.
    Random {
        /// The share.
        share: u32,
        /// How much a loss depends on the one before.
        correlation: u32,
    },
    /// Two states, good and bad, that follow each other (Gilbert 1960, Elliott 1963).
    GilbertElliott {
        /// From good to bad, at each packet.
        to_bad: u32,
        /// From bad to good, at each packet.
        to_good: u32,
        /// Share lost in the good state.
        good: u32,
        /// Share lost in the bad state.
        bad: u32,
    },
    /// As recorded: `true` is lost; after the last one again from the first.
    Trace(Arc<[bool]>),
}

/// How a delay varies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Jitter {
    /// Half the width of the uniform distribution; the standard deviation of the others; nanoseconds.
    pub spread_ns: u64,
    /// Its distribution.
    pub distribution: Distribution,
    /// How much a value depends on the one before, in parts per billion.
    pub correlation: u32,
}

/// The distribution of a jitter. What would make a delay negative makes it zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Distribution {
    /// Evenly between minus and plus the spread.
    #[default]
    Uniform,
    /// Normal.
    Normal,
    /// Pareto with index 3, moved and scaled so that its mean is 0: rare, long waits.
    Pareto,
    /// As recorded, in nanoseconds to add to the delay; after the last one again from the first.
    Trace(Arc<[i64]>),
}

/// Why a profile makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ProfileError {
    /// The setting.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Profile {
    /// Whether packets pass as over a wire.
    pub fn is_wire(&self) -> bool {
        *self
            == Self {
                queue: self.queue.clone(),
                segments: self.segments,
                ..Self::default()
            }
    }

    /// Whether segments of one super-packet can have different fates.
    pub(super) fn takes_segments_apart(&self) -> bool {
        match self.segments {
            Segments::Always => true,
            Segments::Never => false,
            Segments::Auto => {
                self.rate.is_some()
                    || self.loss != Loss::None
                    || self.reorder > 0
                    || self.duplicate > 0
                    || self.corrupt > 0
                    || self.jitter != Jitter::default()
            }
        }
    }

    /// Finds what is out of range or contradicts something else.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn check(&self) -> Result<(), ProfileError> {
        let wrong = |field, problem| Err(ProfileError { field, problem });
        for (field, share) in [
            ("reorder", self.reorder),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
            ("correlation", self.jitter.correlation),
        ] {
            if share > WHOLE {
                return wrong(field, "is more than 100%");
            }
        }
        if self.rate == Some(0) {
            return wrong("rate", "is zero; a link that carries nothing is down");
        }
        if self.reorder > 0 && self.delay_ns == 0 {
            return wrong("reorder", "needs a delay that packets can be spared");
        }
        if self.jitter.correlation == WHOLE {
            return wrong("correlation", "of 100% would repeat one value for ever");
        }
        match &self.jitter.distribution {
            Distribution::Trace(values) if values.is_empty() => {
                return wrong("distribution", "the trace is empty");
            }
            Distribution::Normal | Distribution::Pareto if self.jitter.spread_ns == 0 => {
                return wrong("distribution", "needs a jitter");
            }
            _ => {}
        }
        match &self.loss {
            Loss::Random { share, correlation } if *share > WHOLE || *correlation >= WHOLE => {
                wrong("loss", "is out of range")
            }
            Loss::GilbertElliott {
                to_bad,
                to_good,
                good,
                bad,
            } if [to_bad, to_good, good, bad]
                .iter()
                .any(|&&share| share > WHOLE) =>
            {
                wrong("loss", "is more than 100%")
            }
            Loss::Trace(losses) if losses.is_empty() => wrong("loss", "the trace is empty"),
            _ => self.check_queue(),
        }
    }

    fn check_queue(&self) -> Result<(), ProfileError> {
        let wrong = |field, problem| Err(ProfileError { field, problem });
        if self.rate.is_none() && self.queue != QueueProfile::default() {
            return wrong("queue", "needs a rate: without one nothing waits");
        }
        if matches!(
            self.queue.limit,
            QueueLimit::Packets(0) | QueueLimit::Bytes(0)
        ) {
            return wrong("queue", "holds nothing");
        }
        let codel = |codel: &CoDel| match codel {
            CoDel { target_ns: 0, .. } | CoDel { interval_ns: 0, .. } => {
                wrong("aqm", "target and interval are more than zero")
            }
            _ if codel.target_ns >= codel.interval_ns => {
                wrong("aqm", "the target is less than the interval")
            }
            _ => Ok(()),
        };
        match &self.queue.discipline {
            Discipline::TailDrop => Ok(()),
            Discipline::CoDel(parameters) => codel(parameters),
            Discipline::FqCoDel {
                codel: parameters,
                quantum,
                flows,
            } => {
                if *quantum == 0 || *flows == 0 {
                    return wrong("aqm", "quantum and flows are more than zero");
                }
                codel(parameters)
            }
            Discipline::Red(red) => match red {
                _ if red.min == 0 || red.min >= red.max => wrong("aqm", "0 < min < max is needed"),
                _ if red.share == 0 || red.share > WHOLE => {
                    wrong("aqm", "the share is between 0 and 100%")
                }
                _ if red.weight_log2 > 16 => wrong("aqm", "the weight is 2^-16 at least"),
                _ => Ok(()),
            },
            Discipline::Pie(pie) if pie.target_ns == 0 || pie.update_ns == 0 => {
                wrong("aqm", "target and update are more than zero")
            }
            Discipline::Pie(_) => Ok(()),
        }
    }
}
