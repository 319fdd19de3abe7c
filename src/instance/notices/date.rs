//! The dates of the metadata service: RFC 3339 in spot notices, `21 Jan 2019 09:00:43 GMT` in
//! scheduled events, the same with a weekday in the HTTP header `Date` (RFC 9110, 5.6.7).

use std::time::{Duration, SystemTime};

/// `None` when it is none of these, or before 1970.
pub fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let utc = text.strip_suffix("+00:00").unwrap_or(text);
    humantime::parse_rfc3339_weak(utc)
        .ok()
        .or_else(|| words(text))
}

fn words(text: &str) -> Option<SystemTime> {
    let date = text.split_once(", ").map_or(text, |(_weekday, date)| date);
    let mut words = date.split_ascii_whitespace();
    let mut word = || words.next();
    let day: u64 = number(word()?, 1..=2)?;
    let month = month(word()?)?;
    let year: u64 = number(word()?, 4..=4)?;
    let mut time = word()?.split(':');
    let hour = number(time.next()?, 2..=2)?;
    let minute = number(time.next()?, 2..=2)?;
    let second = number(time.next()?, 2..=2)?;
    let is_utc = matches!(word()?, "GMT" | "UTC");
    let rest = time.next().or_else(word);
    // A leap second is the one before it: the service's clock is smeared anyway.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let is_day = year >= 1970 && (1..=days(year, month)).contains(&day);
    if !(is_utc && rest.is_none() && is_time && is_day) {
        return None;
    }
    let months = (1..month).map(|month| days(year, month)).sum::<u64>();
    let whole = days_before(year) + months + day - 1;
    let seconds = ((whole * 24 + hour) * 60 + minute) * 60 + second.min(59);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Digits only: `parse` would take a sign.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let text = Some(text).filter(|text| plain && digits.contains(&text.len()));
    text?.parse().ok()
}

fn month(name: &str) -> Option<u64> {
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let place = names.iter().position(|known| *known == name)?;
    Some(place as u64 + 1)
}

/// Days from 1970 to the first of this year.
fn days_before(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

fn days(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As RFC 3339, for reading.
    fn read(text: &str) -> Option<String> {
        parse(text).map(|time| humantime::format_rfc3339_seconds(time).to_string())
    }

    #[test]
    fn every_form_that_the_service_writes_is_read() {
        let table = [
            ("2017-09-18T08:22:00Z", "2017-09-18T08:22:00Z"),
            ("2017-09-18T08:22:00.123Z", "2017-09-18T08:22:00Z"),
            ("2017-09-18T08:22:00+00:00", "2017-09-18T08:22:00Z"),
            ("21 Jan 2019 09:00:43 GMT", "2019-01-21T09:00:43Z"),
            (" 1 Mar 2024 00:00:00 GMT\n", "2024-03-01T00:00:00Z"),
            ("01 Mar 2024 00:00:00 UTC", "2024-03-01T00:00:00Z"),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"),
            ("29 Feb 2024 23:59:59 GMT", "2024-02-29T23:59:59Z"),
            ("29 Feb 2000 12:00:00 GMT", "2000-02-29T12:00:00Z"),
            ("31 Dec 2016 23:59:60 GMT", "2016-12-31T23:59:59Z"),
            ("1 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00Z"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        let table = [
            "",
            "soon",
            "29 Feb 2023 00:00:00 GMT",
            "29 Feb 2100 00:00:00 GMT",
            "31 Apr 2024 00:00:00 GMT",
            "0 Jan 2024 00:00:00 GMT",
            "1 Jan 1969 00:00:00 GMT",
            "1 Jan 2024 24:00:00 GMT",
            "1 Jan 2024 00:60:00 GMT",
            "1 Jan 2024 00:00:61 GMT",
            "1 Jan 2024 00:00 GMT",
            "1 Jan 2024 00:00:00:00 GMT",
            "1 Jan 2024 00:00:00",
            "1 Jan 2024 00:00:00 CET",
            "1 Jan 2024 00:00:00 GMT+1",
            "1 Jan 2024 00:00:00 GMT 7",
            "+1 Jan 2024 00:00:00 GMT",
            "1 Jänner 2024 00:00:00 GMT",
            "1 Jan 20245 00:00:00 GMT",
            "2017-09-18T08:22:00+02:00",
        ];
        for text in table {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        /// Against the other format's reader: every second from 1970 to 9999.
        #[test]
        fn both_formats_agree(seconds in 0..253_402_300_800_u64) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let rfc = humantime::format_rfc3339_seconds(time).to_string();
            let names = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month: usize = rfc[5..7].parse().unwrap();
            let month = &names[month * 3 - 3..month * 3];
            let text = format!("{} {month} {} {} GMT", &rfc[8..10], &rfc[..4], &rfc[11..19]);
            prop_assert_eq!(parse(&text), Some(time));
            prop_assert_eq!(parse(&rfc), Some(time));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,40}") {
            parse(&text);
        }
    }
}
