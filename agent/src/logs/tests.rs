//! The whole of it over in-memory writers, and a panic in a process of its own.

use std::process::Command;

use super::*;

/// Takes the lines of a subscriber as the agent has it, without the process-wide part.
fn logged(format: Format, log: impl FnOnce()) -> Vec<String> {
    let (queue, ledger) = (Arc::new(Queue::default()), Arc::new(Mutex::new(Ledger::default())));
    let subscriber = tracing_subscriber::registry()
        .with(EnvFilter::new("info"))
        .with(Repeats::new(ledger))
        .with(written::<_, _>(format, false, Arc::clone(&queue)));
    tracing::subscriber::with_default(subscriber, log);
    let lines = queue.take(Some(Instant::now())).lines;
    lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
}

#[test]
fn a_warning_in_a_loop_is_one_line_in_either_format() {
    for format in [Format::Text, Format::Json] {
        let lines = logged(format, || {
            for number in 0..1_000 {
                tracing::warn!(error = "EMFILE", "cannot accept for the {number}th time; raise the limit");
                tracing::debug!("nobody asked for this");
            }
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("EMFILE") && line.contains("0th time") && line.ends_with('\n'), "{line}");
    }
}

#[test]
fn json_lines_are_objects_with_the_fields_on_top() {
    let lines = logged(Format::Json, || tracing::warn!(subject = "master-2", "raised: it is lost"));
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((line["level"].as_str(), line["subject"].as_str()), (Some("WARN"), Some("master-2")));
    assert_eq!(line["message"], "raised: it is lost");
}

#[test]
fn what_was_not_said_is_said_later_and_not_counted_itself() {
    let unsaid = [(); 2].map(|()| repeats::Unsaid::example());
    let lines = logged(Format::Text, || unsaid.iter().for_each(repeats::say));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("again 3 times in 10 min"), "{lines:?}");
}

/// A standard error whose reader has stopped, until it is let go.
struct Stuck(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

impl Write for Stuck {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Ends when the test lets go of the other end.
        _ = self.0.recv();
        self.1.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stopped_holds_nobody_up_and_hears_what_it_missed() {
    let (queue, ledger) = (Arc::new(Queue::default()), Arc::new(Mutex::new(Ledger::default())));
    let (reads_again, stopped) = mpsc::channel();
    let read = Arc::new(Mutex::new(Vec::new()));
    let writer = Writer { queue: Arc::clone(&queue), ledger, out: Stuck(stopped, Arc::clone(&read)) };
    let subscriber = tracing_subscriber::registry().with(written::<_, _>(Format::Text, false, Arc::clone(&queue)));
    let dispatch = tracing::Dispatch::new(subscriber);
    let own = dispatch.clone();
    thread::spawn(move || tracing::dispatcher::with_default(&own, || writer.run()));
    let lines = 10_000;
    tracing::dispatcher::with_default(&dispatch, || {
        for number in 0..lines {
            tracing::info!(number, "a line that nobody reads, of about a hundred bytes in all");
        }
    });
    assert_eq!(read.lock().unwrap().len(), 0, "nothing was read, and here we are");
    drop(reads_again);
    let read = loop {
        let read = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        if read.contains("log lines were lost") && read.ends_with('\n') {
            break read;
        }
        thread::yield_now();
    };
    let arrived = read.lines().filter(|line| line.contains("nobody reads")).count();
    assert!(arrived > 100 && arrived < lines, "{arrived}");
    assert!(read.contains(&format!("lines={}", lines - arrived)), "{}", read.lines().last().unwrap_or_default());
}

/// Broken in every way that a pipe or terminal can be.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_reader_that_left_ends_nothing() {
    let queue = Arc::new(Queue::default());
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut writer = Writer { queue: Arc::clone(&queue), ledger, out: Gone };
    for line in ["one\n", "two\n"] {
        (&*queue).write_all(line.as_bytes()).unwrap();
        writer.turn();
    }
    queue.flush(Duration::MAX);
}

/// Set in the process that is to panic.
const PANICS: &str = "MTUSCOPE_TEST_PANICS";

/// Run as a test of its own it does nothing; run by the next one it panics in a thread as the agent's threads do.
#[test]
fn panics_if_told_to() {
    if std::env::var_os(PANICS).is_none() {
        return;
    }
    let logs = Logs::start(Format::Json, Colour::Never).unwrap();
    logs.end_on_panic();
    let thread = thread::Builder::new().name("http".into()).spawn(|| panic!("a table was empty")).unwrap();
    thread.join().unwrap_err();
}

#[test]
fn a_panic_in_any_thread_is_logged_and_ends_the_process_with_status_two() {
    let program = std::env::current_exe().unwrap();
    let test = ["--exact", "logs::tests::panics_if_told_to", "--nocapture"];
    let output = Command::new(program).args(test).env(PANICS, "1").env_remove("MTUSCOPE_LOG").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{log}");
    let line = log.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no line in {log}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((line["level"].as_str(), line["thread"].as_str()), (Some("ERROR"), Some("http")));
    assert_eq!(line["why"], "a table was empty");
    assert!(line["at"].as_str().is_some_and(|at| at.contains("logs/tests.rs:")), "{line}");
}
