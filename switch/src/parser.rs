//! Runs a program's parser over the first bytes of a packet.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a head has less than 2^16 bytes, and at most 128 headers"
)]

use crate::bits::{PAD, Slot};
use crate::drops::DropReason;
use crate::interp::{Frame, Reader};
use crate::program::{ParserState, Program, Select, Target};

/// States that one packet may visit; a graph whose loop takes no bytes would not end otherwise.
const MAX_STEPS: usize = 256;

/// Fills `frame` from the packet's first bytes, and notes how many of them became headers.
pub(crate) fn parse(program: &Program, frame: &mut Frame, bytes: &[u8]) -> Result<(), DropReason> {
    let mut next = 0;
    for _ in 0..MAX_STEPS {
        let Some(state) = program.parser.get(usize::from(next)) else {
            return if next == ParserState::ACCEPT {
                Ok(())
            } else {
                Err(DropReason::PARSER_REJECT)
            };
        };
        next = step(program, frame, bytes, state)?;
    }
    Err(DropReason::PARSER_REJECT)
}

fn step(
    program: &Program,
    frame: &mut Frame,
    bytes: &[u8],
    state: &ParserState,
) -> Result<u16, DropReason> {
    for extract in &state.extract {
        let index = match extract.target {
            Target::Header(header) => header,
            Target::Next(stack) => {
                let next = &mut frame.stack_next[usize::from(stack)];
                let stack = program.layout.stacks[usize::from(stack)];
                if usize::from(*next) >= stack.count {
                    return Err(DropReason::PARSER_REJECT);
                }
                *next += 1;
                stack.first as u8 + *next - 1
            }
        };
        if frame.valid & 1 << index != 0 {
            return Err(DropReason::PARSER_REJECT);
        }
        let header = &program.layout.headers[usize::from(index)];
        let start = frame.consumed;
        take(frame, bytes, header.at, header.fixed)?;
        frame.valid |= 1 << index;
        frame.start[usize::from(index)] = start as u16;
        frame.var_len[usize::from(index)] = 0;
        // The length may depend on the fixed part, which is there now.
        if let Some(length) = &extract.var_length {
            let length = Reader::parser(frame, &program.layout).eval(length);
            if length > header.max_var as u128 {
                return Err(DropReason::PARSER_REJECT);
            }
            take(frame, bytes, header.at + header.fixed, length as usize)?;
            frame.var_len[usize::from(index)] = length as u16;
        }
    }
    if state.select.is_empty() {
        return Ok(state.default);
    }
    let mut keys = [0; crate::program::MAX_SELECT_KEYS];
    for (key, select) in keys.iter_mut().zip(&state.select) {
        *key = match select {
            Select::Value(value) => Reader::parser(frame, &program.layout).eval(value),
            Select::Lookahead { byte, slot } => lookahead(bytes, frame.consumed + byte, *slot),
        };
    }
    let case = state.cases.iter().find(|case| {
        case.values
            .iter()
            .zip(&keys)
            .all(|((value, mask), key)| key & mask == *value)
    });
    Ok(case.map_or(state.default, |case| case.next))
}

/// Copies the next `len` bytes into the arena.
fn take(frame: &mut Frame, bytes: &[u8], at: usize, len: usize) -> Result<(), DropReason> {
    let end = frame.consumed + len;
    let source = bytes
        .get(frame.consumed..end)
        .ok_or(DropReason::TRUNCATED)?;
    frame.arena[at..at + len].copy_from_slice(source);
    frame.consumed = end;
    Ok(())
}

/// Bits at a byte offset; beyond the end they are zero.
fn lookahead(bytes: &[u8], byte: usize, slot: Slot) -> u128 {
    let ahead = bytes.get(byte..).unwrap_or(&[]);
    if ahead.len() >= PAD {
        return slot.read(ahead);
    }
    let mut window = [0; PAD];
    window[..ahead.len()].copy_from_slice(ahead);
    slot.read(&window)
}
