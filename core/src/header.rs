//! Header fields: looking them up, the dates in them, and what may be put into one.

use alloc::string::String;

/// The first line of a field, by its name in lower case.
#[must_use]
pub fn first<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// An HTTP date in any of its three forms (RFC 9110 section 5.6.7), in Unix milliseconds.
///
/// A two-digit year is the latest that is at most 50 years ahead of `wall` (Unix milliseconds).
#[must_use]
pub fn date(text: &str, wall: i64) -> Option<i64> {
    let mut words = text.split_ascii_whitespace();
    let (weekday, second) = (words.next()?, words.next()?);
    let (year, month, day, time) = if !weekday.ends_with(',') {
        // Sun Nov  6 08:49:37 1994
        let (day, time, year) = (words.next()?, words.next()?, words.next()?);
        (digits(year, 4)?, month(second)?, day.parse().ok()?, time_of_day(time)?)
    } else if let Some((day, rest)) = second.split_once('-') {
        // Sunday, 06-Nov-94 08:49:37 GMT
        let (month_name, year) = rest.split_once('-')?;
        let (month, day, time) = (month(month_name)?, digits(day, 2)?, time_of_day(words.next()?)?);
        gmt(words.next()?)?;
        (full_year(digits(year, 2)?, (month, day, time), wall), month, day, time)
    } else {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let (month_name, year, time) = (words.next()?, words.next()?, words.next()?);
        gmt(words.next()?)?;
        (digits(year, 4)?, month(month_name)?, digits(second, 2)?, time_of_day(time)?)
    };
    if words.next().is_some() {
        return None;
    }
    unix_millis(year, month, day, time)
}

/// `Retry-After` in milliseconds (RFC 9110 section 10.2.3), a date counted from the answer's own `Date`
/// and, without one, from `wall`; negative is 0, garbage is none.
#[must_use]
pub fn retry_after(headers: &[(String, String)], wall: i64) -> Option<i64> {
    let text = first(headers, "retry-after")?;
    if let Some(pause) = seconds(text) {
        return Some(pause);
    }
    if text.strip_prefix('-').and_then(seconds).is_some() {
        return Some(0);
    }
    let then = date(text, wall)?;
    let base = first(headers, "date").and_then(|text| date(text, wall)).unwrap_or(wall);
    Some(then.saturating_sub(base).max(0))
}

/// `Age` in milliseconds (RFC 9111 section 5.1); garbage is 0.
#[must_use]
pub fn age(headers: &[(String, String)]) -> i64 {
    first(headers, "age").and_then(|text| text.split(',').next()).and_then(|text| seconds(text.trim())).unwrap_or(0)
}

pub(crate) fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `1*DIGIT` seconds in milliseconds; more than fits is as much as fits.
fn seconds(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(i64::MAX).saturating_mul(1000))
}

fn gmt(zone: &str) -> Option<()> {
    (zone == "GMT").then_some(())
}

/// A number of exactly so many digits.
pub(crate) fn digits(text: &str, count: usize) -> Option<i64> {
    if text.len() != count || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn month(name: &str) -> Option<i64> {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES.iter().zip(1..).find(|(known, _)| **known == name).map(|(_, number)| number)
}

/// `hh:mm:ss` as milliseconds of a day, a leap second included.
pub(crate) fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000)
}

/// A date of the Gregorian calendar and a time of day in milliseconds, as Unix milliseconds.
pub(crate) fn unix_millis(year: i64, month: i64, day: i64, time: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days.saturating_mul(DAY).saturating_add(time))
}

/// The latest year with these last two digits whose date is at most 50 years ahead of `wall`.
fn full_year(two_digits: i64, (month, day, time): (i64, i64, i64), wall: i64) -> i64 {
    let (wall_year, wall_month, wall_day) = civil(wall.div_euclid(DAY));
    let limit = (wall_year + 50, wall_month, wall_day, wall.rem_euclid(DAY));
    let latest = limit.0.div_euclid(100) * 100 + two_digits;
    if (latest, month, day, time) > limit { latest - 100 } else { latest }
}

/// The year, month and day of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

const DAY: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::{age, civil, date, first, retry_after, unix_millis};
    use alloc::string::String;
    use alloc::vec::Vec;

    const WALL: i64 = 1_700_000_000_000;
    const EXAMPLE: i64 = 784_111_777_000;

    fn lines(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect()
    }

    #[test]
    fn the_first_line_of_a_field_is_found_whatever_its_case() {
        let headers = lines(&[("Date", " a "), ("date", "b")]);
        assert_eq!(first(&headers, "date"), Some("a"));
        assert_eq!(first(&headers, "age"), None);
    }

    #[test]
    fn all_three_forms_of_a_date_are_read_std_140() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT", WALL), Some(EXAMPLE));
        assert_eq!(date("Sunday, 06-Nov-94 08:49:37 GMT", WALL), Some(EXAMPLE));
        assert_eq!(date("Sun Nov  6 08:49:37 1994", WALL), Some(EXAMPLE));
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT", WALL), Some(0));
        assert_eq!(date("Thu, 29 Feb 2024 00:00:00 GMT", WALL), Some(1_709_164_800_000));
        assert_eq!(date("Sat, 31 Dec 2016 23:59:60 GMT", WALL), Some(1_483_228_800_000));
    }

    #[test]
    fn a_two_digit_year_more_than_fifty_years_ahead_is_past_std_140() {
        // The wall clock shows 2023-11-14T22:13:20Z.
        let year = |text: &str| civil(date(text, WALL).unwrap() / super::DAY).0;
        assert_eq!(year("Tuesday, 14-Nov-73 22:13:20 GMT"), 2073);
        assert_eq!(year("Tuesday, 14-Nov-73 22:13:21 GMT"), 1973);
        assert_eq!(year("Tuesday, 14-Nov-99 22:13:20 GMT"), 1999);
        let late = unix_millis(2099, 12, 31, 0).unwrap();
        assert_eq!(date("Friday, 01-Jan-01 00:00:00 GMT", late), unix_millis(2101, 1, 1, 0));
    }

    #[test]
    fn what_is_no_date_is_none_std_140() {
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 99 08:49:37 1994",
            "Sun Nov -6 08:49:37 1994",
            "2026-01-01T00:00:00Z",
        ] {
            assert_eq!(date(text, WALL), None, "{text}");
        }
    }

    #[test]
    fn no_wall_clock_makes_a_date_overflow() {
        for wall in [i64::MIN, -1, 0, i64::MAX] {
            assert!(date("Sunday, 06-Nov-94 08:49:37 GMT", wall).is_some());
            assert!(retry_after(&lines(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), wall).is_some());
        }
    }

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for days in (-800_000..800_000).step_by(97) {
            let (year, month, day) = civil(days);
            assert_eq!(unix_millis(year, month, day, 0), Some(days * super::DAY));
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_std_141() {
        let pause = |fields: &[(&str, &str)]| retry_after(&lines(fields), WALL);
        assert_eq!(pause(&[("Retry-After", "120")]), Some(120_000));
        assert_eq!(pause(&[("Retry-After", "0")]), Some(0));
        assert_eq!(pause(&[("Retry-After", "-5")]), Some(0));
        assert_eq!(pause(&[("Retry-After", "99999999999999999999999")]), Some(i64::MAX));
        for garbage in ["", "soon", "1.5", "1e3", "+1", "- 1", "--1", "10 s"] {
            assert_eq!(pause(&[("Retry-After", garbage)]), None, "{garbage}");
        }
        assert_eq!(pause(&[]), None);
    }

    #[test]
    fn a_retry_after_date_counts_from_the_answers_own_date_std_141() {
        let then = ("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT");
        assert_eq!(retry_after(&lines(&[then, ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]), WALL), Some(60_000));
        assert_eq!(retry_after(&lines(&[then, ("Date", "Sun, 06 Nov 1994 08:59:37 GMT")]), WALL), Some(0));
        assert_eq!(retry_after(&lines(&[then]), EXAMPLE), Some(60_000));
        assert_eq!(retry_after(&lines(&[then, ("Date", "broken")]), EXAMPLE), Some(60_000));
    }

    #[test]
    fn age_is_a_plain_number_and_garbage_is_none_std_142() {
        let of = |text: &str| age(&lines(&[("Age", text)]));
        assert_eq!(of("17"), 17_000);
        assert_eq!(of("17, 18"), 17_000);
        assert_eq!(of("99999999999999999999"), i64::MAX);
        for garbage in ["", "-1", "1.5", "x", ", 5"] {
            assert_eq!(of(garbage), 0, "{garbage}");
        }
        assert_eq!(age(&[]), 0);
    }
}
