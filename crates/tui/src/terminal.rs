//! The terminal: taken when a screen is shown, given back whatever happens.
//!
//! Owns: raw mode, the alternate screen, and turning what the terminal sends into [`Key`]s.
//! Must not know: what is on the screen.

use std::io::{self, BufWriter, Stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};

use crate::Screen;
use crate::limits::WRITE_BYTES;

/// A key that means something on some screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// Opens what is selected.
    Enter,
    /// Goes back.
    Escape,
    /// Takes back the last character.
    Backspace,
    /// The next column.
    Tab,
    /// Ctrl-C, whatever the screen.
    Quit,
    /// A character.
    Character(char),
    /// The size changed: draw again.
    Resize,
}

/// The terminal while a screen is shown. Dropping it gives the terminal back; so does a panic.
#[derive(Debug)]
pub struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Terminal {
    /// Takes the terminal: raw mode and the alternate screen. A panic gives it back before its message is printed.
    pub fn enter() -> io::Result<Self> {
        give_back_on_panic();
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let entered = execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide).and_then(|()| {
            ratatui::Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(WRITE_BYTES, io::stdout())))
        });
        match entered {
            Ok(inner) => Ok(Self { inner }),
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

    /// The next key, waiting for it no longer than `timeout`. Other input is skipped and counts as no key.
    pub fn poll_key(&mut self, timeout: Duration) -> io::Result<Option<Key>> {
        // The poll returns early for input that is no key; the caller's loop comes back soon enough.
        if !event::poll(timeout)? {
            return Ok(None);
        }
        Ok(key_of(&event::read()?))
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

/// Mouse, focus and paste mean nothing on these screens.
fn key_of(event: &Event) -> Option<Key> {
    match event {
        // Some terminals report the release of a key as well.
        Event::Key(key) if key.kind != KeyEventKind::Release => key_of_press(key),
        Event::Resize(..) => Some(Key::Resize),
        Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every further key of a keyboard means nothing here")]
fn key_of_press(key: &KeyEvent) -> Option<Key> {
    // In raw mode Ctrl-C is a key and no signal.
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match key.code {
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::Char(character) => Key::Character(character),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: KeyCode, modifiers: KeyModifiers, key: Option<Key>) {
        assert_eq!(key_of(&Event::Key(KeyEvent::new(code, modifiers))), key);
    }

    #[test]
    fn keys_are_told_apart() {
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Key::Quit));
        check(KeyCode::Char('c'), KeyModifiers::NONE, Some(Key::Character('c')));
        check(KeyCode::Char('G'), KeyModifiers::SHIFT, Some(Key::Character('G')));
        check(KeyCode::Char('z'), KeyModifiers::CONTROL, None);
        check(KeyCode::F(5), KeyModifiers::NONE, None);
        check(KeyCode::Esc, KeyModifiers::NONE, Some(Key::Escape));
    }

    #[test]
    fn every_key_of_a_screen_can_be_typed() {
        for (code, key) in [
            (KeyCode::Up, Key::Up),
            (KeyCode::Down, Key::Down),
            (KeyCode::PageUp, Key::PageUp),
            (KeyCode::PageDown, Key::PageDown),
            (KeyCode::Home, Key::Home),
            (KeyCode::End, Key::End),
            (KeyCode::Enter, Key::Enter),
            (KeyCode::Backspace, Key::Backspace),
            (KeyCode::Tab, Key::Tab),
        ] {
            check(code, KeyModifiers::NONE, Some(key));
        }
    }

    #[test]
    fn a_new_size_is_told_and_a_mouse_is_not() {
        assert_eq!(key_of(&Event::Resize(80, 24)), Some(Key::Resize));
        for event in [Event::FocusGained, Event::FocusLost, Event::Paste("q".to_owned())] {
            assert_eq!(key_of(&event), None, "{event:?}");
        }
    }

    #[test]
    fn what_was_not_taken_is_not_given_back() {
        // The tests have no terminal: giving back would write escapes to their output and turn off a raw mode.
        assert!(!TAKEN.load(Ordering::SeqCst));
        give_back();
        assert!(!TAKEN.load(Ordering::SeqCst));
    }

    #[test]
    fn the_release_of_a_key_is_no_key() {
        let mut release = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(key_of(&Event::Key(release)), None);
    }
}
