//! The shipped binary and how it is used: help, the environment, completions, the manual.
#![allow(clippy::unwrap_used, reason = "what fails in a helper here fails its test")]

mod shipped;

use std::collections::BTreeSet;
use std::process::Command;

use shipped::{ended, finished, mtuscope};

const COMMANDS: [&str; 7] = ["report", "probe", "cluster", "checks", "agent", "completions", "man"];

/// A variable, a command that heeds it, and the flag that it stands for.
const VARIABLES: [(&str, &str, &str); 9] = [
    ("MTUSCOPE_CONFIG", "report", "--config"),
    ("MTUSCOPE_WAIT", "report", "--wait"),
    ("MTUSCOPE_FAIL_ON", "report", "--fail-on"),
    ("MTUSCOPE_OUTPUT", "report", "--output"),
    ("MTUSCOPE_FAIL_ON", "probe", "--fail-on"),
    ("MTUSCOPE_OUTPUT", "probe", "--output"),
    ("MTUSCOPE_OUTPUT", "checks", "--output"),
    ("MTUSCOPE_LISTEN", "agent", "--listen"),
    ("MTUSCOPE_LOG_FORMAT", "agent", "--log-format"),
];

fn printed(arguments: &[&str]) -> String {
    let (status, out, err) = finished(arguments);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments:?}");
    out
}

#[test]
fn help_lists_the_commands_and_each_explains_itself() {
    let top = printed(&["--help"]);
    for command in COMMANDS {
        assert!(top.contains(&format!("\n  {command} ")), "{top}");
        let help = printed(&[command, "--help"]);
        assert!(help.contains("\nExamples:\n  ") && help.contains(&format!("mtuscope {command}")), "{help}");
        assert_eq!(printed(&["help", command]), help);
    }
    assert!(top.contains("\nExamples:\n  sudo mtuscope report"), "{top}");
}

#[test]
fn help_names_each_variable_and_keeps_its_value_to_itself() {
    for (variable, command, flag) in VARIABLES {
        let (_, help, _) = ended(mtuscope(&[command, "--help"]).env(variable, "a-secret"));
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, after) = help.split_once(&format!("{flag} <")).unwrap_or_else(|| panic!("{flag} in {help}"));
        let own = after.split(" --").next().unwrap();
        assert!(own.contains(&format!("[env: {variable}]")), "{command}: {help}");
        assert!(!help.contains("a-secret"), "{help}");
    }
}

#[test]
fn a_bad_value_is_refused_by_the_name_of_its_variable() {
    for (variable, command, flag) in VARIABLES.into_iter().filter(|(variable, ..)| *variable != "MTUSCOPE_CONFIG") {
        for bad in ["no-such-value", ""] {
            let arguments = if command == "probe" { vec![command, "127.0.0.1"] } else { vec![command] };
            let (status, out, err) = ended(mtuscope(&arguments).env(variable, bad));
            assert_eq!((status, out.as_str()), (Some(2), ""), "{variable}={bad}");
            assert!(err.contains(flag) && err.contains(&format!("environment variable '{variable}'")), "{err}");
        }
    }
    for command in ["report", "agent"] {
        let (status, _, err) = ended(mtuscope(&[command]).env("MTUSCOPE_CONFIG", "/no/such/file"));
        assert_eq!(status, Some(2), "{err}");
        assert!(err.contains("environment variable MTUSCOPE_CONFIG\n/no/such/file: cannot open"), "{err}");
    }
    let (_, _, err) = ended(mtuscope(&["report", "--fail-on", "panic"]).env("MTUSCOPE_FAIL_ON", "info"));
    assert!(err.contains("'panic'") && !err.contains("MTUSCOPE_FAIL_ON"), "the flag is to blame: {err}");
}

#[test]
fn a_flag_outweighs_its_variable() {
    let is_json = |command: &mut Command| {
        let (status, out, err) = ended(command);
        assert_eq!((status, err.as_str()), (Some(0), ""));
        serde_json::from_str::<serde_json::Value>(&out).is_ok()
    };
    assert!(is_json(mtuscope(&["checks"]).env("MTUSCOPE_OUTPUT", "json")));
    assert!(!is_json(mtuscope(&["checks", "--output", "text"]).env("MTUSCOPE_OUTPUT", "json")));
}

#[test]
fn every_shell_has_a_script_that_knows_commands_flags_and_codes() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for word in COMMANDS.iter().chain(&["fail-on", "output"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        // The generators for these two know no values.
        if !matches!(shell, "elvish" | "powershell") {
            assert!(script.contains("critical"), "{shell}");
        }
    }
}

#[test]
fn bash_completes_as_it_is_told() {
    let script = printed(&["completions", "bash"]);
    let complete = |words: &[&str]| {
        let (last, before) = (words.last().unwrap(), words[words.len() - 2]);
        let asked = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; _mtuscope mtuscope '{last}' '{before}'; echo \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let (status, out, err) = ended(Command::new("bash").args(["--norc", "-c", &asked]));
        assert_eq!((status, err.as_str()), (Some(0), ""), "{words:?}");
        out.trim().to_owned()
    };
    assert_eq!(complete(&["mtuscope", "rep"]), "report");
    assert_eq!(complete(&["mtuscope", "report", "--fail"]), "--fail-on");
    assert_eq!(complete(&["mtuscope", "report", "--fail-on", "cr"]), "critical");
    assert_eq!(complete(&["mtuscope", "checks", "path-bl"]), "path-black-hole");
}

#[test]
fn the_manual_has_a_page_for_each_command_with_each_flag() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("made/man1");
    let named: BTreeSet<String> = printed(&["man", pages.to_str().unwrap()]).lines().map(str::to_owned).collect();
    let names = COMMANDS.iter().map(|command| format!("mtuscope-{command}.1")).chain(["mtuscope.1".to_owned()]);
    let wanted = names.map(|name| pages.join(name).to_str().unwrap().to_owned()).collect();
    assert_eq!(named, wanted);
    for command in COMMANDS {
        let page = std::fs::read_to_string(pages.join(format!("mtuscope-{command}.1"))).unwrap();
        let help = printed(&[command, "--help"]);
        let flags = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
        for flag in flags.map(|flag| flag.trim_end_matches([',', ';', '=', ')'])).filter(|flag| !flag.contains('=')) {
            assert!(page.contains(&flag.replace('-', "\\-")), "{flag} in {page}");
        }
        assert!(page.contains("\n.SH EXAMPLES\n.nf\n"), "{page}");
    }
    let first = printed(&["man"]);
    assert_eq!(first, std::fs::read_to_string(pages.join("mtuscope.1")).unwrap());
    assert!(first.contains(".TH mtuscope 1") && first.contains("mtuscope\\-report(1)"), "{first}");
}

#[test]
fn a_page_that_cannot_be_written_is_status_two() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let (status, out, err) = finished(&["man", in_the_way.to_str().unwrap()]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.starts_with(&format!("mtuscope: cannot write {}/mtuscope.1: ", in_the_way.display())), "{err}");
}
