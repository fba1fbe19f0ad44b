//! Who comes first: while threads of a target stand still, nobody works out names, which may take a processor that those threads need to get
//! going, or to stop at all.
//!
//! Owns: waiting for one another, for a bounded time. Must not know: what either does.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a stop waits for a name that is being worked out: opening the debug information of a large module takes longer.
const NAME_MAX: Duration = Duration::from_millis(20);
/// How long names wait for stops: even a stop that fails is over by then.
const STOP_MAX: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_micros(200);

static STOPS: AtomicU32 = AtomicU32::new(0);
static NAMES: AtomicU32 = AtomicU32::new(0);

/// As long as it lives one is counted.
#[derive(Debug)]
pub(crate) struct Turn(&'static AtomicU32);

impl Turn {
    fn take(own: &'static AtomicU32) -> Self {
        own.fetch_add(1, SeqCst);
        Self(own)
    }

    /// Threads of a target are about to be stopped.
    pub(crate) fn to_stop() -> Self {
        let turn = Self::take(&STOPS);
        wait_for(&NAMES, NAME_MAX);
        turn
    }

    /// A name is about to be worked out.
    pub(crate) fn to_name() -> Self {
        wait_for(&STOPS, STOP_MAX);
        Self::take(&NAMES)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn wait_for(others: &AtomicU32, most: Duration) {
    if others.load(SeqCst) == 0 {
        return;
    }
    let began = Instant::now();
    while others.load(SeqCst) != 0 && began.elapsed() < most {
        sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests of this process stop threads and name code meanwhile: so only bounds are compared.
    #[test]
    fn neither_waits_for_ever() {
        let began = Instant::now();
        let stop = Turn::to_stop();
        let name = Turn::to_name();
        assert!(began.elapsed() >= STOP_MAX, "it waited for the stop");
        let again = Instant::now();
        let other = Turn::to_stop();
        assert!(again.elapsed() >= NAME_MAX, "it waited for the name");
        drop((stop, name, other));
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
