//! Sentences of the reasons.
//!
//! Owns: how a figure is said in a reason. Must not know: which reasons there are.

use std::time::Duration;

use model::Bytes;

/// A length of time in its natural unit: `15 s`, `12 min`, `3.5 h`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// An amount that was computed; below zero it is said as zero, since a sentence says the direction itself.
pub(crate) fn amount(bytes: f64) -> Bytes {
    Bytes(bytes.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_natural_unit() {
        for (seconds, text) in [(0.5, "0.5 s"), (15.0, "15 s"), (600.0, "10 min"), (9000.0, "2.5 h")] {
            assert_eq!(span(Duration::from_secs_f64(seconds)), text);
        }
        assert_eq!(amount(-5.0), Bytes(0));
        assert_eq!(amount(f64::NAN), Bytes(0));
    }
}
