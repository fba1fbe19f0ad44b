//! How a run ends without an outcome, and how the outcomes of its parts add up.
//!
//! Owns: the pair of error and hint. Must not know: how a failure is shown.

use std::fmt;
use std::io;

use report::Outcome;

/// The outcome of two parts: a leak in either is a leak, and one part that could not be judged leaves doubt.
pub(crate) const fn both(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::LeakFound, _) | (_, Outcome::LeakFound) => Outcome::LeakFound,
        (Outcome::Blind, _) | (_, Outcome::Blind) => Outcome::Blind,
        (Outcome::CouldNotJudge, _) | (_, Outcome::CouldNotJudge) => Outcome::CouldNotJudge,
        (Outcome::NothingFound, Outcome::NothingFound) => Outcome::NothingFound,
    }
}

/// Why a run ended without an outcome.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads our output any more (`| head`): not an error, and nothing more is to be said.
    OutputClosed,
    /// What went wrong and, apart from it, what to do.
    Refused {
        /// What was found and what was needed; lower-case, no full stop.
        text: String,
        /// The command that helps, where one does.
        hint: Option<String>,
    },
}

impl Failure {
    /// A failure with what to do about it.
    pub(crate) fn with_hint(text: impl fmt::Display, hint: impl Into<Option<String>>) -> Self {
        Self::Refused { text: text.to_string(), hint: hint.into() }
    }
}

impl From<io::Error> for Failure {
    /// Every I/O error of this crate is one of writing output: reading is what the other crates do.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::with_hint(
            format!("the output cannot be written: {error}"),
            (error.kind() == io::ErrorKind::StorageFull)
                .then(|| "make room on the disk, or write elsewhere".to_owned()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_outweighs_doubt_and_doubt_outweighs_nothing() {
        use Outcome::{Blind, CouldNotJudge, LeakFound, NothingFound};
        for (one, other, sum) in [
            (NothingFound, NothingFound, NothingFound),
            (NothingFound, CouldNotJudge, CouldNotJudge),
            (CouldNotJudge, Blind, Blind),
            (Blind, LeakFound, LeakFound),
            (LeakFound, NothingFound, LeakFound),
        ] {
            assert_eq!(both(one, other), sum);
            assert_eq!(both(other, one), sum);
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        assert!(matches!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)), Failure::OutputClosed));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, Failure::Refused { hint: Some(_), .. }), "{full:?}");
    }
}
