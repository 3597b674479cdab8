//! The shipped binary and where its words go: readers that leave, full disks, closed streams, terminals and colour.
#![allow(clippy::unwrap_used, reason = "what fails in a helper here fails its test")]

mod shipped;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::pty::{Winsize, openpty};
use shipped::{ended, finished, mtuscope};

/// Everything that is printed without looking at the machine.
const PRINTS: &[&[&str]] = &[
    &["--help"],
    &["-h"],
    &["--version"],
    &["help", "report"],
    &["report", "--help"],
    &["checks"],
    &["checks", "--output", "json"],
    &["checks", "path-black-hole"],
    &["completions", "zsh"],
    &["man"],
];

#[test]
fn results_go_to_standard_output_and_nothing_else_does() {
    for arguments in PRINTS {
        let (status, out, err) = finished(arguments);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(out.ends_with('\n') && !out.contains('\u{1b}'), "{arguments:?}: {out}");
    }
    for wrong in [&["--nonsense"][..], &[], &["checks", "nonsense"], &["completions", "x"], &["probe"]] {
        let (status, out, err) = finished(wrong);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{wrong:?}");
        assert!(!err.is_empty() && !err.contains("panicked"), "{wrong:?}: {err}");
    }
}

#[test]
fn a_reader_that_has_left_is_no_error() {
    for arguments in PRINTS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (status, _, err) = ended(mtuscope(arguments).stdout(writer));
        assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_status_two_and_says_so() {
    for arguments in PRINTS {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (status, _, err) = ended(mtuscope(arguments).stdout(full));
        assert_eq!(status, Some(2), "{arguments:?}");
        assert!(err.starts_with("mtuscope: cannot write to standard output: No space left"), "{arguments:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

/// Runs `mtuscope` by a shell that first does something to the streams.
fn redirected(redirection: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let binary = mtuscope(&[]).get_program().to_owned();
    let script = format!("exec \"$0\" \"$@\" {redirection}");
    ended(Command::new("sh").args(["-c", &script]).arg(binary).args(arguments).stdin(Stdio::null()))
}

#[test]
fn a_closed_stream_leaves_nobody_to_tell() {
    for arguments in PRINTS {
        assert_eq!(redirected(">&-", arguments), (Some(0), String::new(), String::new()), "{arguments:?}");
    }
    for wrong in [&["--nonsense"][..], &["checks", "nonsense"]] {
        assert_eq!(redirected("2>&-", wrong), (Some(2), String::new(), String::new()), "{wrong:?}");
        let full = redirected("2>/dev/full", wrong);
        assert_eq!(full, (Some(2), String::new(), String::new()), "{wrong:?}");
    }
}

/// What a person sees who runs the command on a terminal of so many columns.
fn on_a_terminal(command: &mut Command, columns: u16) -> String {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let ends = openpty(Some(&size), None).expect("a pseudo-terminal can be made");
    let end = |slave: &OwnedFd| Stdio::from(slave.as_fd().try_clone_to_owned().unwrap());
    let mut child = command.stdout(end(&ends.slave)).stderr(end(&ends.slave)).spawn().expect("the binary starts");
    // The command holds copies; the terminal ends when the last of them is closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    drop(ends.slave);
    let mut screen = Vec::new();
    // The end of a terminal whose last writer is gone reads as an error (EIO).
    _ = File::from(ends.master).read_to_end(&mut screen);
    child.wait().unwrap();
    String::from_utf8(screen).unwrap().replace("\r\n", "\n")
}

#[test]
fn colour_is_for_terminals_and_can_be_refused() {
    let coloured = |text: &str| text.contains('\u{1b}');
    let screen = |arguments: &[&str], no_color: Option<&str>| {
        let mut command = mtuscope(arguments);
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        on_a_terminal(&mut command, 100)
    };
    for arguments in [&["checks"][..], &["checks", "link-down"], &["--help"], &["report", "--nonsense"]] {
        assert!(coloured(&screen(arguments, None)), "{arguments:?}");
        assert!(coloured(&screen(arguments, Some(""))), "an empty NO_COLOR refuses nothing: {arguments:?}");
        assert!(!coloured(&screen(arguments, Some("1"))), "{arguments:?}");
        let with = |flag| [&[flag][..], arguments].concat();
        assert!(coloured(&screen(&with("--color=always"), Some("1"))), "the flag outweighs it: {arguments:?}");
        assert!(!coloured(&screen(&with("--color=never"), None)), "{arguments:?}");
        let (_, out, err) = finished(&with("--color=always"));
        assert!(coloured(&out) || coloured(&err), "always means into a pipe too: {arguments:?}");
    }
}

#[test]
fn text_fits_the_terminal() {
    for columns in [50, 80, 120] {
        let screen = on_a_terminal(&mut mtuscope(&["checks", "path-black-hole", "--color", "never"]), columns);
        let sentences = screen.lines().skip(1).take_while(|line| !line.is_empty());
        let widest = sentences.map(|line| line.chars().count()).max().unwrap();
        let room = usize::from(columns);
        assert!(widest <= room && widest > room * 3 / 4, "{columns} columns, {widest} used:\n{screen}");
    }
    let told = on_a_terminal(mtuscope(&["checks", "path-black-hole"]).env("COLUMNS", "50"), 120);
    let widest = told.lines().skip(1).take_while(|line| !line.is_empty()).map(|line| line.chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 50), "COLUMNS outweighs the terminal:\n{told}");
}
