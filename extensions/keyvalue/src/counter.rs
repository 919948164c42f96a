//! Counters: whole numbers kept as decimal text, as Redis keeps them.
//!
//! A counter is an ordinary value, so that a guest can read it with `get` and set it with `set`, and
//! that both versions of the interface count on the same keys.

use std::ops::RangeInclusive;

use crate::Error;

/// What a counter holds after `delta` was added to it; a key that is not there counts as 0.
///
/// # Errors
///
/// [`Error::NotACounter`] when the value is not decimal text in its shortest form (no sign but `-`, no
/// leading zeros, no spaces); [`Error::CounterOverflow`] when the sum is outside `range`.
pub(crate) fn add(
    current: Option<&[u8]>,
    delta: i128,
    range: &RangeInclusive<i128>,
) -> Result<i128, Error> {
    let current = match current {
        Some(text) => parse(text).ok_or(Error::NotACounter)?,
        None => 0,
    };
    // Neither overflows: a counter is at most a `u64` or an `i64`, and so is what is added.
    let sum = current.saturating_add(delta);
    if range.contains(&sum) { Ok(sum) } else { Err(Error::CounterOverflow(sum)) }
}

/// The stored form of a counter.
pub(crate) fn text(counter: i128) -> String {
    // The narrow types print several times faster.
    match (u64::try_from(counter), i64::try_from(counter)) {
        (Ok(counter), _) => counter.to_string(),
        (_, Ok(counter)) => counter.to_string(),
        _ => counter.to_string(),
    }
}

fn parse(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // The shortest form: digits alone, no zero in front, no negative zero.
    match digits {
        [b'0', _, ..] => return None,
        [b'0'] if negative => return None,
        digits if !digits.iter().all(u8::is_ascii_digit) => return None,
        _ => {}
    }
    let magnitude: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    if negative {
        0_i64.checked_sub_unsigned(magnitude).map(i128::from)
    } else {
        Some(magnitude.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U64: RangeInclusive<i128> = 0..=u64::MAX as i128;
    const S64: RangeInclusive<i128> = i64::MIN as i128..=i64::MAX as i128;

    #[test]
    fn a_missing_counter_begins_at_zero() {
        assert_eq!(add(None, 3, &U64), Ok(3));
        assert_eq!(add(None, -3, &S64), Ok(-3));
    }

    #[test]
    fn both_versions_count_on_the_same_text() {
        assert_eq!(add(Some(b"41"), 1, &U64), Ok(42));
        assert_eq!(add(Some(b"42"), -50, &S64), Ok(-8));
        assert_eq!(add(Some(b"-8"), 10, &U64), Ok(2));
    }

    #[test]
    fn every_counter_is_read_as_it_was_written() {
        let edges = [0, 1, -1, 9, -9, 10, i64::MAX.into(), i64::MIN.into(), u64::MAX.into()];
        for counter in edges {
            assert_eq!(parse(text(counter).as_bytes()), Some(counter));
        }
    }

    #[test]
    fn a_sum_that_the_type_cannot_hold_is_an_error() {
        let most = u64::MAX.to_string();
        assert_eq!(add(Some(most.as_bytes()), 0, &U64), Ok(u64::MAX.into()));
        assert_eq!(
            add(Some(most.as_bytes()), 1, &U64),
            Err(Error::CounterOverflow(i128::from(u64::MAX) + 1))
        );
        assert_eq!(
            add(Some(most.as_bytes()), 0, &S64),
            Err(Error::CounterOverflow(u64::MAX.into()))
        );
        assert_eq!(add(Some(b"1"), -2, &S64), Ok(-1));
        assert_eq!(
            add(Some(i64::MIN.to_string().as_bytes()), -1, &S64),
            Err(Error::CounterOverflow(i128::from(i64::MIN) - 1))
        );
    }

    #[test]
    fn a_value_that_is_not_a_number_in_its_shortest_form_is_not_a_counter() {
        let too_large = (u128::from(u64::MAX) + 1).to_string();
        let too_small = (i128::from(i64::MIN) - 1).to_string();
        let not = ["", "-", " 1", "1 ", "+1", "01", "00", "-0", "-01", "1.0", "0x1", "\n", "one"];
        for value in not.into_iter().chain([too_large.as_str(), &too_small]) {
            assert_eq!(add(Some(value.as_bytes()), 1, &U64), Err(Error::NotACounter), "{value:?}");
        }
        assert_eq!(add(Some(&[0xff]), 1, &U64), Err(Error::NotACounter));
    }
}
