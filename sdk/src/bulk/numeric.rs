//! numeric between its text and its binary form: digits to the base of ten thousand, weight, sign, digits after the point.

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;

/// Writes a number as PostgreSQL prints it; exponents are understood too.
pub(super) fn encode(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("`{text}` is no number");
    let mut head = |digits: &[u16], weight: i16, sign: u16, scale: u16| -> Result<(), String> {
        out.extend_from_slice(&u16::try_from(digits.len()).map_err(|_| wrong())?.to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&scale.to_be_bytes());
        digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_be_bytes()));
        Ok(())
    };
    match text {
        "NaN" => return head(&[], 0, NAN, 0),
        "Infinity" => return head(&[], 0, INFINITY, 0),
        "-Infinity" => return head(&[], 0, MINUS_INFINITY, 0),
        _ => {}
    }
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (0, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    // The decimal point stands behind so many of the digits; before them are as many zeros as make whole groups of four.
    let point = i32::try_from(whole.len()).map_err(|_| wrong())?.checked_add(exponent).ok_or_else(wrong)?;
    let scale = i32::try_from(all.len()).map_err(|_| wrong())?.checked_sub(point).ok_or_else(wrong)?.max(0);
    let pad = usize::try_from((4 - point.rem_euclid(4)) % 4).map_err(|_| wrong())?;
    let mut padded = vec![b'0'; pad];
    padded.extend_from_slice(&all);
    padded.resize(padded.len().div_ceil(4) * 4, b'0');
    let mut groups: Vec<u16> =
        padded.chunks(4).map(|four| four.iter().fold(0, |all, digit| all * 10 + u16::from(digit - b'0'))).collect();
    // A whole number of groups, by the padding.
    let mut weight = point.checked_add(i32::try_from(pad).map_err(|_| wrong())?).ok_or_else(wrong)? / 4 - 1;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight -= i32::try_from(zeros).map_err(|_| wrong())?;
    if groups.is_empty() {
        weight = 0;
    }
    let sign = if groups.is_empty() { 0 } else { sign };
    head(&groups, i16::try_from(weight).map_err(|_| wrong())?, sign, u16::try_from(scale).map_err(|_| wrong())?)
}

/// Reads a number as PostgreSQL prints it.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (count, weight, sign, scale) = (usize::from(word(0)?), word(2)?.cast_signed(), word(4)?, usize::from(word(6)?));
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    match sign {
        NAN => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        MINUS_INFINITY => return Some("-Infinity".to_owned()),
        0 | NEGATIVE => {}
        _ => return None,
    }
    let whole = bytes.len() == 8 + 2 * count;
    if !whole || (0..count).any(|place| word(8 + 2 * place).is_none_or(|group| group > 9_999)) {
        return None;
    }
    let group = |place: i32| -> Option<u16> {
        match usize::try_from(place) {
            Ok(place) if place < count => word(8 + 2 * place),
            _ => Some(0),
        }
    };
    let mut text = String::with_capacity(4 * count + scale + 8);
    if sign == NEGATIVE {
        text.push('-');
    }
    let weight = i32::from(weight);
    if weight < 0 {
        text.push('0');
    }
    for place in 0..=weight {
        let digits = group(place)?;
        if place == 0 { text.push_str(&digits.to_string()) } else { text.push_str(&format!("{digits:04}")) }
    }
    if scale > 0 {
        text.push('.');
        let mut fraction = String::with_capacity(scale + 4);
        let mut place = weight + 1;
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", group(place)?));
            place += 1;
        }
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_all_their_digits() {
        for text in [
            "0",
            "1",
            "-1",
            "10000",
            "9999",
            "12345678901234567890",
            "0.1",
            "0.0001",
            "0.00001",
            "-12.3400",
            "100000000",
            "0.00",
            "1000.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "99999999.99999999",
            "0.000000000000001234",
        ] {
            let mut bytes = Vec::new();
            encode(text, &mut bytes).unwrap();
            assert_eq!(decode(&bytes).as_deref(), Some(text));
        }
    }

    #[test]
    fn an_exponent_is_understood_and_nonsense_is_not() {
        let of = |text: &str| {
            let mut bytes = Vec::new();
            encode(text, &mut bytes).map(|()| decode(&bytes).unwrap())
        };
        assert_eq!(of("1e3").unwrap(), "1000");
        assert_eq!(of("1.5e-3").unwrap(), "0.0015");
        assert_eq!(of("-0"), Ok("0".to_owned()));
        for text in ["", "-", "1.2.3", "abc", "1e", "１"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
