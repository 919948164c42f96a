//! What the host reads from a certificate: the names it is for, and how long it is valid.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The DNS names of a certificate, in lower case; a wildcard is `*.` and a name.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    Ok(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// When a certificate begins and ends to be valid. None if it does not say so in the form of RFC 5280,
/// section 4.1.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const VERSION: u8 = 0xa0;
    let (mut certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut fields, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, rest)) = expect(VERSION, fields) {
        fields = rest;
    }
    // The serial number, the signature's algorithm, and the issuer come before.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = expect(tag, fields)?;
    }
    (certificate, _) = expect(SEQUENCE, fields)?;
    let (begin, rest) = time(certificate)?;
    let (end, _) = time(rest)?;
    Some((begin, end))
}

/// The content of the value that stands first, if it has that tag; and what follows (DER, X.690).
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = value(bytes)?;
    (found == tag).then_some((content, rest))
}

fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, bytes) = bytes.split_first()?;
    let (first, mut bytes) = bytes.split_first()?;
    let mut length = usize::from(*first);
    if *first >= 0x80 {
        let (digits, rest) = bytes.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        bytes = rest;
    }
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// A time, of which there are two forms: `YYMMDDHHMMSSZ` for 1950 to 2049, and with a four-digit year.
fn time(bytes: &[u8]) -> Option<(SystemTime, &[u8])> {
    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;
    let (tag, text, rest) = value(bytes)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, text) = match tag {
        UTC => {
            let (year, text) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text)
        }
        GENERALIZED => {
            let (year, text) = text.split_at_checked(4)?;
            (number(year)?, text)
        }
        _ => return None,
    };
    if text.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut parts = text.as_bytes().chunks(2).filter_map(|two| std::str::from_utf8(two).ok());
    let mut next = || parts.next().and_then(number);
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    let seconds = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second;
    Some((SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?, rest))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; the first one for those before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the day that some have more is their last.
    let (year, month) =
        if month < 3 { (year.checked_sub(1)?, month + 9) } else { (year, month - 3) };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    let of_months = (153 * month + 2) / 5;
    const TO_1970: u64 = 719_469;
    Some((of_years + of_months + day).saturating_sub(TO_1970))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for ((year, month, day), expected) in [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2024, 12, 31), 20_088),
            ((1950, 1, 1), 0),
        ] {
            assert_eq!(days(year, month, day), Some(expected), "{year}-{month}-{day}");
        }
        assert_eq!(days(2024, 13, 1), None);
    }

    #[test]
    fn a_time_is_read_in_both_forms() {
        let seconds = |bytes: &[u8]| {
            let (time, rest) = time(bytes)?;
            assert!(rest.is_empty());
            Some(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
        };
        assert_eq!(seconds(b"\x17\x0d700101000001Z"), Some(1));
        assert_eq!(seconds(b"\x17\x0d491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(b"\x18\x0f20500101000000Z"), Some(2_524_608_000));
        assert_eq!(seconds(b"\x18\x0f20500101000000+"), None);
        assert_eq!(seconds(b"\x17\x0d7001x1000001Z"), None);
        assert_eq!(seconds(b"\x17\x0d7001"), None);
    }

    #[test]
    fn what_is_no_certificate_has_neither_names_nor_times() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x30\x01\x00"] {
            assert!(validity(&CertificateDer::from(bytes)).is_none());
            assert!(names(&CertificateDer::from(bytes)).is_err());
        }
    }

    #[test]
    fn a_certificate_says_its_names_and_times() {
        let mut params =
            rcgen::CertificateParams::new(["Shop.example".into(), "*.shop.example".into()])
                .unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let certificate = certificate.der();
        assert_eq!(names(certificate).unwrap(), ["shop.example", "*.shop.example"]);
        let (begin, end) = validity(certificate).unwrap();
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!((begin, end), (after(1_577_836_800), after(2_558_995_200)));
    }
}
