//! The screens as they look, compared with the files in `tests/data`, and what keys do in them.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the files anew; read the difference before it is committed.

#![expect(clippy::expect_used, reason = "a helper of a test stops it where it cannot go on")]

#[path = "../../report/tests/views/golden.rs"]
mod golden;
#[path = "../../report/tests/views/samples.rs"]
mod samples;

use std::fmt::Write as _;

use model::{Pid, StackId};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use report::Outcome;
use tui::{Action, Key, Screen};

const USUAL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 50);

fn drawn(screen: &Screen, (width, height): (u16, u16)) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    screen.draw(area, &mut buffer);
    buffer
}

/// The characters of the buffer, and a `>` before lines that are marked as selected.
fn text_of(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let selected = buffer[(0, y)].modifier.contains(Modifier::REVERSED);
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // The second half of a wide character is a cell of its own.
            x += unicode_width::UnicodeWidthStr::width(symbol).max(1) as u16;
        }
        let mark = if selected { '>' } else { ' ' };
        writeln!(text, "{}", format!("{mark}{line}").trim_end()).expect("a string takes everything");
    }
    text
}

#[track_caller]
fn check(screen: &Screen, size: (u16, u16), name: &str) {
    let file = format!("{name}-{}x{}.txt", size.0, size.1);
    golden::check(env!("CARGO_MANIFEST_DIR"), &file, &text_of(&drawn(screen, size)));
}

#[track_caller]
fn check_both(screen: &Screen, name: &str) {
    check(screen, USUAL, name);
    check(screen, LARGE, name);
}

fn watching() -> Screen {
    let mut screen = Screen::watch().without_colour();
    screen.show_machine(samples::hunt());
    screen
}

fn attached() -> Screen {
    let mut screen = Screen::attach().without_colour();
    screen.show_sites(samples::sites());
    screen
}

/// Types keys: `v` down, `^` up, `!` Enter, `<` Escape, `#` Backspace, everything else as it is.
fn press(screen: &mut Screen, keys: &str) -> Vec<Action> {
    let key = |character| match character {
        'v' => Key::Down,
        '^' => Key::Up,
        '!' => Key::Enter,
        '<' => Key::Escape,
        '#' => Key::Backspace,
        other => Key::Character(other),
    };
    keys.chars().filter_map(|character| screen.key(key(character))).collect()
}

#[test]
fn the_ranking_looks_like_this() {
    check_both(&watching(), "ranking");
    check(&Screen::watch(), USUAL, "ranking-empty");
}

#[test]
fn a_filter_and_an_order_are_shown() {
    let mut screen = watching();
    assert_eq!(press(&mut screen, "R/BILLqx#"), []);
    check(&screen, USUAL, "ranking-typing");
    assert_eq!(press(&mut screen, "##!"), []);
    let text = text_of(&drawn(&screen, USUAL));
    assert!(text.contains("sorted by RSS  filter: BIL  1 of 3"), "{text}");
    press(&mut screen, "/zzz!");
    assert!(text_of(&drawn(&screen, USUAL)).contains("no process to show"));
    press(&mut screen, "<");
    assert!(!text_of(&drawn(&screen, USUAL)).contains("filter:"));
}

#[test]
fn a_process_looks_like_this() {
    let mut screen = watching();
    press(&mut screen, "!");
    check_both(&screen, "process");
    let mut others = samples::hunt();
    others.processes.remove(0);
    screen.show_machine(others);
    check(&screen, USUAL, "process-ended");
    press(&mut screen, "<v!");
    check(&screen, USUAL, "process-without-history");
}

#[test]
fn the_sites_look_like_this() {
    let mut screen = attached();
    check_both(&screen, "sites");
    check(&screen, (60, 12), "sites");
    press(&mut screen, "v");
    let mut view = samples::sites();
    view.sites.clear();
    view.outcome = Outcome::Blind;
    screen.show_sites(view);
    check(&screen, USUAL, "sites-blind");
}

#[test]
fn a_stack_looks_like_this() {
    let mut screen = attached();
    press(&mut screen, "!");
    assert_eq!(screen.open_stack(), Some(StackId(17)));
    check_both(&screen, "stack");
    check(&screen, (44, 24), "stack");
    drawn(&screen, (80, 10));
    screen.key(Key::End);
    check(&screen, (80, 10), "stack-scrolled");
    screen.key(Key::Up);
    assert_ne!(text_of(&drawn(&screen, (80, 10))).lines().nth(1), Some(""), "the first key up moves");
    press(&mut screen, "<v!");
    assert_eq!(screen.open_stack(), Some(StackId(3)));
    assert!(text_of(&drawn(&screen, USUAL)).contains("the stack is not read yet"));
}

#[test]
fn help_looks_like_this_and_goes_with_any_key() {
    let mut screen = watching();
    press(&mut screen, "?");
    check(&screen, USUAL, "help");
    press(&mut screen, "s");
    assert_eq!(text_of(&drawn(&screen, USUAL)), text_of(&drawn(&watching(), USUAL)), "the key only closes the help");
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    for size in [(39, 8), (40, 7), (20, 3)] {
        let text = text_of(&drawn(&watching(), size));
        assert!(text.contains("terminal too small") && text.contains("needed 40×8"), "{text}");
    }
    assert!(text_of(&drawn(&watching(), (40, 8))).contains("billing"));
}

#[test]
fn no_size_and_no_screen_is_fatal() {
    for keys in ["", "!", "?", "/x"] {
        let mut screen = watching();
        press(&mut screen, keys);
        let mut stack = attached();
        press(&mut stack, keys);
        for (width, height) in (0..60).step_by(3).flat_map(|width| (0..30).map(move |height| (width, height))) {
            drawn(&screen, (width, height));
            drawn(&stack, (width, height));
        }
    }
}

#[test]
fn names_cannot_reach_the_terminal() {
    for screen in [watching(), attached()] {
        let text = text_of(&drawn(&screen, LARGE));
        assert!(!text.contains('\x1b'), "{text}");
    }
}

#[test]
fn colour_is_used_only_where_it_is_wanted() {
    let coloured = |screen: &Screen| drawn(screen, USUAL).content.iter().any(|cell| cell.fg != Color::Reset);
    assert!(!coloured(&watching()));
    let mut screen = Screen::watch();
    screen.show_machine(samples::hunt());
    assert!(coloured(&screen));
}

#[test]
fn attach_asks_the_caller_and_waits_for_figures() {
    let mut screen = watching();
    assert_eq!(press(&mut screen, "va"), [Action::Attach(Pid(77_001))]);
    assert!(text_of(&drawn(&screen, USUAL)).contains("attaching to 77001"));
    screen.show_sites(samples::sites());
    assert!(text_of(&drawn(&screen, USUAL)).contains("leakline watch"), "figures of another process open nothing");

    assert_eq!(press(&mut screen, "^a"), [Action::Attach(Pid(1234))]);
    screen.show_sites(samples::sites());
    assert!(text_of(&drawn(&screen, USUAL)).contains("Target     1234"));
    assert_eq!(press(&mut screen, "!<<"), [Action::Detach]);
    assert!(text_of(&drawn(&screen, USUAL)).contains("leakline watch"));
    screen.show_sites(samples::sites());
    assert!(text_of(&drawn(&screen, USUAL)).contains("leakline watch"), "late figures open nothing");
}

#[test]
fn an_attach_from_the_process_names_that_process() {
    let mut screen = watching();
    assert_eq!(press(&mut screen, "!a"), [Action::Attach(Pid(1234))]);
    screen.say("not permitted".to_owned());
    assert!(text_of(&drawn(&screen, USUAL)).contains("not permitted"));
    press(&mut screen, "v");
    assert!(!text_of(&drawn(&screen, USUAL)).contains("not permitted"));
}

#[test]
fn quit_is_quit_everywhere_but_in_a_filter() {
    for keys in ["q", "!q", "?q"] {
        assert_eq!(press(&mut watching(), keys), [Action::Quit], "{keys}");
    }
    for keys in ["q", "!q", "<q"] {
        assert_eq!(press(&mut attached(), keys), [Action::Quit], "{keys}");
    }
    let mut screen = watching();
    assert_eq!(press(&mut screen, "/q"), []);
    assert_eq!(screen.key(Key::Quit), Some(Action::Quit), "Ctrl-C is no character");
}
