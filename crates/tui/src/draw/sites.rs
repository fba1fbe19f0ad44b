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
/// With fewer lines below the sites nothing of a stack could be told.
const STACK_HEIGHT: usize = 4;

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
        let rows = rows_of_table(canvas.height(), view.sites.len());
        table(canvas, view, selected, rows);
        beneath(canvas, view.sites.get(selected));
    }
}

/// How many sites are listed: all of them where they leave space for a stack, else the better half of the space is theirs.
fn rows_of_table(height: usize, sites: usize) -> usize {
    let space = height.saturating_sub(1).max(1);
    let with_stack = space.saturating_sub(STACK_HEIGHT + 1);
    if sites <= with_stack {
        sites
    } else if space >= 4 * STACK_HEIGHT {
        space.div_ceil(2).min(with_stack)
    } else {
        space
    }
}

/// The frames of the selected site from the program's own code on, and their source: the answer, without a further key.
fn beneath(canvas: &mut Canvas<'_>, site: Option<&SiteView>) {
    let Some(site) = site.filter(|_| canvas.height() > STACK_HEIGHT) else { return };
    canvas.top(Tone::Plain, "");
    let first = site.origin().unwrap_or(0);
    if first > 0 {
        let frames = if first == 1 { "frame" } else { "frames" };
        canvas.top(Tone::Faint, &format!("({first} {frames} of libraries first: Enter shows them)"));
    }
    for (tone, line) in frame_lines(canvas.text(), site, first) {
        canvas.wrapped(tone, &line, INDENT);
    }
}

/// The figures of one site, its frames and the source text of their lines.
pub(super) fn draw_stack(canvas: &mut Canvas<'_>, screen: &Screen, stack: StackId) {
    let Some(site) = screen.site(stack) else {
        canvas.top(Tone::Plain, &format!("stack {} is no longer in the ranking", stack.0));
        return;
    };
    canvas.top(Tone::Title, &format!("#{} {}: {}", site.rank, site.judgement(), canvas.text().site_title(site)));
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
    view.losses != Losses::default() || view.totals.histories_dropped > 0
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
fn table(canvas: &mut Canvas<'_>, view: &SitesView, selected: usize, rows: usize) {
    debug_assert!(rows > 0, "there is a site to show");
    let first = selected - selected % rows;
    let shown: Vec<&SiteView> = view.sites.iter().skip(first).take(rows).collect();
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
    lines.extend(frame_lines(text, site, 0));
    lines
}

/// The frames of a site with their source, from one on.
fn frame_lines(text: Text, site: &SiteView, first: usize) -> Vec<(Tone, String)> {
    let mut lines = Vec::new();
    if site.frames.is_empty() {
        lines.push((Tone::Faint, "the stack is not read yet".to_owned()));
    }
    for (index, frame) in site.frames.iter().enumerate().skip(first) {
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
    fn sites_and_a_stack_share_the_space() {
        for (height, sites, rows) in
            [(30, 3, 3), (30, 100, 15), (9, 3, 3), (9, 4, 8), (8, 3, 7), (1, 5, 1), (0, 1, 1), (18, 50, 9)]
        {
            assert_eq!(rows_of_table(height, sites), rows, "{sites} sites in {height} lines");
        }
    }

    #[test]
    fn blind_and_leaking_stand_out() {
        assert_eq!(tone_of(Outcome::LeakFound), Tone::Bad);
        assert_eq!(tone_of(Outcome::Blind), Tone::Doubtful);
        assert_eq!(tone_of(Outcome::NothingFound), Tone::Plain);
    }
}
