//! Source text beside the frames of the sites that are shown.
//!
//! Owns: which frames get some, and how much. Must not know: how files are read, or how the text looks.

use capture::SourceFiles;
use model::Frame;
use report::{Excerpt, SitesView};

/// Frames of one stack: whom to ask is often a wrapper, and its caller the one to look at.
const FRAMES: usize = 2;
/// Lines before and behind the line of a call.
const AROUND: u32 = 2;

/// Adds the text around the first lines of the program's own code of each listed site, where the source is there.
pub(crate) fn add(view: &mut SitesView, sources: &mut SourceFiles) {
    for site in &mut view.sites {
        let first = site.origin().unwrap_or(0);
        let own = site.frames.iter().enumerate().skip(first);
        let found = own.filter_map(|(index, frame)| excerpt(sources, index, frame));
        site.excerpts = found.take(FRAMES).collect();
    }
}

fn excerpt(sources: &mut SourceFiles, index: usize, frame: &Frame) -> Option<Excerpt> {
    let module = frame.module.as_known().map(|module| &*module.path);
    let text = sources.around(frame.line.as_known()?, module, AROUND)?;
    Some(Excerpt { frame: index, first: text.first, lines: text.lines, newer: text.newer })
}

#[cfg(test)]
mod tests {
    use model::{Address, FrameTrust, Pid, Reading, SourceLine, Why};

    use super::*;

    /// The number of the first line and the line of the call of an excerpt around a line of this very file.
    #[track_caller]
    fn check(line: Option<u32>, expected: Option<(u32, &str)>) {
        let here = format!("{}/src/excerpts.rs", env!("CARGO_MANIFEST_DIR"));
        let line = line.map(|line| SourceLine { file: here.into(), line, column: None });
        let frame = Frame {
            address: Address(1),
            module: Reading::Missing(Why::NotRecorded),
            function: Reading::Missing(Why::NotRecorded),
            line: Reading::from_option(line.clone(), Why::NoDebugInformation),
            inlined: false,
            trust: FrameTrust::UnwindTable,
        };
        let found = excerpt(&mut SourceFiles::of(Pid(std::process::id())), 3, &frame);
        assert!(found.as_ref().is_none_or(|found| found.frame == 3 && !found.newer));
        let at = |found: &Excerpt| line.as_ref().map_or(0, |line| line.line - found.first) as usize;
        let found = found.map(|found| (found.first, found.lines[at(&found)].clone()));
        assert_eq!(found, expected.map(|(first, text)| (first, text.to_owned())));
    }

    #[test]
    fn a_line_is_shown_with_those_around_it() {
        check(Some(1), Some((1, "//! Source text beside the frames of the sites that are shown.")));
        check(Some(5), Some((3, "use capture::SourceFiles;")));
        check(Some(1_000_000), None);
        check(None, None);
    }
}
