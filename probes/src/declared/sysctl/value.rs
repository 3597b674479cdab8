//! Whether a value that was written is the one that the kernel shows.

/// Whether they are alike, as the kernel reads what is written: numbers of any base, separated by blanks and tabs. Of what
/// is written, only as much counts as the kernel shows: behind its number it leaves the rest of the line aside
/// (`1 # for pods`); and a setting of several numbers keeps those that are not given.
pub fn alike(kernel: &str, written: &str) -> bool {
    let (mut has, mut wants) = (kernel.split_whitespace().peekable(), written.split_whitespace().peekable());
    if has.peek().is_none() || wants.peek().is_none() {
        return has.peek().is_none() && wants.peek().is_none();
    }
    has.zip(wants).all(|(has, wants)| has == wants || number(has).is_some_and(|has| number(wants) == Some(has)))
}

/// A number as the kernel reads it: hexadecimal after `0x`, octal after `0`.
pub fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => unsigned(hexadecimal, 16)?,
        None if digits.len() > 1 && digits.starts_with('0') => unsigned(digits, 8)?,
        None => unsigned(digits, 10)?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn unsigned(digits: &str, base: u32) -> Option<i64> {
    let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    plain.then(|| i64::from_str_radix(digits, base).ok())?
}

/// Whether a value is on: its first number is not 0. `None` where it is no number.
pub fn is_on(value: &str) -> Option<bool> {
    value.split_whitespace().next().and_then(number).map(|value| value != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_base_are_no_difference() {
        assert!(alike("4096\t131072\t6291456\n", "4096  131072 6291456"));
        assert!(alike("16\n", "0x10") && alike("8\n", "010") && alike("0\n", "0"));
        assert!(alike("1\n", "1 # for pods"), "the kernel stops at the number");
        assert!(alike("4096\t131072\t6291456", "4096"), "the others stay as they are");
        assert!(alike("cubic\n", "cubic") && alike("-1\n", "-1") && alike("\n", " "));
    }

    #[test]
    fn another_value_is_one() {
        assert!(!alike("0\n", "1") && !alike("4096\t131072\t6291456", "4096 131072 1") && !alike("cubic", "bbr"));
        assert!(!alike("0\n", "") && !alike("", "0") && !alike("1\n", "yes") && !alike("1", "99999999999999999999"));
    }

    #[test]
    fn on_is_any_number_but_0() {
        assert_eq!(
            ["0", "1\n", "2", "0x0", "yes", ""].map(is_on),
            [Some(false), Some(true), Some(true), Some(false), None, None]
        );
    }
}
