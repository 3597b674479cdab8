//! What to probe: arguments and lists, read and checked before a packet is sent. All mistakes are told at once, those
//! of a list with its line.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use probes::units::Family;

use crate::config;
use crate::outcome::Failure;

/// Largest list, in bytes.
pub(super) const MOST_BYTES: u64 = 16 << 20;

/// Most targets: as many as one run has sequence numbers for.
const MOST_TARGETS: usize = 65_536;

/// Mistakes that are told; a file that is no list has nothing else.
const MOST_MISTAKES: usize = 20;

/// The name of standard input, as an argument and as a file.
const STDIN: &str = "-";

/// Longest host name, and longest part of one (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// What to probe, each once, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    /// Addresses and names as given.
    pub(super) all: Vec<Target>,
    /// The family that names are looked up for; both where none is asked for.
    pub(super) family: Option<Family>,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A literal address.
    Address(String, IpAddr),
    /// A name to be looked up.
    Name(String),
}

impl Target {
    /// As it was given.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Address(text, _) | Self::Name(text) => text,
        }
    }
}

/// Where a target was found, for messages.
enum Place<'p> {
    Argument,
    Line(&'p str, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => f.write_str("argument"),
            Self::Line(list, number) => write!(f, "{list}:{number}"),
        }
    }
}

impl Targets {
    /// Reads arguments and then lists. `stdin` reads standard input, which is read once.
    pub(super) fn of(
        arguments: &[String],
        files: &[PathBuf],
        family: Option<Family>,
        stdin: impl FnOnce(&mut String) -> io::Result<usize>,
    ) -> Result<Self, Failure> {
        let mut reader = Reader { targets: Self { all: Vec::new(), family }, ..Reader::default() };
        let (dashes, named): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|argument| *argument == STDIN);
        let (piped, files): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(|file| *file == Path::new(STDIN));
        named.into_iter().for_each(|argument| reader.take(argument, &Place::Argument));
        for file in files {
            let name = file.display().to_string();
            let read = |text: &mut String| File::open(file)?.take(MOST_BYTES + 1).read_to_string(text);
            reader.list(&name, &text(&name, read)?);
        }
        if !(dashes.is_empty() && piped.is_empty()) {
            reader.list("standard input", &text("standard input", stdin)?);
        }
        reader.finish()
    }
}

fn text(name: &str, read: impl FnOnce(&mut String) -> io::Result<usize>) -> Result<String, Failure> {
    let mut text = String::new();
    match read(&mut text) {
        Err(error) => Err(Failure(format!("cannot read the targets in {name}: {error}"))),
        Ok(bytes) if bytes as u64 > MOST_BYTES => {
            Err(Failure(format!("{name} is no list of targets: it is larger than {} MiB", MOST_BYTES >> 20)))
        }
        Ok(_) => Ok(text),
    }
}

#[derive(Default)]
struct Reader {
    targets: Targets,
    seen: BTreeSet<String>,
    mistakes: Vec<String>,
}

impl Reader {
    fn list(&mut self, name: &str, text: &str) {
        for (line, number) in text.lines().zip(1..) {
            let target = line.split('#').next().unwrap_or_default().trim();
            if !target.is_empty() {
                self.take(target, &Place::Line(name, number));
            }
        }
    }

    fn take(&mut self, text: &str, place: &Place<'_>) {
        match parse(text, self.targets.family) {
            Ok(target) if self.seen.insert(text.to_owned()) => self.targets.all.push(target),
            Ok(_) => {}
            Err(why) => self.mistakes.push(format!("{place}: `{}`: {why}", short(text))),
        }
    }

    fn finish(self) -> Result<Targets, Failure> {
        let Self { targets, mistakes, .. } = self;
        if !mistakes.is_empty() {
            let more = mistakes.len().saturating_sub(MOST_MISTAKES);
            let more = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
            let told = mistakes[..mistakes.len().min(MOST_MISTAKES)].join("\n  ");
            return Err(Failure(format!("cannot probe this:\n  {told}{more}")));
        }
        match targets.all.len() {
            0 => Err(Failure("there is nothing to probe: the list is empty".into())),
            1..=MOST_TARGETS => Ok(targets),
            many => Err(Failure(format!("{many} targets are too many for one run: {MOST_TARGETS} at most"))),
        }
    }
}

/// As much of a mistake as a line holds, and nothing that moves the cursor.
fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

fn parse(text: &str, family: Option<Family>) -> Result<Target, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        if let Some(why) = config::unusable(address) {
            return Err(why.into());
        }
        return match family.filter(|family| *family != Family::of(address)) {
            Some(family) => Err(format!("is no {family} address, and only that family is asked for")),
            None => Ok(Target::Address(text.to_owned(), address)),
        };
    }
    name(text).map(|()| Target::Name(text.to_owned()))
}

/// What is no host name is most often an address with something to it, and the message says what.
fn name(text: &str) -> Result<(), String> {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let part = |end: char| text.split(end).next().unwrap_or_default();
    if is_address(part('/')) {
        return Err("is a network: name the addresses, one by one".into());
    }
    if is_address(part('%')) {
        return Err("is an address on one link; give a global one, the path over one link is its own MTU".into());
    }
    if text.starts_with('[') || (part(':') != text && !text.contains("::")) {
        return Err("is more than an address or a name: give it without brackets, port and scheme".into());
    }
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err("is neither an IPv4 address such as 10.0.0.12 nor a name".into());
    }
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        !label.is_empty() && label.len() <= LONGEST_LABEL && plain && !label.starts_with('-')
    };
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.len() > LONGEST_NAME || !bare.split('.').all(label) {
        return Err("is neither an IP address nor a host name (letters, digits, - and .)".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(arguments: &[&str], stdin: &str) -> Result<Vec<String>, String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let targets = Targets::of(&arguments, &[], None, |text| {
            text.push_str(stdin);
            Ok(stdin.len())
        });
        let texts = |targets: Targets| targets.all.iter().map(|target| target.text().to_owned()).collect();
        targets.map(texts).map_err(|Failure(why)| why)
    }

    #[test]
    fn a_list_has_comments_blank_lines_and_each_target_once() {
        let list = "# nodes\n10.0.0.12\n\n  db.example.org # the database\r\n10.0.0.12\nfd00::2\n";
        assert_eq!(
            read(&["localhost", "-", "-"], list).unwrap(),
            ["localhost", "10.0.0.12", "db.example.org", "fd00::2"]
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let list = "10.0.0.12\n10.0.0.300\nok.example\nhttp://a\n0.0.0.0\n";
        let why = read(&["fe80::1%eth0", "-"], list).unwrap_err();
        let places: Vec<_> = why.lines().skip(1).map(|line| line.trim().split(": ").next().unwrap()).collect();
        assert_eq!(places, ["argument", "standard input:2", "standard input:4", "standard input:5"], "{why}");
    }

    #[test]
    fn what_is_no_host_says_what_it_is() {
        for (wrong, said) in [
            ("10.0.0.0/24", "a network"),
            ("fe80::1%eth0", "global"),
            ("fe80::1", "link-local"),
            ("224.0.0.1", "multicast"),
            ("[fd00::2]", "without brackets"),
            ("10.0.0.12:9747", "port"),
            ("https://example.org", "scheme"),
            ("10.0.0", "neither an IPv4 address"),
            ("10.0.0.300", "neither an IPv4 address"),
            ("a b", "neither an IP address"),
            ("-x", "neither an IP address"),
            ("größe.example", "neither an IP address"),
            ("a..b", "neither an IP address"),
            ("::g", "neither an IP address"),
        ] {
            let why = parse(wrong, None).unwrap_err();
            assert!(why.contains(said), "{wrong}: {why}");
        }
        for name in ["localhost", "db-1.example.org", "db-1.example.org.", "_srv.example", "1and1.example", "3com"] {
            assert_eq!(parse(name, None), Ok(Target::Name(name.into())));
        }
        let long = "a".repeat(64);
        assert!(parse(&long, None).is_err() && parse(&long[1..], None).is_ok());
    }

    #[test]
    fn an_address_of_the_other_family_is_a_mistake_where_one_is_asked_for() {
        assert!(parse("fd00::2", Some(Family::Ipv4)).unwrap_err().contains("ipv4"));
        assert!(parse("10.0.0.12", Some(Family::Ipv6)).is_err() && parse("::1", Some(Family::Ipv6)).is_ok());
    }

    #[test]
    fn nothing_and_far_too_much_are_no_lists() {
        assert!(read(&["-"], "# nobody\n").unwrap_err().contains("nothing to probe"));
        let many: String = (0..=MOST_TARGETS).map(|number| format!("h{number}\n")).collect();
        assert!(read(&["-"], &many).unwrap_err().contains("too many"));
        let wrong = "?\n".repeat(100);
        let why = read(&["-"], &wrong).unwrap_err();
        assert!(why.lines().count() == 2 + MOST_MISTAKES && why.ends_with("and 80 more"), "{why}");
    }

    #[test]
    fn a_file_is_named_when_it_cannot_be_read() {
        let nothing = |_: &mut String| Ok(0);
        let Err(Failure(why)) = Targets::of(&[], &["/no/such/list".into()], None, nothing) else { panic!("no error") };
        assert!(why.starts_with("cannot read the targets in /no/such/list: No such file"), "{why}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "10.0.0.12\n?").unwrap();
        let path = file.path().to_owned();
        let Err(Failure(why)) = Targets::of(&[], std::slice::from_ref(&path), None, nothing) else {
            panic!("no error")
        };
        assert!(why.contains(&format!("{}:2: `?`", path.display())), "{why}");
    }
}
