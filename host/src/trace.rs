//! W3C trace context: which trace a request belongs to (<https://www.w3.org/TR/trace-context>).

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU64,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderValue, header::HeaderName};

/// Names the trace, and the span of whoever sends it.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems say to one another; means something beside a good `traceparent` only.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The flag that says that the caller may have recorded the trace: the one that version 00 knows.
const SAMPLED: u8 = 1;

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// A trace, and one span in it. None of the ids is all zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

impl Trace {
    /// Reads a `traceparent`. A version after 00 is read as 00 is, as far as that goes (section 3.2.4).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let mut parts = head.split(|byte| *byte == b'-');
        let mut next = || parts.next();
        let [version] = hex(next()?)?;
        let trace_id = hex(next()?)?;
        let span_id = hex(next()?)?;
        let [flags] = hex(next()?)?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let is_named = trace_id != [0; 16] && span_id != [0; 8];
        (is_whole && is_named).then_some(Self { trace_id, span_id, flags: flags & SAMPLED })
    }

    /// The trace that a request's headers name; none if they name none, or two.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            _ => None,
        }
    }

    /// Gives a request the host's own span: in the trace that it came with, or in a new one.
    pub fn enter(headers: &mut HeaderMap) -> Self {
        let trace = match Self::of(headers) {
            Some(caller) => Self { span_id: random().to_be_bytes(), ..caller },
            None => {
                headers.remove(TRACESTATE);
                Self::begin()
            }
        };
        // The text is printable, so that it is a value.
        if let Ok(value) = HeaderValue::from_bytes(&trace.text()) {
            headers.insert(TRACEPARENT, value);
        }
        trace
    }

    /// A new trace, which nobody records.
    fn begin() -> Self {
        let mut trace_id = [0; 16];
        for (half, id) in trace_id.chunks_exact_mut(8).zip([random(), random()]) {
            half.copy_from_slice(&id.to_be_bytes());
        }
        Self { trace_id, span_id: random().to_be_bytes(), flags: 0 }
    }

    /// The trace's id.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The span's id.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Its `traceparent`.
    fn text(&self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut put = |at: usize, bytes: &[u8]| {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            for (place, digit) in text.iter_mut().skip(at).zip(digits) {
                *place = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
            }
        };
        put(3, &self.trace_id);
        put(36, &self.span_id);
        put(53, &[self.flags]);
        text
    }
}

/// The trace's id, for a line of the log.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.write_str(text.get(3..35).and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default())
    }
}

/// As many bytes in lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair.map(digit);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < 16).then_some(bytes)
}

/// The value of a digit; more than 15 if it is none.
fn digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0xf0,
    }
}

/// A number that is not zero, never comes twice in one process (but for the one in place of zero), and
/// is unlikely to come in another. It tells requests apart; it keeps no secret.
pub fn random() -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("trace"));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    /// SplitMix64: a bijection, so that different numbers stay different.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP);
    let mut z = SEED.wrapping_add(n);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    NonZeroU64::new(z ^ (z >> 31)).unwrap_or(NonZeroU64::MIN).get()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_traceparent_is_read_and_written_again() {
        let trace = Trace::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.span_id(), [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(trace.text(), GOOD.as_bytes());
    }

    #[test]
    fn flags_that_version_00_does_not_know_are_cleared() {
        let trace = Trace::parse(GOOD.replace("-01", "-ff").as_bytes()).unwrap();
        assert_eq!(trace.text(), GOOD.as_bytes());
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for text in [GOOD.replacen("00", "01", 1), GOOD.replacen("00", "cc", 1) + "-what-ever"] {
            assert_eq!(Trace::parse(text.as_bytes()), Trace::parse(GOOD.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_bad_traceparent_is_none() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &(GOOD.replacen("00", "01", 1) + "x"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace("0af7", "0ag7"),
            &GOOD.replacen('-', "_", 1),
            &GOOD.replacen("-b7", "b-7", 1),
            &format!(" {GOOD}"),
        ] {
            assert_eq!(Trace::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_request_keeps_its_trace_and_gets_a_span_of_the_hosts() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(GOOD));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        let trace = Trace::enter(&mut headers);
        assert_eq!(trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(Trace::of(&headers), Some(trace));
        assert_ne!(headers[TRACEPARENT], GOOD);
        assert_eq!(headers[TRACESTATE], "a=1");
    }

    #[test]
    fn a_request_without_a_good_trace_begins_one_and_its_state_goes() {
        for values in [&["00-bad"][..], &[], &[GOOD, GOOD]] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
            for value in values {
                headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
            }
            let (first, second) = (Trace::enter(&mut headers.clone()), Trace::enter(&mut headers));
            assert_ne!(first.trace_id(), second.trace_id());
            assert_eq!(Trace::of(&headers), Some(second));
            assert!(headers.get(TRACESTATE).is_none());
        }
    }
}
