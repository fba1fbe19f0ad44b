//! An attached process: its facts, its sites, one stack.
//!
//! Owns: the layout. Must not know: how sites are counted or judged.

use model::{Losses, StackId};
use report::{Excerpt, Outcome, SiteView, SitesView, Text};

use super::canvas::{Canvas, Tone};
use crate::screen::Screen;

/// The facts begin with a word of this width.
const INDENT: usize = 11;
/// On a screen with fewer lines only the facts are shown that nobody may miss, so that there is space for sites.
const FACTS_HEIGHT: usize = 18;

/// The facts of the attach, and under them the sites.
pub(super) fn draw(canvas: &mut Canvas<'_>, screen: &Screen) {
    let Some(view) = &screen.sites else {
        canvas.top(Tone::Plain, "attaching");
        return;
    };
    facts(canvas, view);
    canvas.top(Tone::Plain, "");
    let selected = screen.site.index(&screen.stacks()).unwrap_or(0);
    if view.sites.is_empty() {
        canvas.top(Tone::Plain, "no site to show yet");
    } else {
        table(canvas, view, selected);
    }
}

/// The figures of one site, its frames and the source text of their lines.
pub(super) fn draw_stack(canvas: &mut Canvas<'_>, screen: &Screen, stack: StackId) {
    let Some(site) = screen.site(stack) else {
        canvas.top(Tone::Plain, &format!("stack {} is no longer in the ranking", stack.0));
        return;
    };
    canvas.top(Tone::Title, &format!("#{} {} (stack {})", site.rank, site.verdict, stack.0));
    let lines = stack_lines(canvas.text(), site);
    let lines: Vec<_> =
        lines.iter().flat_map(|(tone, line)| canvas.broken(line, INDENT).map(|part| (*tone, part))).collect();
    let last = lines.len().saturating_sub(canvas.height());
    // Keys must not scroll past the end: as many keys would be needed to come back.
    screen.scroll_end.set(last);
    for (tone, line) in &lines[screen.scrolled.min(last)..] {
        canvas.top(*tone, line);
    }
}

/// Whether it is attached, which allocator, which mode, what it costs, what was lost, what leaks.
fn facts(canvas: &mut Canvas<'_>, view: &SitesView) {
    let mut facts = canvas.text().target_facts(view);
    if canvas.height() < FACTS_HEIGHT {
        facts.retain(|fact| is_essential(fact, view));
    }
    let last = facts.len().saturating_sub(1);
    for (index, fact) in facts.iter().enumerate() {
        let tone = match index {
            0 => Tone::Title,
            _ if index == last => tone_of(view.outcome),
            _ if fact.starts_with("Lost") && has_losses(view) => Tone::Doubtful,
            _ => Tone::Plain,
        };
        canvas.wrapped(tone, fact, INDENT);
    }
}

/// Losses are never left out.
fn is_essential(fact: &str, view: &SitesView) -> bool {
    fact.starts_with("Target") || fact.starts_with("Result") || (fact.starts_with("Lost") && has_losses(view))
}

/// Whether anything was not recorded.
fn has_losses(view: &SitesView) -> bool {
    view.losses != Losses::default()
}

/// Blind stands out: it looks like "nothing found" to someone who does not read it.
const fn tone_of(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::LeakFound => Tone::Bad,
        Outcome::Blind => Tone::Doubtful,
        Outcome::NothingFound | Outcome::CouldNotJudge => Tone::Plain,
    }
}

/// Only the rows on the screen are laid out.
fn table(canvas: &mut Canvas<'_>, view: &SitesView, selected: usize) {
    let space = canvas.height().saturating_sub(1).max(1);
    let first = selected - selected % space;
    let shown: Vec<&SiteView> = view.sites.iter().skip(first).take(space).collect();
    let lines = canvas.text().site_table(&shown);
    let Some((titles, lines)) = lines.split_first() else { return };
    canvas.top(Tone::Title, titles);
    for ((line, row), index) in lines.iter().zip(&shown).zip(first..) {
        let tone = Tone::from(row.severity);
        canvas.row(tone, line, index == selected);
    }
}

/// All lines of one site; some do not fit and are reached by scrolling.
fn stack_lines(text: Text, site: &SiteView) -> Vec<(Tone, String)> {
    let mut lines: Vec<_> = text.site_facts(site).into_iter().map(|fact| (Tone::Plain, fact)).collect();
    lines.push((Tone::Plain, String::new()));
    if site.frames.is_empty() {
        lines.push((Tone::Faint, "the stack is not read yet".to_owned()));
    }
    for (index, frame) in site.frames.iter().enumerate() {
        lines.push((Tone::Plain, text.frame(index, frame)));
        let line = frame.line.as_known().map(|source| source.line);
        let excerpts = site.excerpts.iter().filter(|excerpt| excerpt.frame == index);
        lines.extend(excerpts.flat_map(|excerpt| source_lines(excerpt, line)));
    }
    lines
}

/// The text around a line, with a mark at the line of the call.
fn source_lines(excerpt: &Excerpt, of_call: Option<u32>) -> impl Iterator<Item = (Tone, String)> {
    excerpt.lines.iter().zip(excerpt.first..).map(move |(line, number)| {
        let is_call = of_call == Some(number);
        let (mark, tone) = if is_call { ('>', Tone::Doubtful) } else { (' ', Tone::Faint) };
        (tone, format!("      {mark} {number:>5} │ {}", line.replace('\t', "    ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks and numbers of an excerpt, `>` at the line of the call.
    #[track_caller]
    fn check(first: u32, lines: &[&str], of_call: Option<u32>, expected: &[&str]) {
        let excerpt = Excerpt { frame: 0, first, lines: lines.iter().map(|line| (*line).to_owned()).collect() };
        let written: Vec<String> = source_lines(&excerpt, of_call).map(|(_, line)| line).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn the_line_of_the_call_is_marked() {
        check(9, &["a", "b"], Some(10), &["            9 │ a", "      >    10 │ b"]);
        check(9, &["a", "b"], None, &["            9 │ a", "           10 │ b"]);
        check(9, &["a"], Some(8), &["            9 │ a"]);
        check(1, &[], Some(1), &[]);
    }

    #[test]
    fn tabs_have_a_width() {
        check(1, &["\tx"], Some(1), &["      >     1 │     x"]);
    }

    #[test]
    fn blind_and_leaking_stand_out() {
        assert_eq!(tone_of(Outcome::LeakFound), Tone::Bad);
        assert_eq!(tone_of(Outcome::Blind), Tone::Doubtful);
        assert_eq!(tone_of(Outcome::NothingFound), Tone::Plain);
    }
}
