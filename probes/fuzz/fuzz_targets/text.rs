//! Text of any bytes in place of what stands below `/proc`. A zero byte parts one file from the next.
//!
//! - What is read stands in the text, and is the same each time.
//! - What cannot be read is told in a few words, whatever the text's length, and never read as zero.
#![no_main]

use harness::bounded;
use libfuzzer_sys::fuzz_target;
use probes::kernel::proc;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (first, second) = text.split_once('\0').unwrap_or((&text, ""));
    bounded(bytes.len(), 128, || {
        counters(first, second);
        number(first);
        modules(first, second);
    });
});

fn counters(snmp: &str, netstat: &str) {
    let read = proc::counters(snmp, netstat);
    assert_eq!(read, proc::counters(snmp, netstat));
    match read {
        Ok(counters) => {
            for (name, value) in &counters {
                let value = value.to_string();
                assert!(snmp.contains(&value) || netstat.contains(&value), "{name} is {value} in neither file");
            }
            let errors = proc::tcp_checksum_errors(snmp);
            assert!(errors.is_none() || counters.contains_key("tcp_checksum_errors"));
        }
        Err(unread) => short(&unread.to_string()),
    }
}

fn number(text: &str) {
    match (proc::number(text), proc::flag(text)) {
        (Ok(number), Ok(flag)) => {
            assert!(text.contains(&number.unsigned_abs().to_string()), "{number}");
            assert_eq!(flag, i64::from(number != 0));
        }
        (Err(unread), Err(_)) => short(&unread.to_string()),
        (number, flag) => panic!("{number:?} and yet {flag:?}"),
    }
}

fn modules(text: &str, name: &str) {
    assert!(!proc::has_module(text, name) || (text.contains(name) && !name.is_empty()));
}

/// Forty characters of a line and of a section's name are quoted, each of which may be shown as an escape.
fn short(message: &str) {
    assert!(message.len() < 1000, "{} bytes", message.len());
}
