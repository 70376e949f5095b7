//! Numbers with units, as people write them: `10ms`, `200mbit`, `0.1%`, `64kb`, `256p`.
//!
//! A bare number is refused, so that nobody has to guess the unit. Values are kept as integers; the text form that
//! [`Display`](std::fmt::Display) gives parses to the same value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Only a number.
    #[error("missing unit, for example `{example}`")]
    MissingUnit {
        /// The same number with a likely unit.
        example: String,
    },
    /// The unit does not exist.
    #[error("unknown unit `{unit}`, expected one of {allowed}")]
    UnknownUnit {
        /// What stood there.
        unit: String,
        /// The units of this quantity.
        allowed: String,
    },
    /// Not a number.
    #[error("`{text}` is not {what}, for example `{example}`")]
    NotANumber {
        /// What stood there.
        text: String,
        /// What was wanted.
        what: &'static str,
        /// A good value.
        example: &'static str,
    },
    /// Outside the range.
    #[error("`{text}` is out of range [{low}, {high}]")]
    OutOfRange {
        /// What stood there.
        text: String,
        /// Least value.
        low: &'static str,
        /// Largest value.
        high: &'static str,
    },
}

/// One kind of quantity: its units, each with its size in the smallest one.
struct Scale {
    what: &'static str,
    example: &'static str,
    /// Larger units later; the first one is what an integer counts.
    units: &'static [(&'static str, u64)],
    /// Written for a bare number in the error's example.
    likely: &'static str,
    low: &'static str,
    high: &'static str,
    max: u64,
}

const TIME: Scale = Scale {
    what: "a duration",
    example: "10ms",
    units: &[
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ],
    likely: "ms",
    low: "0s",
    high: "2562047h",
    max: u64::MAX / 2,
};

const RATE: Scale = Scale {
    what: "a rate",
    example: "200mbit",
    units: &[
        ("bit", 1),
        ("kbit", 1_000),
        ("mbit", 1_000_000),
        ("gbit", 1_000_000_000),
        ("tbit", 1_000_000_000_000),
    ],
    likely: "mbit",
    low: "1bit",
    high: "1000tbit",
    max: 1_000_000_000_000_000,
};

const BYTES: Scale = Scale {
    what: "a size",
    example: "64kb",
    units: &[
        ("b", 1),
        ("kb", 1_000),
        ("kib", 1_024),
        ("mb", 1_000_000),
        ("mib", 1_048_576),
        ("gb", 1_000_000_000),
        ("gib", 1_073_741_824),
    ],
    likely: "kb",
    low: "0b",
    high: "1000gb",
    max: 1_000_000_000_000,
};

const PERCENT: Scale = Scale {
    what: "a percentage",
    example: "0.1%",
    units: &[("ppb", 1), ("%", 10_000_000)],
    likely: "%",
    low: "0%",
    high: "100%",
    max: 1_000_000_000,
};

const PACKETS: Scale = Scale {
    what: "a number of packets",
    example: "256p",
    units: &[("p", 1)],
    likely: "p",
    low: "0p",
    high: "1000000000p",
    max: 1_000_000_000,
};

impl Scale {
    fn parse(&self, text: &str) -> Result<u64, QuantityError> {
        let text = text.trim();
        let split = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = unit.trim_start();
        let not_a_number = || QuantityError::NotANumber {
            text: text.to_owned(),
            what: self.what,
            example: self.example,
        };
        if number.is_empty() {
            return Err(not_a_number());
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(not_a_number());
        }
        if unit.is_empty() {
            return Err(QuantityError::MissingUnit {
                example: format!("{number}{}", self.likely),
            });
        }
        let folded = unit.to_lowercase();
        let Some((_, size)) = self.units.iter().find(|(name, _)| *name == folded) else {
            let allowed = self
                .units
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            return Err(QuantityError::UnknownUnit {
                unit: unit.to_owned(),
                allowed,
            });
        };
        let out_of_range = || QuantityError::OutOfRange {
            text: text.to_owned(),
            low: self.low,
            high: self.high,
        };
        let whole = if whole.is_empty() {
            Ok(0)
        } else {
            whole.parse::<u64>()
        }
        .map_err(|_| out_of_range())?;
        // Digits below the smallest unit are dropped: nothing here can express them.
        let mut part = 0;
        let mut weight = *size;
        for digit in fraction.bytes() {
            weight /= 10;
            part += u64::from(digit - b'0') * weight;
        }
        let value = whole
            .checked_mul(*size)
            .and_then(|v| v.checked_add(part))
            .ok_or_else(out_of_range)?;
        if value > self.max {
            Err(out_of_range())
        } else {
            Ok(value)
        }
    }

    /// The form of its texts, for editors: a number and a unit in any case.
    fn schema(&self) -> Schema {
        let any_case = |unit: &&str| -> String {
            unit.chars()
                .map(|c| match c {
                    'a'..='z' => format!("[{c}{}]", c.to_ascii_uppercase()),
                    other => other.to_string(),
                })
                .collect()
        };
        let units: Vec<String> = self.units.iter().map(|(unit, _)| any_case(unit)).collect();
        let pattern = format!(r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*({})$", units.join("|"));
        let description = format!(
            "{} with its unit, for example `{}`",
            self.what, self.example
        );
        json_schema!({ "type": "string", "pattern": pattern, "description": description, "examples": [self.example] })
    }

    /// The largest decimal unit that leaves no remainder.
    fn write(&self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = self
            .units
            .iter()
            .rfind(|(name, size)| {
                !name.ends_with("ib") && *name != "µs" && value != 0 && value.is_multiple_of(*size)
            })
            .unwrap_or(&self.units[0]);
        write!(f, "{}{unit}", value / size)
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $scale:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl FromStr for $name {
            type Err = QuantityError;

            fn from_str(text: &str) -> Result<Self, QuantityError> {
                $scale.parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(QuantityVisitor($scale)).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $scale.schema()
            }
        }
    };
}

quantity!(
    /// A span of time in nanoseconds.
    TimeSpan,
    TIME
);
quantity!(
    /// A rate in bits per second.
    BitsPerSec,
    RATE
);
quantity!(
    /// A size in bytes; `kb` is 1,000, `kib` is 1,024.
    ByteSize,
    BYTES
);
quantity!(
    /// A share in parts per 1,000,000,000, at most 100 %.
    Percent,
    PERCENT
);
quantity!(
    /// A number of packets.
    PacketCount,
    PACKETS
);

macro_rules! display {
    ($($name:ident, $scale:expr;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $scale.write(self.0, f)
            }
        }
    )*};
}

display! {
    BitsPerSec, RATE;
    ByteSize, BYTES;
    PacketCount, PACKETS;
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("0s")
        } else {
            TIME.write(self.0, f)
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000_000, self.0 % 10_000_000);
        let digits = format!("{whole}.{part:07}");
        write!(f, "{}%", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl TimeSpan {
    /// Whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// The same span as the standard library's type.
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl Percent {
    /// The share as a number from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "at most 1e9, exact in an f64")]
    pub fn fraction(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// Takes a text, and answers a bare number with the missing unit.
struct QuantityVisitor(Scale);

impl de::Visitor<'_> for QuantityVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with its unit, for example `{}`",
            self.0.what, self.0.example
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        self.0.parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<u64, E> {
        self.visit_str(&value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_parse_with_their_units() {
        assert_eq!("10ms".parse(), Ok(TimeSpan::from_millis(10)));
        assert_eq!("1.5s".parse(), Ok(TimeSpan::from_millis(1500)));
        assert_eq!("200 Mbit".parse(), Ok(BitsPerSec(200_000_000)));
        assert_eq!("0.1%".parse(), Ok(Percent(1_000_000)));
        assert_eq!("64kb".parse(), Ok(ByteSize(64_000)));
        assert_eq!("64kib".parse(), Ok(ByteSize(65_536)));
        assert_eq!("256p".parse(), Ok(PacketCount(256)));
    }

    #[test]
    fn bare_numbers_get_the_unit_that_is_missing() {
        let error = "10".parse::<TimeSpan>().unwrap_err();
        assert_eq!(error.to_string(), "missing unit, for example `10ms`");
        let error = "5 parsecs".parse::<TimeSpan>().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("unknown unit `parsecs`, expected one of `ns`")
        );
        assert!("101%".parse::<Percent>().is_err());
        for text in ["", ".", "1.2.3s", "ms", "-1s", "99999999999999999999s"] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_parses_to_the_same(value in 0..1_000_000_000_u64) {
            prop_assert_eq!(TimeSpan(value).to_string().parse(), Ok(TimeSpan(value)));
            prop_assert_eq!(BitsPerSec(value).to_string().parse(), Ok(BitsPerSec(value)));
            prop_assert_eq!(ByteSize(value).to_string().parse(), Ok(ByteSize(value)));
            prop_assert_eq!(Percent(value).to_string().parse(), Ok(Percent(value)));
            prop_assert_eq!(PacketCount(value).to_string().parse(), Ok(PacketCount(value)));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<TimeSpan>();
            let _ = text.parse::<Percent>();
        }
    }
}
