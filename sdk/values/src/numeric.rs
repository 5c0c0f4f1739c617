//! numeric in binary, as text. No decimal library holds all of its digits: PostgreSQL has up to 131072 before the point.

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Reads `ndigits, weight, sign, dscale` and the digits to base 10000 (`numeric_send` in PostgreSQL's `numeric.c`).
pub(crate) fn to_text(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let mut words = bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_be_bytes);
    let count = usize::from(words.next()?);
    let weight = i64::from(words.next()?.cast_signed());
    let sign = words.next()?;
    let scale = usize::from(words.next()?);
    match sign {
        NAN => return Some("NaN".into()),
        INFINITY => return Some("Infinity".into()),
        NEGATIVE_INFINITY => return Some("-Infinity".into()),
        POSITIVE | NEGATIVE => {}
        _ => return None,
    }
    let digits: Vec<u16> = words.collect();
    if digits.len() != count || digits.iter().any(|digit| *digit > 9999) {
        return None;
    }
    // The digit that stands for 10000 to the given power.
    let at = |power: i64| usize::try_from(weight - power).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    let mut text = String::new();
    if sign == NEGATIVE {
        text.push('-');
    }
    text.push_str(&at(weight.max(0)).to_string());
    for power in (0..weight.max(0)).rev() {
        text.push_str(&format!("{:04}", at(power)));
    }
    if scale > 0 {
        text.push('.');
        let groups = scale.div_ceil(4);
        let fraction: String =
            (1..=groups).map(|group| format!("{:04}", at(-i64::try_from(group).unwrap_or(i64::MAX)))).collect();
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::to_text;

    fn binary(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn digits_before_and_after_the_point_are_kept() {
        assert_eq!(to_text(&binary(&[3, 1, 0x4000, 3, 1, 2345, 6780])).as_deref(), Some("-12345.678"));
        assert_eq!(to_text(&binary(&[1, 0xffff, 0, 4, 12])).as_deref(), Some("0.0012"));
        assert_eq!(to_text(&binary(&[0, 0, 0, 2])).as_deref(), Some("0.00"));
        assert_eq!(to_text(&binary(&[1, 1, 0, 0, 7])).as_deref(), Some("70000"));
        assert_eq!(to_text(&binary(&[0, 0, 0xC000, 0])).as_deref(), Some("NaN"));
    }

    #[test]
    fn what_is_no_numeric_is_refused() {
        assert_eq!(to_text(&[]), None);
        assert_eq!(to_text(&binary(&[2, 0, 0, 0, 1])), None);
        assert_eq!(to_text(&binary(&[1, 0, 0, 0, 10_000])), None);
        // Found by fuzzing.
        assert_eq!(to_text(&[binary(&[1, 0, 0, 0, 7]), vec![0]].concat()), None, "half a digit");
    }
}
