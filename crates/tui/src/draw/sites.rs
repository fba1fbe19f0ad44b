//! An attached process: its facts, its sites, one stack.
//!
//! Owns: the layout. Must not know: how sites are counted or judged.

use model::{Losses, StackId};
use report::{Outcome, SiteView, SitesView, Text};

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
        let tone = |is_call| if is_call { Tone::Doubtful } else { Tone::Faint };
        lines.extend(text.source(site, index).into_iter().map(|(is_call, line)| (tone(is_call), line)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blind_and_leaking_stand_out() {
        assert_eq!(tone_of(Outcome::LeakFound), Tone::Bad);
        assert_eq!(tone_of(Outcome::Blind), Tone::Doubtful);
        assert_eq!(tone_of(Outcome::NothingFound), Tone::Plain);
    }
}
