//! What goes wrong in the lab itself: the operation, its object, the cause, and what to check.

use std::fmt;

/// The lab's result.
pub type Result<T> = std::result::Result<T, Error>;

/// The lab could not do what a test asked for.
#[derive(Clone, Debug)]
pub struct Error {
    doing: String,
    cause: String,
    check: Option<String>,
}

impl Error {
    /// `doing` failed because of `cause`.
    pub fn new(doing: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { doing: doing.into(), cause: cause.to_string(), check: None }
    }

    /// Says what to check.
    #[must_use]
    pub fn check(mut self, what: impl Into<String>) -> Self {
        self.check = Some(what.into());
        self
    }

    /// Says what was being done when this happened.
    #[must_use]
    pub fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.doing = format!("{what}: {}", self.doing);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.cause)?;
        self.check.iter().try_for_each(|check| write!(f, "\n  check: {check}"))
    }
}

impl std::error::Error for Error {}
