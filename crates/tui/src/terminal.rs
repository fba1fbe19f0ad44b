//! The terminal: taken when a screen is shown, given back whatever happens.
//!
//! Owns: raw mode and the alternate screen. Must not know: what is on the screen, or how keys are read.

use std::io::{self, BufWriter, Stdout};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::{cursor, execute, terminal};

use crate::Screen;
use crate::keys::{Key, Keys};
use crate::limits::WRITE_BYTES;

/// The terminal while a screen is shown. Dropping it gives the terminal back; so does a panic.
#[derive(Debug)]
pub struct Terminal {
    /// Never dropped: its own end prints to standard error when the cursor cannot be shown, and that ends the process when standard
    /// error is the terminal that is gone. Whoever is attached to a target would leave its hooks there.
    inner: ManuallyDrop<ratatui::Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
    keys: Keys,
}

impl Terminal {
    /// Takes the terminal: raw mode and the alternate screen. A panic gives it back before its message is printed.
    pub fn enter() -> io::Result<Self> {
        give_back_on_panic();
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let entered = execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide).and_then(|()| {
            let inner =
                ratatui::Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(WRITE_BYTES, io::stdout())))?;
            Ok(Self { inner: ManuallyDrop::new(inner), keys: Keys::read()? })
        });
        match entered {
            Ok(terminal) => Ok(terminal),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws a screen.
    pub fn draw(&mut self, screen: &Screen) -> io::Result<()> {
        self.inner.draw(|frame| screen.draw(frame.area(), frame.buffer_mut()))?;
        Ok(())
    }

    /// The next key, waiting for it no longer than `timeout`. A terminal that is gone has quit.
    pub fn poll_key(&mut self, timeout: Duration) -> io::Result<Option<Key>> {
        self.keys.next(timeout)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether the terminal is taken. It is given back once: leaving the alternate screen again would put the cursor back to
/// where it was and overwrite the message of a panic.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back. Errors are of no use here: the terminal may be gone already.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // First the screen, then the mode: a terminal in raw mode on the right screen is better than the reverse.
    let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
}

/// Runs once: the message of a panic would otherwise be lost with the alternate screen.
fn give_back_on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_is_not_given_back() {
        // The tests have no terminal: giving back would write escapes to their output and turn off a raw mode.
        assert!(!TAKEN.load(Ordering::SeqCst));
        give_back();
        assert!(!TAKEN.load(Ordering::SeqCst));
    }
}
