//! IPv4 fragmentation of what is larger than the next hop's MTU (RFC 791 §3.2, RFC 1812 §4.2.2.7).

use super::{IpVersion, find_ip, get16, put16, without_offloads};
use crate::checksum;
use crate::packet::{Packet, Pool};

/// Options are at most 10 words.
const MAX_OPTIONS: usize = 40;
const MORE_FRAGMENTS: u16 = 0x2000;
/// Flags and offset share a word; these bits are the offset, in units of 8 bytes.
const OFFSET: u16 = 0x1fff;

/// Appends the fragments of a packet, none larger than `size` bytes from its IPv4 header on, to `out`; a super-packet is cut
/// into segments first. False, and nothing appended, where there is no IPv4 packet or the size is too small for one.
pub(crate) fn fragment(
    packet: Packet,
    is_l2: bool,
    size: usize,
    pool: &mut Pool,
    out: &mut Vec<Packet>,
) -> bool {
    let first = out.len();
    let mut wholes = Vec::new();
    without_offloads(packet, is_l2, pool, &mut wholes);
    let mut done = !wholes.is_empty();
    for whole in wholes {
        done = done && cut(&whole, is_l2, size, pool, out);
        pool.recycle(whole);
    }
    if !done {
        for frame in out.drain(first..) {
            pool.recycle(frame);
        }
    }
    done
}

/// Cuts one whole packet.
fn cut(packet: &Packet, is_l2: bool, size: usize, pool: &mut Pool, out: &mut Vec<Packet>) -> bool {
    let head = packet.head();
    let Some((ip, IpVersion::V4)) = find_ip(head, is_l2) else {
        return false;
    };
    let header_len = usize::from(head[ip] & 0x0f) * 4;
    if header_len < 20 || ip + header_len > head.len() {
        return false;
    }
    // What follows the IPv4 packet is padding of the frame.
    let total = usize::from(get16(head, ip + 2));
    let end = packet.len().min(ip + total.max(header_len));
    if end - ip <= size {
        out.push(pool.copy(packet));
        return true;
    }
    let word = get16(head, ip + 6);
    let mut options = [0; MAX_OPTIONS];
    let later = copied_options(&head[ip + 20..ip + header_len], &mut options);
    let mut at = ip + header_len;
    let mut header = &head[ip + 20..ip + header_len];
    while at < end {
        let room = size.saturating_sub(20 + header.len());
        let is_last = end - at <= room;
        let len = if is_last { end - at } else { room & !7 };
        if len == 0 {
            return false;
        }
        let front = ip + 20 + header.len();
        let mut frame = pool.blank(front + len);
        frame.write(0, &head[..ip + 20]);
        frame.write(ip + 20, header);
        packet.copy_range(at, len, |offset, bytes| frame.write(front + offset, bytes));
        let offset = (word & OFFSET) + units(at - ip - header_len);
        let more = if is_last {
            word & MORE_FRAGMENTS
        } else {
            MORE_FRAGMENTS
        };
        let bytes = frame.head_mut();
        bytes[ip] = 0x40 | low_nibble((front - ip) / 4);
        put16(bytes, ip + 2, length(front + len - ip));
        put16(
            bytes,
            ip + 6,
            word & !OFFSET & !MORE_FRAGMENTS | more | offset & OFFSET,
        );
        put16(bytes, ip + 10, 0);
        let sum = checksum::sum(&bytes[ip..front]);
        put16(bytes, ip + 10, checksum::finish(sum));
        out.push(frame);
        at += len;
        header = &options[..later];
    }
    true
}

/// Options that every fragment has, padded to whole words; returns their length. A list that is not well formed ends
/// where it goes wrong.
fn copied_options(options: &[u8], out: &mut [u8; MAX_OPTIONS]) -> usize {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const COPIED: u8 = 0x80;
    let (mut at, mut len) = (0, 0);
    while let Some(&kind) = options.get(at) {
        let size = match kind {
            END => break,
            NOTHING => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or_default()),
        };
        let Some(option) = options
            .get(at..at + size)
            .filter(|option| !option.is_empty())
        else {
            break;
        };
        if kind & COPIED != 0 {
            out[len..len + size].copy_from_slice(option);
            len += size;
        }
        at += size;
    }
    len.next_multiple_of(4)
}

fn units(bytes: usize) -> u16 {
    u16::try_from(bytes / 8).unwrap_or(OFFSET)
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

fn low_nibble(words: usize) -> u8 {
    u8::try_from(words).unwrap_or_default() & 0x0f
}

#[cfg(test)]
mod tests;
