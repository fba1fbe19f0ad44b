//! What the terminal sends, as [`Key`]s.
//!
//! Owns: the thread that reads the terminal, and when it ends. Must not know: what a key does, or what is on the screen.
//!
//! A thread of its own, since the reader of the library goes round for ever once the terminal has hung up (a closed window, a
//! broken ssh). Whoever waits for keys must get on then: a process is attached to, and its hooks must come out. The hang-up is
//! looked for apart from the reader, which keeps count of what it was told to read and must be the only one to wait for it.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::LOOK;

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
    /// Ctrl-C, whatever the screen; also a terminal that is gone.
    Quit,
    /// A character.
    Character(char),
    /// The size changed: draw again.
    Resize,
}

/// The keys of the terminal from now on; dropping it ends their reading.
#[derive(Debug)]
pub(crate) struct Keys {
    receiver: Receiver<io::Result<Key>>,
    ended: Arc<AtomicBool>,
}

impl Keys {
    /// Starts to read the terminal, which is standard input.
    pub(crate) fn read() -> io::Result<Self> {
        let (sender, receiver) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || forward(&sender, &seen))?;
        Ok(Self { receiver, ended })
    }

    /// The next key, waiting for it no longer than `timeout`.
    pub(crate) fn next(&self, timeout: Duration) -> io::Result<Option<Key>> {
        if has_hung_up()? {
            return Ok(Some(Key::Quit));
        }
        match self.receiver.recv_timeout(timeout) {
            Ok(key) => key.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            // The reader said why it ended, and that was answered.
            Err(RecvTimeoutError::Disconnected) => Ok(Some(Key::Quit)),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // Not joined: the thread may be inside the library for good, and nobody waits for it.
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Sends keys until nobody wants them or they cannot be read.
fn forward(to: &Sender<io::Result<Key>>, ended: &AtomicBool) {
    let look = || if event::poll(LOOK)? { event::read().map(|event| key_of(&event)) } else { Ok(None) };
    while !ended.load(Ordering::Relaxed) {
        let looked = look();
        let failed = looked.is_err();
        let sent = looked.transpose().map_or(Ok(()), |key| to.send(key));
        if failed || sent.is_err() {
            return;
        }
    }
}

/// Whether the other end of the terminal is closed.
fn has_hung_up() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut looked_at = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
    match poll(&mut looked_at, Some(&Timespec::default())) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [found] = looked_at.map(|one| one.revents());
    Ok(found.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL))
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
    fn the_release_of_a_key_is_no_key() {
        let mut release = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(key_of(&Event::Key(release)), None);
    }
}
