//! Quantities whose unit is their type.
//!
//! Owns: bytes, addresses, pids and how they are written for people.
//! Must not know: where a quantity comes from.

use std::fmt;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A virtual address in some process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

/// A process number as the kernel hands it out; not an identity, see [`crate::ProcessKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

impl Bytes {
    /// Bytes of a figure that the kernel gives in KiB (which it labels `kB`).
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1024))
    }

    /// The sum, at most `u64::MAX`.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Writes at most four significant digits with a binary unit: `512 B`, `1.50 KiB`, `23.4 MiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        // A float has 53 bits, which is more than the four digits that are shown need of 64.
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // Where rounding to one digit would give `1024.0 KiB`, it is already the next unit.
        while value >= 1023.95 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        debug_assert!(value < 1023.95 || unit + 1 == UNITS.len(), "the unit fits the value");
        let digits = if value < 9.995 { 2 } else { 1 };
        f.pad(&format!("{value:.digits$} {}", UNITS[unit]))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: u64, text: &str) {
        assert_eq!(Bytes(bytes).to_string(), text);
    }

    #[test]
    fn bytes_are_written_with_a_fitting_unit() {
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.00 KiB");
        check(1536, "1.50 KiB");
        check(10 * 1024, "10.0 KiB");
        check(1024 * 1024 - 1, "1.00 MiB");
        check(u64::MAX, "16.0 EiB");
    }
}
