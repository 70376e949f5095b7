//! Lets every gRPC client in over a Unix socket.
//!
//! gRPC's C core (Python, C++, Ruby) names the socket's path, percent-encoded, as the authority of its calls; others
//! name the path as it is. Neither is an authority (RFC 3986 §3.2.2), and the HTTP/2 library refuses such a call
//! before anybody can look at it. On a Unix socket the authority means nothing, so the bytes that are wrong in it are
//! replaced on the way in, each by one other byte: no length changes, and the tables of HPACK on both sides stay equal.
//!
//! ```text
//!  preface · frame (RFC 9113 §4.1) · frame · …
//!            └ HEADERS or CONTINUATION: a part of a block of fields (RFC 7541 §6)
//!                                       └ literal of `:authority`, its name index 1 or spelled out: the value
//!                                         is looked at
//! ```
//!
//! A text in Huffman's code passes as it is; no client is known that sends its authority so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A connection whose calls have an authority that is one.
#[derive(Debug)]
pub(crate) struct Tolerant<C> {
    connection: C,
    scan: Scan,
}

impl<C> Tolerant<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self {
            connection,
            scan: Scan::default(),
        }
    }
}

impl<C: Connected> Connected for Tolerant<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Tolerant<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.connection).poll_read(cx, buf))?;
        self.scan.pass(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Tolerant<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

/// Where in the client's bytes we are.
#[derive(Debug)]
struct Scan {
    part: Part,
    /// Bytes of the part, or of the frame's payload, that are still to come.
    left: usize,
    /// The frame's head as far as it has come.
    head: [u8; FRAME_HEAD],
    /// Bytes of padding at the payload's end.
    padding: usize,
    field: Field,
}

/// A part of the stream.
#[derive(Clone, Copy, Debug)]
enum Part {
    Preface,
    Head,
    PadLength,
    /// Stream dependency and weight, so many bytes of them.
    Priority(usize),
    Fields,
    /// Nothing that is looked at.
    Rest,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            part: Part::Preface,
            left: PREFACE,
            head: [0; FRAME_HEAD],
            padding: 0,
            field: Field::default(),
        }
    }
}

impl Scan {
    /// Looks at the next bytes, however they are cut, and changes those of a wrong authority.
    fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let used = self.step(bytes);
            bytes = &mut bytes[used..];
        }
    }

    /// Takes at least one byte; returns how many.
    fn step(&mut self, bytes: &mut [u8]) -> usize {
        let used = match self.part {
            Part::Preface | Part::Rest => self.left.min(bytes.len()),
            Part::Head | Part::PadLength | Part::Priority(_) | Part::Fields => 1,
        };
        let byte = &mut bytes[0];
        self.left -= used;
        match &mut self.part {
            Part::Preface | Part::Rest => {}
            Part::Head => {
                self.head[FRAME_HEAD - 1 - self.left] = *byte;
                if self.left == 0 {
                    self.begin_payload();
                }
            }
            Part::PadLength => {
                self.padding = usize::from(*byte);
                self.part = self.after_pad_length();
            }
            Part::Priority(1) => self.part = Part::Fields,
            Part::Priority(count) => *count -= 1,
            Part::Fields => self.field.pass(byte),
        }
        if matches!(self.part, Part::Fields) && self.left <= self.padding {
            self.part = Part::Rest;
        }
        if self.left == 0 {
            self.part = Part::Head;
            self.left = FRAME_HEAD;
        }
        used
    }

    fn begin_payload(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.padding = 0;
        self.part = match kind {
            HEADERS => {
                self.field = Field::default();
                match flags & PADDED {
                    0 => self.after_pad_length(),
                    _ => Part::PadLength,
                }
            }
            CONTINUATION => Part::Fields,
            _ => Part::Rest,
        };
    }

    fn after_pad_length(&self) -> Part {
        match self.head[4] & PRIORITY {
            0 => Part::Fields,
            _ => Part::Priority(5),
        }
    }
}

/// Where in a block of fields we are.
#[derive(Debug, Default)]
struct Field {
    step: Step,
    /// The number that is being read: an index or a length.
    number: u64,
    shift: u32,
    /// The text to come is a name; a value follows it.
    is_name: bool,
    /// The value to come is the authority's.
    is_authority: bool,
    is_huffman: bool,
    /// What of the authority's name has not yet been seen in the name that is being read.
    unseen: &'static [u8],
}

#[derive(Clone, Copy, Debug, Default)]
enum Step {
    /// The first byte of a field.
    #[default]
    Start,
    /// A further byte of a number, and what the number is.
    Number(Meaning),
    /// The first byte of a text's length.
    Length,
    /// A byte of a text.
    Text,
}

#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// A field of the table, or the table's size: the field ends with it.
    Whole,
    /// The name of a literal field; 0 where the name follows as text.
    Name,
    /// The length of a text.
    Length,
}

impl Field {
    fn pass(&mut self, byte: &mut u8) {
        match self.step {
            Step::Start => match byte.leading_zeros() {
                0 => self.begin_number(*byte, 7, Meaning::Whole),
                1 => self.begin_number(*byte, 6, Meaning::Name),
                2 => self.begin_number(*byte, 5, Meaning::Whole),
                _ => self.begin_number(*byte, 4, Meaning::Name),
            },
            Step::Length => {
                self.is_huffman = *byte & 0x80 != 0;
                self.begin_number(*byte, 7, Meaning::Length);
            }
            Step::Number(meaning) => {
                let bits = u64::from(*byte & 0x7f);
                self.number = self.number.saturating_add(bits << self.shift.min(56));
                self.shift += 7;
                if *byte & 0x80 == 0 {
                    self.end_number(meaning);
                }
            }
            Step::Text => {
                if self.is_name {
                    self.spell(*byte);
                } else if self.is_authority && !self.is_huffman && matches!(*byte, b'%' | b'/') {
                    *byte = b'-';
                }
                self.number -= 1;
                if self.number == 0 {
                    self.end_text();
                }
            }
        }
    }

    /// A number with a prefix of so many bits (RFC 7541 §5.1).
    fn begin_number(&mut self, byte: u8, prefix: u32, meaning: Meaning) {
        let max = (1_u8 << prefix) - 1;
        self.number = u64::from(byte & max);
        if byte & max == max {
            self.shift = 0;
            self.step = Step::Number(meaning);
        } else {
            self.end_number(meaning);
        }
    }

    fn end_number(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Whole => self.step = Step::Start,
            Meaning::Name => {
                self.is_name = self.number == 0;
                self.is_authority = self.number == AUTHORITY;
                self.unseen = AUTHORITY_NAME;
                self.step = Step::Length;
            }
            Meaning::Length if self.number == 0 => self.end_text(),
            Meaning::Length => self.step = Step::Text,
        }
    }

    /// A byte of a name that is spelled out.
    fn spell(&mut self, byte: u8) {
        self.is_authority = false;
        match self.unseen.split_first() {
            Some((&expected, rest)) if expected == byte && !self.is_huffman => {
                self.unseen = rest;
                self.is_authority = rest.is_empty();
            }
            _ => self.unseen = MISMATCH,
        }
    }

    fn end_text(&mut self) {
        self.step = match self.is_name {
            true => Step::Length,
            false => Step::Start,
        };
        self.is_name = false;
    }
}

/// Bytes of a client's preface.
const PREFACE: usize = 24;
/// Bytes of a frame's head.
const FRAME_HEAD: usize = 9;
/// Frame types.
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
/// Flags of HEADERS.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// `:authority` in HPACK's static table.
const AUTHORITY: u64 = 1;
const AUTHORITY_NAME: &[u8] = b":authority";
/// What no name goes on with.
const MISMATCH: &[u8] = b"\0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![size[1], size[2], size[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    /// What a Python client sends first: settings, a call, a message that looks like a field.
    fn call(authority: &[u8], spelled: bool) -> Vec<u8> {
        let mut fields = vec![0x83, 0x86];
        fields.extend([0x44, 5]);
        fields.extend(b"/a%/b");
        match spelled {
            true => {
                fields.extend([0x40, 10]);
                fields.extend(b":authority");
            }
            false => fields.push(0x41),
        }
        match u8::try_from(authority.len()) {
            Ok(size @ 0..=126) => fields.push(size),
            Ok(size) => fields.extend([127, size - 127]),
            Err(_) => unreachable!("short in these tests"),
        }
        fields.extend_from_slice(authority);
        fields.extend([0x40, 2, b':', b'%', 3, b'/', b'%', b'/']);
        fields.extend([0x3f, 0xe1, 0x1f, 0x10, 0, 0]);
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, &[0, 3, 0, 0, 0x41, 2]));
        let (first, second) = fields.split_at(fields.len() / 2);
        let mut padded = vec![3, 0, 0, 0, 0, 16];
        padded.extend_from_slice(first);
        padded.extend([0x41, 1, b'%']);
        bytes.extend(frame(HEADERS, PADDED | PRIORITY, &padded));
        bytes.extend(frame(CONTINUATION, 4, second));
        bytes.extend(frame(0, 1, &[0x41, 2, b'%', b'/']));
        bytes.extend(frame(HEADERS, 4, &[0x83, 0xbe]));
        bytes
    }

    fn pass(bytes: &[u8], sizes: &[usize]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let mut scan = Scan::default();
        let mut sizes = sizes.iter().copied().cycle();
        let mut rest = bytes.as_mut_slice();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
            let (now, later) = rest.split_at_mut(size);
            scan.pass(now);
            rest = later;
        }
        bytes
    }

    #[test]
    fn a_path_as_authority_becomes_a_name() {
        for spelled in [true, false] {
            let wrong = call(b"run%2Fweft%2Flab%2Fp4rt.sock", spelled);
            let right = call(b"run-2Fweft-2Flab-2Fp4rt.sock", spelled);
            assert_eq!(pass(&wrong, &[]), right);
            let long = call(&[b'/'; 200], spelled);
            assert_eq!(pass(&long, &[]), call(&[b'-'; 200], spelled));
        }
    }

    #[test]
    fn an_authority_that_is_one_is_left_alone() {
        for authority in [&b"localhost"[..], b"127.0.0.1:9559", b"[::1]:80", b""] {
            assert_eq!(pass(&call(authority, true), &[]), call(authority, true));
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            authority in proptest::collection::vec(any::<u8>(), 0..250),
            sizes in proptest::collection::vec(1..40_usize, 1..9),
            spelled: bool,
        ) {
            let bytes = call(&authority, spelled);
            prop_assert_eq!(pass(&bytes, &sizes), pass(&bytes, &[]));
        }

        #[test]
        fn any_bytes_pass_and_only_two_of_them_change(bytes: Vec<u8>, prefaced: bool) {
            let mut given = if prefaced { vec![0; PREFACE] } else { Vec::new() };
            given.extend(bytes);
            for (before, after) in given.iter().zip(pass(&given, &[])) {
                prop_assert!(*before == after || matches!(before, b'%' | b'/') && after == b'-');
            }
        }
    }
}
