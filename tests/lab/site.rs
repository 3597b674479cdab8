//! Machines that no recipe has, written as an operator would type them.
//!
//! A script is lines of `ip` and `bridge`, and `set KEY=VALUE` for a kernel setting below `/proc/sys`. A line `[name]` says
//! in which namespace the lines after it run; a name that is new makes a namespace. `{name}` stands for a namespace's path,
//! to move links there.

use std::fs;

use crate::namespace::Namespace;
use crate::report::Report;
use crate::service;
use crate::{Error, Result};

/// Namespaces, programmed line by line. They go away with this value.
#[derive(Debug, Default)]
pub struct Site {
    namespaces: Vec<Namespace>,
}

impl Site {
    /// Runs a script. Namespaces that it names and that are not there yet are made first, so that links can be moved to
    /// one that is programmed further down.
    ///
    /// # Errors
    /// If a line fails, with the line.
    pub fn run(&mut self, script: &str) -> Result<()> {
        let lines = || script.lines().map(str::trim).filter(|line| !line.is_empty());
        for name in lines().filter_map(heading) {
            if self.find(name).is_none() {
                self.namespaces.push(Namespace::new(name)?);
            }
        }
        let mut at = None;
        for line in lines() {
            match (heading(line), at) {
                (Some(name), _) => at = self.find(name),
                (None, Some(namespace)) => self.line(namespace, line)?,
                (None, None) => return Err(Error::new(format!("running `{line}`"), "no [name] stands before it")),
            }
        }
        Ok(())
    }

    /// The namespace of this name.
    ///
    /// # Errors
    /// If no script has named it.
    pub fn namespace(&self, name: &str) -> Result<&Namespace> {
        self.find(name).ok_or_else(|| Error::new(format!("asking for `{name}`"), "no script names it"))
    }

    /// What `mtuscope report` says in a namespace, with this configuration.
    ///
    /// # Errors
    /// If it cannot be started, or prints no report.
    pub fn report(&self, name: &str, configuration: &str) -> Result<Report> {
        let failed = |error: std::io::Error| Error::new("writing the configuration", error);
        let directory = tempfile::tempdir().map_err(failed)?;
        let file = directory.path().join("mtuscope.yaml");
        fs::write(&file, configuration).map_err(failed)?;
        let file = file.display().to_string();
        let output = service::run(self.namespace(name)?, &["report", "--output", "json", "--config", &file])?;
        let said = || format!("it ended with {} and said {}", output.status, String::from_utf8_lossy(&output.stderr));
        Report::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|error| error.check(said()))
    }

    fn find(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name() == name)
    }

    fn line(&self, at: &Namespace, line: &str) -> Result<()> {
        if let Some((key, value)) = line.strip_prefix("set ").and_then(|setting| setting.split_once('=')) {
            return at.set(key, value);
        }
        let paths = self.namespaces.iter().map(|namespace| (format!("{{{}}}", namespace.name()), namespace.path()));
        let line = paths.fold(line.to_owned(), |line, (name, path)| line.replace(&name, &path));
        at.sh(&line).map(drop)
    }
}

fn heading(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}
