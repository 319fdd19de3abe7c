//! Points in time as the metadata service writes them: RFC 3339 for interruptions and credentials,
//! `21 Jan 2019 09:00:43 GMT` for scheduled events, and the `Date` header of HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// `2017-09-18T08:22:00Z`. These formats have whole seconds; a part of one counts as one, so that
/// nothing happens earlier than a test asked for.
pub fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(whole(at)).to_string()
}

/// `21 Jan 2019 09:00:43 GMT`.
pub fn event_date(at: SystemTime) -> String {
    let (day, month, year, time) = parts(whole(at));
    format!("{day} {month} {year} {time} GMT")
}

/// `Mon, 21 Jan 2019 09:00:43 GMT`.
pub fn http_date(at: SystemTime) -> String {
    let seconds = seconds(at);
    let at = UNIX_EPOCH + Duration::from_secs(seconds);
    let weekday = WEEKDAYS[(seconds / 86_400 % 7) as usize];
    let (day, month, year, time) = parts(at);
    format!("{weekday}, {day:02} {month} {year} {time} GMT")
}

fn whole(at: SystemTime) -> SystemTime {
    let nearly = Duration::from_nanos(999_999_999);
    UNIX_EPOCH + Duration::from_secs(seconds(at + nearly))
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn parts(at: SystemTime) -> (u32, &'static str, String, String) {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    let (date, time) = text.split_once('T').expect("RFC 3339");
    let numbers: Vec<u32> = date.split('-').filter_map(|n| n.parse().ok()).collect();
    let month = MONTHS[numbers[1] as usize - 1];
    let year = numbers[0].to_string();
    (
        numbers[2],
        month,
        year,
        time.trim_end_matches('Z').to_owned(),
    )
}

#[test]
fn dates_are_written_as_the_service_writes_them() {
    // 21 January 2019 was a Monday.
    let at = UNIX_EPOCH + Duration::from_millis(1_548_061_242_001);
    assert_eq!(rfc3339(at), "2019-01-21T09:00:43Z");
    assert_eq!(event_date(at), "21 Jan 2019 09:00:43 GMT");
    assert_eq!(http_date(at), "Mon, 21 Jan 2019 09:00:42 GMT");
}
