//! A figure, or the reason why there is none.
//!
//! Owns: [`Reading`] and the reasons. Must not know: who reads what.

use std::fmt;

/// A value that was read, or why it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading<T> {
    /// The value as it was read.
    Known(T),
    /// Nothing was read, for this reason.
    Missing(Why),
}

/// Why a value is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The process ended before or while it was read.
    ProcessGone,
    /// The kernel refused; `needs` is what would be enough, for example `CAP_SYS_PTRACE`.
    NotPermitted {
        /// The capability or setting that would allow it.
        needs: &'static str,
    },
    /// The kernel of this machine does not offer it.
    NotOffered,
    /// The source was there but did not have the form that is documented for it.
    Malformed,
    /// Nobody asked for it, or the source has no such thing.
    NotRecorded,
    /// The module has no debug information for it.
    NoDebugInformation,
    /// The window was too short to tell.
    TooShort,
    /// What it is about does not run.
    NotRunning,
    /// Reading it would have cost the process that it is about more than the budget.
    OverBudget,
}

impl<T> Reading<T> {
    /// The value, if there is one.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Missing(_) => None,
        }
    }

    /// The value by reference, if there is one.
    pub const fn as_known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Missing(_) => None,
        }
    }

    /// The same reading with the value changed by `change`.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Known(value) => Reading::Known(change(value)),
            Self::Missing(why) => Reading::Missing(why),
        }
    }

    /// What comes of two figures; missing where either is, for the reason of the first that is. This is the only way in which figures
    /// are combined: a sum of what happens to be known would pass for the whole.
    pub fn with<U, V>(self, other: Reading<U>, join: impl FnOnce(T, U) -> V) -> Reading<V> {
        match (self, other) {
            (Self::Known(one), Reading::Known(other)) => Reading::Known(join(one, other)),
            (Self::Missing(why), _) | (_, Reading::Missing(why)) => Reading::Missing(why),
        }
    }

    /// A reading of an option: `why` where it is none.
    pub fn from_option(value: Option<T>, why: Why) -> Self {
        value.map_or(Self::Missing(why), Self::Known)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcessGone => write!(f, "the process is gone"),
            Self::NotPermitted { needs } => write!(f, "not permitted (needs {needs})"),
            Self::NotOffered => write!(f, "not offered by this kernel"),
            Self::Malformed => write!(f, "not in the documented form"),
            Self::NotRecorded => write!(f, "not recorded"),
            Self::NoDebugInformation => write!(f, "no debug information"),
            Self::TooShort => write!(f, "too short to tell"),
            Self::NotRunning => write!(f, "not running"),
            Self::OverBudget => write!(f, "reading it would cost more than the budget"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_combined_is_missing_where_a_part_is() {
        let (gone, short) = (Reading::<u8>::Missing(Why::ProcessGone), Reading::<u8>::Missing(Why::TooShort));
        let sum = |one: Reading<u8>, other: Reading<u8>| one.with(other, |one, other| one + other);
        assert_eq!(sum(Reading::Known(1), Reading::Known(2)), Reading::Known(3));
        assert_eq!(sum(gone, Reading::Known(2)), gone);
        assert_eq!(sum(Reading::Known(1), short), short);
        assert_eq!(sum(gone, short), gone, "the first reason is told");
    }
}
