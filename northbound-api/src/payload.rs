//! Frames as text: base64 (RFC 4648 §4) or hexadecimal digits.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Encoding {
    /// Base64, with or without padding.
    Base64,
    /// Pairs of hexadecimal digits; colons and blanks between them are fine.
    Hex,
}

impl Encoding {
    /// What a text looks like: pairs of hexadecimal digits are taken for that.
    pub(crate) fn of(text: &str) -> Self {
        if unhex(text).is_some() {
            Self::Hex
        } else {
            Self::Base64
        }
    }

    /// Reads a text; `None` where it is not written like this.
    pub(crate) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => unbase64(text),
            Self::Hex => unhex(text),
        }
    }
}

/// Writes base64, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 0x3f;
            let letter = ALPHABET[usize::try_from(index).unwrap_or(0)];
            let is_padding = digit > chunk.len();
            text.push(if is_padding { '=' } else { char::from(letter) });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().trim_end_matches('=');
    if digits.len() % 4 == 1 || text.trim().len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let is_between = |letter: &char| *letter == ':' || letter.is_ascii_whitespace();
    let digits: Vec<u32> = text
        .chars()
        .filter(|letter| !is_between(letter))
        .map(|letter| letter.to_digit(16))
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u32]| u8::try_from(pair[0] << 4 | pair[1]).ok();
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_examples_of_its_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(unbase64(text).as_deref(), Some(bytes.as_bytes()));
            let bare = text.trim_end_matches('=');
            assert_eq!(unbase64(bare).as_deref(), Some(bytes.as_bytes()));
        }
        for wrong in ["Z", "Zg=x", "Zg===", "Z!==", "Zm9vY"] {
            assert_eq!(unbase64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_recognised() {
        for text in ["02:00:0a", "02000A", "0x02000a", " 02 00 0a "] {
            assert_eq!(Encoding::of(text), Encoding::Hex);
            assert_eq!(Encoding::Hex.decode(text), Some(vec![2, 0, 10]));
        }
        assert_eq!(Encoding::of("Zm9v"), Encoding::Base64);
        assert_eq!(unhex("020"), None);
        assert_eq!(unhex("0g"), None);
    }
}
