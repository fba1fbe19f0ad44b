//! Standing between a program and whoever started it: signals and stops pass through.
//!
//! Owns: which signals are passed on, and stopping along with the program. Must not know: what is measured.
//!
//! What a key at the terminal sends (Ctrl-C, Ctrl-\, hang-up) reaches the program directly, since it is in the same process
//! group; what a process sends to leakline is meant for the program and is passed on.

use std::io::{self, IsTerminal as _};

use capture::Signals;
use model::Pid;
use rustix::process::{Signal, getpgrp, kill_process};

use crate::failure::Failure;

/// Those that a program expects from outside. SIGTSTP is not among them: it stops leakline as it stops the program.
const PASSED: [Signal; 8] =
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM, Signal::WINCH];
/// So many looks in a row must find the program stopped before leakline stops as well.
const LOOKS: u32 = 3;

/// Stands between.
#[derive(Debug)]
pub(crate) struct Supervisor {
    signals: Signals,
    /// How often in a row the program was found stopped.
    stopped: u32,
    /// Whether a signal to end has come.
    asked_to_end: bool,
}

impl Supervisor {
    /// Takes the signals over.
    pub(crate) fn new() -> Result<Self, Failure> {
        let numbers = PASSED.map(Signal::as_raw);
        let signals = Signals::take(&numbers)
            .map_err(|error| Failure::with_hint(format!("cannot take signals over: {error}"), None))?;
        Ok(Self { signals, stopped: 0, asked_to_end: false })
    }

    /// Passes on what has come, and stops with the program.
    pub(crate) fn answer(&mut self, pid: Pid) {
        while let Some(received) = self.signals.receive() {
            self.asked_to_end |=
                [Signal::INT, Signal::TERM, Signal::HUP].iter().any(|end| end.as_raw() == received.signal);
            let signal = PASSED.iter().find(|signal| signal.as_raw() == received.signal);
            if let Some(signal) = signal.filter(|_| received.by_process) {
                send(pid, *signal);
            }
        }
        self.stop_along(pid);
    }

    /// Whether a signal to end has come since the last call.
    pub(crate) fn is_asked_to_end(&mut self) -> bool {
        while let Some(received) = self.signals.receive() {
            self.asked_to_end |= received.signal != Signal::WINCH.as_raw();
        }
        std::mem::take(&mut self.asked_to_end)
    }

    /// A program that stopped itself (an editor does so on Ctrl-Z) must give the terminal back to the shell, which waits for
    /// leakline. When the shell lets leakline go on, it lets the program go on too.
    fn stop_along(&mut self, pid: Pid) {
        let is_stopped = is_in_foreground() && state(pid) == Some('T');
        self.stopped = if is_stopped { self.stopped + 1 } else { 0 };
        if self.stopped == LOOKS {
            self.stopped = 0;
            let _ = kill_process(rustix::process::getpid(), Signal::STOP);
            send(pid, Signal::CONT);
        }
    }
}

fn send(pid: Pid, signal: Signal) {
    let pid = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw);
    // A program that has ended needs no signals.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Whether a shell that controls jobs waits for us at a terminal.
fn is_in_foreground() -> bool {
    io::stdin().is_terminal() && rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// The letter of the state of a process.
fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_process_is_one_letter() {
        let this = Pid(std::process::id());
        assert!(matches!(state(this), Some('R' | 'S')), "{:?}", state(this));
        assert_eq!(state(Pid(1 << 22)), None);
    }
}
