//! What senders hear of packets that the router could not forward (RFC 792, 1191, 1812; RFC 4443), and fragments.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use weft_controller::compile::GATEWAY_MAC;
use weft_switch::datapath::Nanos;
use weft_switch::packet::Packet;
use weft_switch::vnet::{GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, VnetHdr};

use crate::frames::{self, Ends, Ends6, check_sums, check_sums6};
use crate::lab::{self, Lab};

fn ends(lab: &Lab, dst: &str) -> Ends {
    let dst = dst.parse().unwrap_or_else(|_| lab.ip(dst));
    Ends {
        dst_mac: GATEWAY_MAC,
        dst,
        ..lab.ends("a", "a")
    }
}

fn ends6(lab: &Lab, dst: &str) -> Ends6 {
    let dst = dst.parse().unwrap_or_else(|_| lab.ip6(dst));
    Ends6 {
        dst_mac: GATEWAY_MAC,
        dst,
        ..lab.ends6("a", "a")
    }
}

/// What an error says: type, code, the last four bytes of its header.
type Said = (u8, u8, u32);

/// Checks everything of an error about `sent`, which came from host a, but what it says.
#[track_caller]
fn said(lab: &Lab, got: &[u8], sent: &[u8]) -> Said {
    assert_eq!(got[..6], lab.mac("a").0);
    assert_eq!(got[6..12], GATEWAY_MAC.0);
    assert_eq!(got[12..14], [8, 0]);
    check_sums(got);
    assert_eq!(
        got[26..30],
        Ipv4Addr::new(10, 0, 1, 254).octets(),
        "the gateway of a's subnet"
    );
    assert_eq!(got[30..34], sent[26..30]);
    assert_eq!(
        usize::from(u16::from_be_bytes([got[16], got[17]])),
        got.len() - 14
    );
    let quoted = sent[14..].len().min(548);
    assert_eq!(
        got[42..],
        sent[14..14 + quoted],
        "the packet as it was sent"
    );
    (
        got[34],
        got[35],
        u32::from_be_bytes(got[38..42].try_into().unwrap()),
    )
}

#[track_caller]
fn said6(lab: &Lab, got: &[u8], sent: &[u8]) -> Said {
    assert_eq!(got[..6], lab.mac("a").0);
    assert_eq!(got[6..12], GATEWAY_MAC.0);
    assert_eq!((got[12], got[13], got[20]), (0x86, 0xdd, 58));
    check_sums6(got);
    let gateway: Ipv6Addr = "2001:db8:1::fe".parse().unwrap();
    assert_eq!(got[22..38], gateway.octets(), "the gateway of a's subnet");
    assert_eq!(got[38..54], sent[22..38]);
    assert_eq!(
        usize::from(u16::from_be_bytes([got[18], got[19]])),
        got.len() - 54
    );
    let quoted = sent[14..].len().min(1232);
    assert_eq!(
        got[62..],
        sent[14..14 + quoted],
        "the packet as it was sent"
    );
    (
        got[54],
        got[55],
        u32::from_be_bytes(got[58..62].try_into().unwrap()),
    )
}

#[test]
fn each_cause_has_its_error_and_still_counts_as_a_drop() {
    let mut lab = lab::dual().mtu("s2--s3", 1400).lab();
    let udp = |ends, size| frames::udp(ends, (1, 2), &vec![7; size]);
    let cases = [
        (
            udp(
                Ends {
                    ttl: 1,
                    ..ends(&lab, "d")
                },
                900,
            ),
            "ttl-expired",
            (11, 0, 0),
        ),
        (
            udp(
                Ends {
                    ttl: 0,
                    ..ends(&lab, "d")
                },
                1,
            ),
            "ttl-expired",
            (11, 0, 0),
        ),
        (udp(ends(&lab, "192.0.2.1"), 1), "no-route", (3, 0, 0)),
        (udp(ends(&lab, "10.0.2.77"), 1), "no-neighbor", (3, 1, 0)),
        (udp(ends(&lab, "10.0.2.254"), 1), "to-gateway", (3, 3, 0)),
        (udp(ends(&lab, "d"), 1400), "mtu", (3, 4, 1400)),
    ];
    for (frame, reason, expected) in cases {
        let outcome = lab.send("a", &frame);
        assert_eq!(outcome.reasons(), [reason]);
        assert_eq!(said(&lab, outcome.only("a"), &frame), expected, "{reason}");
        assert_eq!(outcome.hops, ["s1"]);
    }
    let udp = |ends, size| frames::udp6(ends, (1, 2), &vec![7; size]);
    let cases = [
        (
            udp(
                Ends6 {
                    hop_limit: 1,
                    ..ends6(&lab, "d")
                },
                1400,
            ),
            "ttl-expired",
            (3, 0, 0),
        ),
        (udp(ends6(&lab, "2001:db8:9::1"), 1), "no-route", (1, 0, 0)),
        (
            udp(ends6(&lab, "2001:db8:2::77"), 1),
            "no-neighbor",
            (1, 3, 0),
        ),
        (
            udp(ends6(&lab, "2001:db8:2::fe"), 1),
            "to-gateway",
            (1, 4, 0),
        ),
        (udp(ends6(&lab, "d"), 1400), "mtu", (2, 0, 1400)),
    ];
    for (frame, reason, expected) in cases {
        let outcome = lab.send("a", &frame);
        assert_eq!(outcome.reasons(), [reason]);
        assert_eq!(said6(&lab, outcome.only("a"), &frame), expected, "{reason}");
        assert_eq!(outcome.hops, ["s1"]);
    }
}

#[test]
fn what_just_fits_the_way_passes_and_only_the_way_counts() {
    let mut lab = lab::dual().mtu("s2--s3", 1400).lab();
    let fits = frames::udp6(ends6(&lab, "d"), (1, 2), &[7; 1400 - 48]);
    assert_eq!(lab.send("a", &fits).hosts(), ["d"]);
    let near = frames::udp6(ends6(&lab, "c"), (1, 2), &[7; 1500 - 48]);
    assert_eq!(lab.send("a", &near).hosts(), ["c"]);
    // Within a subnet there is no router that could say anything (design, section 4).
    let bridged = frames::udp6(lab.ends6("a", "b"), (1, 2), &[7; 1400]);
    let outcome = lab.send("a", &bridged);
    assert_eq!(outcome.reasons(), ["mtu"]);
    assert!(outcome.delivered.is_empty());
}

#[test]
fn no_error_is_about_an_error_a_later_fragment_or_a_sender_that_is_no_single_host() {
    let mut lab = lab::dual().lab();
    let lost = Ends {
        ttl: 1,
        ..ends(&lab, "d")
    };
    let mut frames = Vec::new();
    for kind in [3, 4, 5, 11, 12] {
        let mut error = frames::echo_request(lost, 1);
        error[34] = kind;
        frames.push(error);
    }
    let mut later = frames::udp(lost, (1, 2), b"x");
    later[21] = 1;
    frames.push(later);
    for source in [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ] {
        let src = source.parse().unwrap();
        frames.push(frames::udp(Ends { src, ..lost }, (1, 2), b"x"));
    }
    let lost = Ends6 {
        hop_limit: 1,
        ..ends6(&lab, "d")
    };
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        frames.push(frames::icmp6(lost, kind, [0; 4], &[0; 48]));
    }
    for source in ["::", "::1", "ff02::1"] {
        let src = source.parse().unwrap();
        frames.push(frames::udp6(Ends6 { src, ..lost }, (1, 2), b"x"));
    }
    let mut later = frames::extend(&frames::udp6(lost, (1, 2), b"x"), &[(44, 8)]);
    later[57] = 8;
    frames.push(later);
    // So long a chain may end in an error.
    frames.push(frames::extend(
        &frames::udp6(lost, (1, 2), b"x"),
        &[(60, 8); 9],
    ));
    for frame in frames {
        let outcome = lab.send("a", &frame);
        assert_eq!(outcome.reasons(), ["ttl-expired"], "{frame:02x?}");
        assert!(outcome.delivered.is_empty(), "{frame:02x?}");
    }
    // A first fragment is answered, and so is ping.
    let mut first = frames::udp(
        Ends {
            ttl: 1,
            ..ends(&lab, "d")
        },
        (1, 2),
        b"x",
    );
    first[20] |= 0x20;
    let ping = frames::echo_request(
        Ends {
            ttl: 1,
            ..ends(&lab, "d")
        },
        1,
    );
    for frame in [first, ping] {
        assert_eq!(lab.send("a", &frame).hosts(), ["a"]);
    }
}

#[test]
fn errors_are_rate_limited_for_each_port_and_drops_are_counted_all_the_same() {
    let mut lab = lab::dual().lab();
    let frame = frames::udp(
        Ends {
            ttl: 1,
            ..ends(&lab, "d")
        },
        (1, 2),
        b"x",
    );
    let heard = |lab: &mut Lab, tries| {
        let outcomes = (0..tries).map(|_| lab.send("a", &frame));
        let mut errors = 0;
        for outcome in outcomes {
            assert_eq!(outcome.reasons(), ["ttl-expired"]);
            errors += outcome.delivered.len();
        }
        errors
    };
    assert_eq!(heard(&mut lab, 200), 50);
    lab.now = Nanos(lab.now.0 + 10_000_000);
    assert_eq!(heard(&mut lab, 200), 10);
    // Another port has its own.
    let other = Ends {
        ttl: 1,
        dst_mac: GATEWAY_MAC,
        ..lab.ends("c", "a")
    };
    assert_eq!(
        lab.send("c", &frames::udp(other, (1, 2), b"x")).hosts(),
        ["c"]
    );
}

#[test]
fn hosts_at_layer_3_ports_hear_of_it_without_ethernet() {
    let mut lab = lab::dual().tun("a").lab();
    let frame = frames::udp(
        Ends {
            ttl: 1,
            ..ends(&lab, "d")
        },
        (1, 2),
        b"x",
    );
    let outcome = lab.send("a", &frame[14..]);
    let ethernet = [&lab.mac("a").0[..], &GATEWAY_MAC.0, &[8, 0]].concat();
    let got = [&ethernet, outcome.only("a")].concat();
    assert_eq!(said(&lab, &got, &frame), (11, 0, 0));
}

#[test]
fn of_a_super_packet_the_first_segment_is_quoted() {
    let mut lab = lab::dual().mtu("s2--s3", 1400).lab();
    let payload = vec![7; 30_000];
    let vnet = |gso_type, transport| VnetHdr {
        flags: NEEDS_CSUM,
        gso_type,
        hdr_len: transport + 20,
        gso_size: 1446,
        csum_start: transport,
        csum_offset: 16,
    };
    let v4 = frames::tcp(ends(&lab, "d"), (1, 2), &payload);
    let v6 = frames::tcp6(ends6(&lab, "d"), (1, 2), &payload);
    for (frame, vnet, at) in [(v4, vnet(GSO_TCPV4, 34), 42), (v6, vnet(GSO_TCPV6, 54), 62)] {
        let mut packet = Packet::from_bytes(&frame);
        packet.vnet = vnet;
        let (outcome, delivered) = lab.send_packet("a", packet);
        assert_eq!(outcome.reasons(), ["mtu"]);
        let got = outcome.only("a");
        assert_eq!(delivered[0].vnet, VnetHdr::default());
        let quoted = &got[at..];
        if at == 42 {
            check_sums(got);
            assert_eq!((got[34], got[35], &got[40..42]), (3, 4, &[5, 120][..]));
            assert_eq!(quoted[2..4], (20 + 20 + 1446_u16).to_be_bytes());
            assert_eq!(quoted.len(), 548);
        } else {
            check_sums6(got);
            assert_eq!((got[54], got[55], &got[60..62]), (2, 0, &[5, 120][..]));
            assert_eq!(quoted[4..6], (20 + 1446_u16).to_be_bytes());
            assert_eq!(quoted.len(), 1232);
        }
    }
}

/// Puts fragments together again (RFC 791), and checks each.
#[track_caller]
fn reassemble(fragments: &[(String, Vec<u8>)], mtu: usize) -> Vec<u8> {
    let mut parts = BTreeMap::new();
    let mut end = None;
    for (_, frame) in fragments {
        let packet = &frame[14..];
        assert!(packet.len() <= mtu);
        let header = usize::from(packet[0] & 15) * 4;
        let word = u16::from_be_bytes([packet[6], packet[7]]);
        let offset = usize::from(word & 0x1fff) * 8;
        let payload = &packet[header..];
        if word & 0x2000 == 0 {
            end = Some(offset + payload.len());
        } else {
            assert_eq!(payload.len() % 8, 0);
        }
        assert!(parts.insert(offset, payload.to_vec()).is_none());
    }
    let whole: Vec<u8> = parts.into_values().flatten().collect();
    assert_eq!(Some(whole.len()), end);
    whole
}

#[test]
fn what_may_be_fragmented_is_where_the_way_is_narrow() {
    let mut lab = lab::dual().mtu("s2--s3", 600).lab();
    for size in [573, 1000, 1453] {
        let payload: Vec<u8> = (0..=250).cycle().take(size).collect();
        let frame = frames::udp(ends(&lab, "d"), (1, 2), &payload);
        let frame = frames::may_fragment(frame);
        let outcome = lab.send("a", &frame);
        assert!(outcome.drops.is_empty());
        let count = (size + 8_usize).div_ceil(576);
        assert_eq!(outcome.hosts(), vec!["d"; count]);
        assert_eq!(reassemble(&outcome.delivered, 600), frame[34..]);
        for (_, fragment) in &outcome.delivered {
            assert_eq!(fragment[..6], lab.mac("d").0);
            assert_eq!(fragment[22], 63);
            assert_eq!(fragment[18..20], frame[18..20], "one identity");
        }
    }
}

#[test]
fn a_super_packet_is_segmented_before_it_is_fragmented() {
    let mut lab = lab::dual().mtu("s2--s3", 1400).lab();
    let frame = frames::tcp(ends(&lab, "d"), (1, 2), &[7; 5000]);
    let frame = frames::may_fragment(frame);
    let mut packet = Packet::from_bytes(&frame);
    packet.vnet = VnetHdr {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        hdr_len: 54,
        gso_size: 1440,
        csum_start: 34,
        csum_offset: 16,
    };
    let (outcome, _) = lab.send_packet("a", packet);
    assert!(outcome.drops.is_empty());
    // Three segments of 1480 bytes in two fragments each, and one that fits.
    assert_eq!(outcome.hosts(), ["d"; 7]);
    assert!(
        outcome
            .delivered
            .iter()
            .all(|(_, frame)| frame.len() <= 1414)
    );
}

#[test]
fn traceroute_sees_the_router_and_then_the_host() {
    let mut lab = lab::dual().lab();
    let probe = |lab: &Lab, ttl| {
        frames::udp(
            Ends {
                ttl,
                ..ends(lab, "d")
            },
            (40_000, 33_434),
            &[0; 32],
        )
    };
    let frame = probe(&lab, 1);
    let outcome = lab.send("a", &frame);
    assert_eq!(said(&lab, outcome.only("a"), &frame), (11, 0, 0));
    assert_eq!(lab.send("a", &probe(&lab, 2)).hosts(), ["d"]);
}
