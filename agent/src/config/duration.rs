//! Durations as people write them: `500ms`, `30s`, `1m30s`, `2h`.

use std::time::Duration;

/// What a duration may look like, for messages.
pub const ALLOWED: &str = "a duration such as 500ms, 30s, 5m or 1h";

/// Reads a duration: whole numbers, each with a unit (`ms`, `s`, `m`, `h`), added up.
///
/// # Errors
/// What is allowed, if the text is no duration or too large for one.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is not {ALLOWED}");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let part = part(number, unit).ok_or_else(refuse)?;
        total = total.checked_add(part).ok_or_else(refuse)?;
        rest = tail;
    }
    if text.is_empty() { Err(refuse()) } else { Ok(total) }
}

fn part(number: u64, unit: &str) -> Option<Duration> {
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// The shortest way to write a duration, to the millisecond.
pub fn show(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (0, millis) => format!("{millis}ms"),
        (seconds, 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, 0) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, millis) => format!("{seconds}s{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        let known = [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("1m30s", 90_000)];
        for (text, millis) in known {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let wrong = ["", "30", "s", "-1s", "1.5s", "30 s", "1d", "s30", "30S", "99999999999999999999s"];
        for text in wrong.into_iter().chain(["18446744073709551615h", "18446744073709551615s1s"]) {
            assert_eq!(parse(text), Err(format!("`{text}` is not {ALLOWED}")));
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["0ms", "500ms", "1s", "90s", "1s500ms", "5m", "1h"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}
