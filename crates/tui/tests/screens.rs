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
fn alerts_stand_above_the_ranking_and_below_everything_else() {
    let mut screen = watching();
    let critical = report::AlertView { severity: model::Severity::Critical, ..samples::alert() };
    screen.show_alerts(vec![samples::alert(), critical]);
    check_both(&screen, "ranking-alerts");
    press(&mut screen, "!");
    let text = text_of(&drawn(&screen, USUAL));
    assert!(text.contains("2 alerts, the latest: growth: +10 % in 1 h"), "{text}");
    press(&mut screen, "<");
    screen.show_alerts(vec![samples::alert(); 30]);
    let text = text_of(&drawn(&screen, USUAL));
    assert!(text.contains("more alerts") && text.contains("billing"), "the table stays: {text}");
    screen.show_alerts(Vec::new());
    assert_eq!(text_of(&drawn(&screen, USUAL)), text_of(&drawn(&watching(), USUAL)), "they go when they are over");
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
    screen.show_sites(samples::sampled_sites());
    check(&screen, USUAL, "sites-sampled");
    check(&screen, LARGE, "sites-sampled");
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
fn letters_move_the_selection_as_the_help_says() {
    let (mut by_letters, mut by_arrows) = (watching(), watching());
    press(&mut by_letters, "jjk");
    press(&mut by_arrows, "vv^");
    let text = text_of(&drawn(&by_letters, USUAL));
    assert_eq!(text, text_of(&drawn(&by_arrows, USUAL)));
    assert_ne!(text, text_of(&drawn(&watching(), USUAL)));
}

#[test]
fn losses_are_shown_on_the_smallest_screen_whatever_was_lost() {
    let mut view = samples::sites();
    view.losses = model::Losses::default();
    view.totals.histories_dropped = 0;
    let mut screen = attached();
    screen.show_sites(view.clone());
    assert!(!text_of(&drawn(&screen, (60, 12))).contains("Lost"));
    view.totals.histories_dropped = 3;
    screen.show_sites(view);
    assert!(text_of(&drawn(&screen, (60, 12))).contains("3 histories"));
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
    assert_eq!(press(&mut screen, "l"), [Action::Survey]);
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

/// A ranking of so many processes named `p0`, `p1` and so on, of which the last grows most.
fn crowd(number: u32) -> report::HuntView {
    let mut view = samples::hunt();
    view.notes.clear();
    view.processes = (0..number).map(member).collect();
    view
}

fn member(number: u32) -> report::ProcessView {
    let mut process = samples::leaking();
    let mut identity = (*process.identity).clone();
    identity.key.pid = Pid(1000 + number);
    identity.command = format!("p{number}");
    process.identity = identity.into();
    process.recent = model::Reading::Known(i64::from(number) << 20);
    process
}

/// The name in the row that is marked as selected.
fn selected(screen: &Screen) -> String {
    let text = text_of(&drawn(screen, USUAL));
    let row = text.lines().find_map(|line| line.strip_prefix('>')).unwrap_or_default();
    row.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn the_selected_row_is_always_on_the_screen() {
    let mut screen = Screen::watch();
    screen.show_machine(crowd(100));
    let mut name = |key| {
        screen.key(key);
        selected(&screen)
    };
    assert_eq!(name(Key::Down), "p1");
    assert_eq!(name(Key::PageDown), "p11");
    assert_eq!(name(Key::End), "p99");
    assert_eq!(name(Key::Down), "p99");
    assert_eq!(name(Key::PageUp), "p89");
    assert_eq!(name(Key::Home), "p0");
    assert_eq!(name(Key::Up), "p0");
    for number in 1..100 {
        assert_eq!(name(Key::Down), format!("p{number}"));
    }
}

#[test]
fn the_selection_stays_on_its_process() {
    let mut screen = Screen::watch();
    screen.show_machine(crowd(100));
    press(&mut screen, "vvv");
    assert_eq!(selected(&screen), "p3");
    press(&mut screen, "G");
    assert_eq!(selected(&screen), "p3", "the order changed, the process did not");
    let mut view = crowd(100);
    view.processes.reverse();
    view.processes.retain(|process| process.identity.command != "p2");
    screen.show_machine(view);
    assert_eq!(selected(&screen), "p3");
    assert_eq!(press(&mut screen, "a"), [Action::Attach(Pid(1003))]);
}

#[test]
fn a_process_that_ended_gives_its_place_to_another() {
    let mut screen = Screen::watch();
    screen.show_machine(crowd(5));
    press(&mut screen, "vvvv");
    screen.show_machine(crowd(2));
    assert_eq!(selected(&screen), "p1");
    screen.show_machine(crowd(0));
    assert_eq!(selected(&screen), "");
    assert_eq!(press(&mut screen, "a!v"), [], "there is nothing to attach to or to open");
}

#[test]
fn an_open_process_shows_the_newest_figures() {
    let mut screen = watching();
    press(&mut screen, "!");
    let mut view = samples::hunt();
    "stepped".clone_into(&mut view.processes[0].verdict);
    screen.show_machine(view);
    assert!(text_of(&drawn(&screen, USUAL)).contains("verdict    stepped"));
    press(&mut screen, "<");
    assert_eq!(selected(&screen), "billing-…");
}

#[test]
fn a_stack_that_left_the_ranking_says_so() {
    let mut screen = attached();
    press(&mut screen, "!");
    let mut view = samples::sites();
    view.sites.remove(0);
    screen.show_sites(view);
    assert!(text_of(&drawn(&screen, USUAL)).contains("stack 17 is no longer in the ranking"));
    press(&mut screen, "<");
    assert!(text_of(&drawn(&screen, USUAL)).contains("stack 3"));
}

#[test]
fn escape_does_not_end_a_session_that_has_nothing_behind_it() {
    let mut screen = attached();
    assert_eq!(press(&mut screen, "<<<"), []);
    let text = text_of(&drawn(&screen, USUAL));
    assert!(text.contains("Target     1234") && !text.contains("Esc back"), "what does nothing is not offered: {text}");
}

#[test]
fn keys_before_the_first_figures_do_nothing() {
    for mut screen in [Screen::watch(), Screen::attach()] {
        assert_eq!(press(&mut screen, "v^!a<sGr?"), []);
        drawn(&screen, USUAL);
    }
}

#[test]
fn a_stack_that_is_awaited_opens_only_once() {
    let mut screen = watching();
    press(&mut screen, "a");
    screen.say("refused".to_owned());
    screen.show_sites(samples::sites());
    assert!(text_of(&drawn(&screen, USUAL)).contains("leakline watch"), "a refused attach opens nothing");
}

/// Keys and figures in any order, from a generator of numbers (xorshift), so that a failure can be repeated.
#[test]
fn no_order_of_keys_and_figures_is_fatal() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    for mut screen in [Screen::watch(), Screen::attach()] {
        for _ in 0..5_000 {
            match below(8) {
                0 => screen.show_machine(crowd(below(40) as u32)),
                1 => screen.show_sites(some_sites(below(3) as usize)),
                2 => screen.say("refused".to_owned()),
                _ => drop(screen.key(any_key(below(24)))),
            }
            if below(16) == 0 {
                drawn(&screen, (below(120) as u16, below(40) as u16));
            }
        }
    }
}

fn some_sites(number: usize) -> report::SitesView {
    let mut view = samples::sites();
    view.sites.truncate(number);
    view
}

fn any_key(number: u64) -> Key {
    let keys = [
        Key::Up,
        Key::Down,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Enter,
        Key::Enter,
        Key::Escape,
        Key::Backspace,
        Key::Tab,
        Key::Resize,
    ];
    let letters = ['/', 'a', 's', 'r', '?', 'G', 'N', 'P', 'x', 'j', 'k', 'V'];
    let number = number as usize;
    keys.get(number).copied().unwrap_or_else(|| Key::Character(letters[number - keys.len()]))
}

#[test]
fn one_process_is_followed_as_a_curve() {
    let mut screen = Screen::follow().without_colour();
    assert!(text_of(&drawn(&screen, USUAL)).contains("waiting for the first sample"));
    let mut view = samples::recording();
    view.processes.truncate(1);
    view.events.truncate(2);
    screen.show_recording(view);
    check_both(&screen, "follow");
    assert_eq!(screen.key(Key::Escape), None);
    assert_eq!(screen.key(Key::Character('q')), Some(Action::Quit));
}

#[test]
fn a_process_of_which_nothing_is_known_is_followed_too() {
    let mut screen = Screen::follow().without_colour();
    screen.show_recording(report::RecordingView::default());
    assert!(text_of(&drawn(&screen, USUAL)).contains("nothing is known of this process yet"));
}
