//! Meters and counters that belong to no table.
//!
//! What packets change is shared by all clones of the state; what a controller writes of a meter belongs to one of
//! them, so that a batch becomes visible, or is given up, as a whole.

use std::sync::{Arc, OnceLock};

use weft_proto::vocab::{CounterId, CounterValue, MeterCell, MeterConfig, MeterCounters, MeterId};

use super::{Counter, State, WriteError};
use crate::meter::{Color, Colors, Demand, Policer};

/// Cells that come into being together.
const PART: usize = 64;

/// An array of which only those parts exist that somebody has used.
#[derive(Debug)]
struct Cells<T> {
    parts: Box<[OnceLock<Box<[T; PART]>>]>,
    size: usize,
}

impl<T: Default> Cells<T> {
    fn new(size: usize) -> Self {
        Self {
            parts: (0..size.div_ceil(PART)).map(|_| OnceLock::new()).collect(),
            size,
        }
    }

    /// A cell; its part is made where it is used for the first time.
    fn get(&self, index: usize) -> Option<&T> {
        let part = self.parts.get(index / PART).filter(|_| index < self.size)?;
        let part = part.get_or_init(|| Box::new(std::array::from_fn(|_| T::default())));
        Some(&part[index % PART])
    }

    /// A cell, if its part has been used.
    fn seen(&self, index: usize) -> Option<&T> {
        Some(&self.parts.get(index / PART)?.get()?[index % PART])
    }
}

/// An array of counters.
#[derive(Clone, Debug)]
pub(crate) struct CounterCells(Arc<Cells<Counter>>);

impl CounterCells {
    pub(super) fn new(size: usize) -> Self {
        Self(Arc::new(Cells::new(size)))
    }

    /// Counts a packet; an index that is no cell does nothing.
    pub(crate) fn add(&self, index: usize, packets: u64, bytes: u64) {
        if let Some(counter) = self.0.get(index) {
            counter.add(packets, bytes);
        }
    }
}

type Configured = [Option<Arc<Policer>>; PART];

/// An array of meters.
#[derive(Clone, Debug)]
pub(crate) struct MeterCells {
    policers: Vec<Option<Arc<Configured>>>,
    colors: Arc<Cells<Colors>>,
}

impl MeterCells {
    pub(super) fn new(size: usize) -> Self {
        Self {
            policers: vec![None; size.div_ceil(PART)],
            colors: Arc::new(Cells::new(size)),
        }
    }

    /// Passes a packet of so many wire segments and bytes.
    pub(crate) fn pass(
        &self,
        index: usize,
        now_ns: u64,
        demand: Demand,
        (packets, bytes): (u64, u64),
    ) -> Color {
        let policer = self.policer(index);
        let color = policer.map_or(Color::Green, |policer| policer.pass(now_ns, demand));
        if let Some(colors) = self.colors.get(index) {
            colors.add(color, packets, bytes);
        }
        color
    }

    /// What a packet's colour would be; nothing is changed.
    pub(crate) fn peek(&self, index: usize, now_ns: u64, demand: Demand) -> Color {
        let policer = self.policer(index);
        policer.map_or(Color::Green, |policer| policer.peek(now_ns, demand))
    }

    fn policer(&self, index: usize) -> Option<&Arc<Policer>> {
        self.policers.get(index / PART)?.as_ref()?[index % PART].as_ref()
    }

    /// Configures a cell; a bucket goes on where nothing changes, and is full where something does.
    fn set(&mut self, index: usize, config: Option<MeterConfig>) {
        if self.policer(index).map(|policer| policer.config()) == config {
            return;
        }
        let part = &mut self.policers[index / PART];
        let part = part.get_or_insert_with(|| Arc::new([const { None }; PART]));
        Arc::make_mut(part)[index % PART] = config.map(|config| Arc::new(Policer::new(config)));
    }
}

/// A meter's cell as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterView {
    /// What was written.
    pub cell: MeterCell,
    /// What has passed it.
    pub counters: MeterCounters,
}

impl State {
    /// Configures a meter's cell, or all of them; `None` makes every packet green.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn set_meter(
        &mut self,
        meter: MeterId,
        index: Option<u32>,
        config: Option<MeterConfig>,
    ) -> Result<(), WriteError> {
        let at = self.meter_index(meter)?;
        check_config(&self.program.meters[at].name, config)?;
        let size = self.program.meters[at].size;
        let range = cells("meter", &self.program.meters[at].name, size, index)?;
        for index in range {
            self.meters[at].set(index, config);
        }
        Ok(())
    }

    /// Sets the counters of a meter's cell, or of all of them, to zero.
    pub fn clear_meter(&self, meter: MeterId, index: Option<u32>) {
        let Some(at) = self.program.meter_index(meter) else {
            return;
        };
        let size = self.program.meters[at].size;
        let name = &self.program.meters[at].name;
        for index in cells("meter", name, size, index).unwrap_or(0..0) {
            if let Some(colors) = self.meters[at].colors.seen(index) {
                colors.clear();
            }
        }
    }

    /// A meter's cells, or one of them. Empty for what does not exist.
    pub fn meter(
        &self,
        meter: MeterId,
        index: Option<u32>,
    ) -> impl Iterator<Item = MeterView> + use<'_> {
        let found = self.program.meter_index(meter).and_then(|at| {
            let size = self.program.meters[at].size;
            let name = &self.program.meters[at].name;
            Some((at, cells("meter", name, size, index).ok()?))
        });
        found.into_iter().flat_map(move |(at, range)| {
            let cells = &self.meters[at];
            range.map(move |index| MeterView {
                cell: MeterCell {
                    meter,
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    config: cells.policer(index).map(|policer| policer.config()),
                },
                counters: cells
                    .colors
                    .seen(index)
                    .map(Colors::values)
                    .unwrap_or_default(),
            })
        })
    }

    /// Sets a counter's cell, or all of them.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn set_counter(
        &self,
        counter: CounterId,
        index: Option<u32>,
        value: CounterValue,
    ) -> Result<(), WriteError> {
        let (at, range) = self.counter_cells(counter, index)?;
        let cells = &self.counters[at].0;
        for index in range {
            // Parts that nobody has used are zero already.
            let cell = match value == CounterValue::default() {
                true => cells.seen(index),
                false => cells.get(index),
            };
            if let Some(cell) = cell {
                cell.set(value);
            }
        }
        Ok(())
    }

    /// Checks what [`Self::set_counter`] would refuse.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub fn check_counter(&self, counter: CounterId, index: Option<u32>) -> Result<(), WriteError> {
        self.counter_cells(counter, index).map(|_| ())
    }

    /// A counter's cells, or one of them, with their indices. Empty for what does not exist.
    pub fn counter(
        &self,
        counter: CounterId,
        index: Option<u32>,
    ) -> impl Iterator<Item = (u32, CounterValue)> + use<'_> {
        let found = self.counter_cells(counter, index).ok();
        found.into_iter().flat_map(move |(at, range)| {
            let cells = &self.counters[at].0;
            range.map(move |index| {
                let value = cells.seen(index).map(Counter::value);
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                (index, value.unwrap_or_default())
            })
        })
    }

    fn counter_cells(
        &self,
        counter: CounterId,
        index: Option<u32>,
    ) -> Result<(usize, std::ops::Range<usize>), WriteError> {
        let at = self
            .program
            .counter_index(counter)
            .ok_or_else(|| unknown("counter", counter.0))?;
        let def = &self.program.counters[at];
        Ok((at, cells("counter", &def.name, def.size, index)?))
    }

    fn meter_index(&self, meter: MeterId) -> Result<usize, WriteError> {
        let index = self.program.meter_index(meter);
        index.ok_or_else(|| unknown("meter", meter.0))
    }

    pub(crate) fn meter_cells(&self, index: usize) -> &MeterCells {
        &self.meters[index]
    }

    pub(crate) fn counter_array(&self, index: usize) -> &CounterCells {
        &self.counters[index]
    }
}

/// Whether a configuration is one (RFC 2698 §2). `None` always is.
pub(super) fn check_config(what: &str, config: Option<MeterConfig>) -> Result<(), WriteError> {
    let Some(config) = config else {
        return Ok(());
    };
    let problem = if config.pir < config.cir {
        "the peak rate is below the committed rate"
    } else if config.cburst == 0 || config.pburst == 0 {
        "a burst is 0, so that nothing would ever pass"
    } else {
        return Ok(());
    };
    Err(WriteError::Invalid {
        what: format!("meter {what}"),
        problem: problem.into(),
    })
}

fn cells(
    kind: &str,
    name: &str,
    size: usize,
    index: Option<u32>,
) -> Result<std::ops::Range<usize>, WriteError> {
    match index.map(|index| index as usize) {
        None => Ok(0..size),
        Some(index) if index < size => Ok(index..index + 1),
        Some(index) => Err(WriteError::NoCell {
            what: format!("{kind} {name}"),
            index,
            size,
        }),
    }
}

fn unknown(kind: &str, id: u32) -> WriteError {
    WriteError::Invalid {
        what: format!("{kind} {id:#010x}"),
        problem: format!("the pipeline has no such {kind}"),
    }
}
