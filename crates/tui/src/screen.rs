//! What is on the terminal now.
//!
//! Owns: which screen is shown and what each key does there. Must not know: the terminal itself, or how it is drawn.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a screen takes the keys that it knows; every other key, also one added later, does nothing there"
)]

use std::cell::Cell;

use model::{Pid, ProcessKey, StackId};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use report::{AlertView, HuntView, ProcessView, RecordingView, SiteView, SitesView};

use crate::limits::PAGE;
use crate::state::{Ranking, Selection};
use crate::{Key, draw};

/// What the user asks the caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Attach to this process and show its sites.
    Attach(Pid),
    /// Detach and go on with the ranking, which is shown already.
    Detach,
    /// Look for pointers to the expired blocks of the process that is attached to.
    Survey,
    /// End the program (which detaches).
    Quit,
}

/// One screen: the latest figures and what the user made of them.
#[derive(Debug)]
pub struct Screen {
    pub(crate) machine: Option<HuntView>,
    /// The alerts that are on, oldest first.
    pub(crate) alerts: Vec<AlertView>,
    pub(crate) sites: Option<SitesView>,
    /// What is drawn as curves.
    pub(crate) recorded: Option<RecordingView>,
    pub(crate) place: Place,
    pub(crate) ranking: Ranking,
    pub(crate) site: Selection<StackId>,
    /// The process that was opened, as it was last seen.
    pub(crate) opened: Option<Opened>,
    /// First line shown of a text that is longer than the screen.
    pub(crate) scrolled: usize,
    /// How far the text could be scrolled when it was last drawn: only drawing knows how many lines it has.
    pub(crate) scroll_end: Cell<usize>,
    pub(crate) help: bool,
    pub(crate) message: Option<String>,
    pub(crate) colour: bool,
    /// Whether the ranking is behind the attached process.
    pub(crate) from_ranking: bool,
    /// The process that the caller was asked to attach to and whose figures have not come yet.
    awaited: Option<Pid>,
}

/// Which screen is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// All processes.
    Ranking,
    /// One process.
    Process,
    /// The sites of the attached process.
    Sites,
    /// One site with its stack.
    Stack(StackId),
    /// One process in real time, as a curve.
    Follow,
}

/// A process that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) view: ProcessView,
    /// Whether it was in the latest figures.
    pub(crate) alive: bool,
}

impl Screen {
    /// The screen of `watch`: starts with the ranking.
    pub fn watch() -> Self {
        Self::at(Place::Ranking)
    }

    /// The screen of `attach`: has no ranking.
    pub fn attach() -> Self {
        Self::at(Place::Sites)
    }

    /// The screen of `plot --follow`: one process as a curve in real time.
    pub fn follow() -> Self {
        Self::at(Place::Follow)
    }

    /// New figures of the process that is followed.
    pub fn show_recording(&mut self, view: RecordingView) {
        debug_assert!(self.place == Place::Follow, "only one screen draws recordings");
        self.recorded = Some(view);
    }

    /// The same screen without colour; the caller knows about `NO_COLOR`.
    #[must_use]
    pub fn without_colour(self) -> Self {
        Self { colour: false, ..self }
    }

    /// New figures of the machine.
    pub fn show_machine(&mut self, view: HuntView) {
        if let Some(opened) = &mut self.opened {
            let key = opened.view.identity.key;
            // The whole key is compared: the pid alone may be another process by now.
            let found = view.processes.iter().find(|process| process.identity.key == key);
            opened.alive = found.is_some();
            opened.view = found.unwrap_or(&opened.view).clone();
        }
        self.machine = Some(view);
    }

    /// The alerts that are on now, oldest first; they stand above the ranking.
    pub fn show_alerts(&mut self, alerts: Vec<AlertView>) {
        self.alerts = alerts;
    }

    /// New figures of the attached process; the first ones after [`Action::Attach`] open its screen.
    pub fn show_sites(&mut self, view: SitesView) {
        // Figures of another process may still come from a session that is ending.
        if self.awaited == Some(view.target.pid) {
            self.awaited = None;
            self.message = None;
            self.site = Selection::default();
            self.place = Place::Sites;
        }
        // Figures that come after the user has left the process are of no use.
        let is_shown = matches!(self.place, Place::Sites | Place::Stack(_));
        self.sites = is_shown.then_some(view);
        debug_assert!(self.sites.is_some() || self.from_ranking, "a screen without a ranking always shows its sites");
    }

    /// A line at the bottom, for example why an attach was refused; it goes away with the next key.
    pub fn say(&mut self, message: String) {
        self.awaited = None;
        self.message = Some(message);
    }

    /// The site whose stack is open, so that the caller can find its source text.
    pub fn open_stack(&self) -> Option<StackId> {
        match self.place {
            Place::Stack(stack) => Some(stack),
            Place::Ranking | Place::Process | Place::Sites | Place::Follow => None,
        }
    }

    /// What a key does: changes the screen, and perhaps asks the caller for something.
    pub fn key(&mut self, key: Key) -> Option<Action> {
        // While a filter is typed `q` and `?` are characters of it. Ctrl-C is a way out everywhere: a user who is lost
        // must never be kept.
        let typing = self.ranking.typing && self.place == Place::Ranking;
        match key {
            Key::Quit => return Some(Action::Quit),
            Key::Character('q') if !typing => return Some(Action::Quit),
            Key::Resize => return None,
            _ => {}
        }
        // The message was about what is now in the past.
        self.message = None;
        if std::mem::take(&mut self.help) {
            return None;
        }
        match self.place {
            Place::Ranking if typing => self.key_of_filter(key),
            _ if key == Key::Character('?') => self.help = true,
            Place::Ranking => return self.key_of_ranking(key),
            Place::Process => return self.key_of_process(key),
            Place::Sites => return self.key_of_sites(key),
            Place::Stack(_) => self.key_of_stack(key),
            // There is nothing to choose; the keys above leave it.
            Place::Follow => {}
        }
        None
    }

    /// Draws the screen.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        draw::screen(self, area, buffer);
    }

    /// The site that is open, if it still exists.
    pub(crate) fn site(&self, stack: StackId) -> Option<&SiteView> {
        self.sites.as_ref()?.sites.iter().find(|site| site.counts.stack == stack)
    }

    /// The sites in their order, as the selection knows them.
    pub(crate) fn stacks(&self) -> Vec<StackId> {
        let sites = self.sites.as_ref().map_or(&[][..], |view| &view.sites);
        sites.iter().map(|site| site.counts.stack).collect()
    }

    /// A screen that starts here. The ranking is behind an attached process only where it was there before.
    fn at(place: Place) -> Self {
        Self {
            machine: None,
            alerts: Vec::new(),
            sites: None,
            recorded: None,
            place,
            ranking: Ranking::default(),
            site: Selection::default(),
            opened: None,
            scrolled: 0,
            scroll_end: Cell::new(0),
            help: false,
            message: None,
            colour: true,
            from_ranking: place == Place::Ranking,
            awaited: None,
        }
    }

    /// While a filter is typed every character belongs to it; the arrows still move, since the list is on the screen.
    fn key_of_filter(&mut self, key: Key) {
        match key {
            Key::Character(character) => self.ranking.type_character(character),
            Key::Backspace => drop(self.ranking.filter.pop()),
            Key::Enter => self.ranking.typing = false,
            Key::Escape => {
                self.ranking.typing = false;
                self.ranking.filter.clear();
            }
            _ => self.shift_ranking(key),
        }
    }

    /// Small letters do something, capital letters sort.
    fn key_of_ranking(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Character('/') => self.ranking.typing = true,
            Key::Character('s') | Key::Tab => self.ranking.sort_next(),
            Key::Character('r') => self.ranking.reversed = !self.ranking.reversed,
            Key::Character('a') => return self.selected().map(|key| self.attach_to(key)),
            // Before the letters that sort, of which they are none.
            Key::Character('j' | 'k') => self.shift_ranking(key),
            Key::Character(letter) => self.ranking.sort_by_letter(letter),
            Key::Escape => self.ranking.filter.clear(),
            Key::Enter => self.open_process(),
            _ => self.shift_ranking(key),
        }
        None
    }

    /// The process that is open is the one that is attached to, even if the ranking has changed its order meanwhile.
    fn key_of_process(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Character('a') => {
                let key = self.opened.as_ref()?.view.identity.key;
                return Some(self.attach_to(key));
            }
            Key::Escape => {
                self.place = Place::Ranking;
                self.opened = None;
            }
            _ => {}
        }
        None
    }

    /// Without a ranking behind it there is nothing to go back to, and Escape must not end a session by accident.
    fn key_of_sites(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Escape if self.from_ranking => {
                self.place = Place::Ranking;
                self.sites = None;
                return Some(Action::Detach);
            }
            Key::Character('l') => return Some(Action::Survey),
            Key::Enter => {
                let stack = self.site.key(&self.stacks())?;
                self.place = Place::Stack(stack);
                self.scrolled = 0;
            }
            _ => {
                let stacks = self.stacks();
                self.site.shift(&stacks, rows_of(key));
            }
        }
        None
    }

    /// A stack may be longer than the screen.
    fn key_of_stack(&mut self, key: Key) {
        match key {
            Key::Escape => self.place = Place::Sites,
            _ => self.scrolled = self.scrolled.saturating_add_signed(rows_of(key)).min(self.scroll_end.get()),
        }
    }

    /// The process that is selected in the ranking.
    fn selected(&self) -> Option<ProcessKey> {
        self.ranking.selected(self.machine.as_ref()?).map(|process| process.identity.key)
    }

    /// Keeps the process as it is now: it may have ended at the next beat, and its last figures are of use then.
    fn open_process(&mut self) {
        let Some(view) = self.machine.as_ref().and_then(|machine| self.ranking.selected(machine)) else { return };
        debug_assert_eq!(self.place, Place::Ranking, "processes are opened from the ranking");
        self.opened = Some(Opened { view: view.clone(), alive: true });
        self.place = Place::Process;
    }

    /// Asks the caller and waits for the figures; the screen changes when they come.
    fn attach_to(&mut self, key: ProcessKey) -> Action {
        self.awaited = Some(key.pid);
        self.message = Some(format!("attaching to {}", key.pid));
        Action::Attach(key.pid)
    }

    /// Moves the selection among the rows that are listed.
    fn shift_ranking(&mut self, key: Key) {
        if let Some(machine) = &self.machine {
            self.ranking.shift(machine, rows_of(key));
        }
    }
}

/// How many rows a key moves; none for the keys that do not move.
const fn rows_of(key: Key) -> isize {
    match key {
        Key::Up | Key::Character('k') => -1,
        Key::Down | Key::Character('j') => 1,
        Key::PageUp => -PAGE,
        Key::PageDown => PAGE,
        Key::Home => -(u16::MAX as isize),
        Key::End => u16::MAX as isize,
        Key::Enter | Key::Escape | Key::Backspace | Key::Tab | Key::Quit | Key::Character(_) | Key::Resize => 0,
    }
}
