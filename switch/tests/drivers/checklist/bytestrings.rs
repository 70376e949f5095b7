//! §8.3 Bytestrings.

use tonic::Code;
use weft_proto::p4::v1::update::Type::Insert;

use super::{entry, entry_update, exact, lpm, outcome, read_entries, send, ternary};
use crate::client::{Lab, switches};

/// §8.3: a value may have any number of zero bytes in front; it is written in the shortest form.
#[tokio::test]
async fn padded_values_are_taken_and_come_back_in_the_shortest_form() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let padded = entry(
        "forward",
        &[("in_port", exact(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 5]))],
        0,
        Some(("send", &[&[0; 32]])),
    );
    let codes = outcome(&lab, vec![entry_update(Insert, padded)]).await;
    assert_eq!(codes, [Code::Ok]);
    let mut read = read_entries(&lab, entry("forward", &[], 0, None)).await;
    let mut expected = send(5, 0);
    expected.metadata.clear();
    assert_eq!(read.pop(), Some(expected));
    let masked = entry(
        "deny",
        &[("type", ternary(&[0, 0, 8, 0], &[0, 0xff, 0xff]))],
        3,
        Some(("refuse", &[])),
    );
    let prefix = entry(
        "routes",
        &[("dst", lpm(&[0, 0, 2, 0, 0, 0, 0, 0], 8))],
        0,
        Some(("send", &[&[0, 1]])),
    );
    let updates = [masked, prefix].map(|entry| entry_update(Insert, entry));
    assert_eq!(outcome(&lab, updates.into()).await, [Code::Ok; 2]);
    let read = read_entries(&lab, entry("deny", &[], 0, None)).await;
    let shortest = entry(
        "deny",
        &[("type", ternary(&[8, 0], &[0xff, 0xff]))],
        3,
        Some(("refuse", &[])),
    );
    assert_eq!(read, [shortest]);
    let read = read_entries(&lab, entry("routes", &[], 0, None)).await;
    let shortest = entry(
        "routes",
        &[("dst", lpm(&[2, 0, 0, 0, 0, 0], 8))],
        0,
        Some(("send", &[&[1]])),
    );
    assert_eq!(read, [shortest]);
}

/// §8.3: zero is one zero byte; the empty string is no value.
#[tokio::test]
async fn the_empty_string_is_out_of_range_and_zero_is_one_byte() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let empty_key = entry(
        "forward",
        &[("in_port", exact(&[]))],
        0,
        Some(("send", &[&[1]])),
    );
    let empty_argument = entry(
        "forward",
        &[("in_port", exact(&[1]))],
        0,
        Some(("send", &[&[]])),
    );
    let updates = [empty_key, empty_argument].map(|entry| entry_update(Insert, entry));
    let codes = outcome(&lab, updates.into()).await;
    assert_eq!(codes, [Code::OutOfRange; 2]);
    let codes = outcome(&lab, vec![entry_update(Insert, send(0, 0))]).await;
    assert_eq!(codes, [Code::Ok]);
    let read = read_entries(&lab, entry("forward", &[], 0, None)).await;
    assert_eq!(read, [send(0, 0)]);
}

/// §8.3: a value with a bit above the field's width is out of range, wherever it stands.
#[tokio::test]
async fn a_value_that_is_too_wide_is_out_of_range() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let wide = &[1, 0, 0, 0, 0][..];
    let entries = [
        entry(
            "forward",
            &[("in_port", exact(wide))],
            0,
            Some(("send", &[&[1]])),
        ),
        entry(
            "forward",
            &[("in_port", exact(&[1]))],
            0,
            Some(("send", &[wide])),
        ),
        entry(
            "deny",
            &[("type", ternary(&[1], &[1, 0, 0]))],
            1,
            Some(("pass", &[])),
        ),
    ];
    let updates = entries.map(|entry| entry_update(Insert, entry));
    assert_eq!(outcome(&lab, updates.into()).await, [Code::OutOfRange; 3]);
}
