//! Names of the files of a recording.
//!
//! Owns: how a segment is named. Must not know: what is in one.

/// A segment: its number, and whether it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentName {
    pub(crate) number: u64,
    pub(crate) sealed: bool,
}

impl SegmentName {
    pub(crate) const fn log(number: u64) -> Self {
        Self { number, sealed: false }
    }

    pub(crate) const fn sealed(number: u64) -> Self {
        Self { number, sealed: true }
    }

    /// The name of its file.
    pub(crate) fn file(self) -> String {
        format!("{:08}.{}", self.number, if self.sealed { "segment" } else { "log" })
    }

    /// The segment of a file; none where it is another file.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let (number, extension) = file.split_once('.')?;
        let name = Self { number: number.parse().ok()?, sealed: extension == "segment" };
        // Only what we would write ourselves: `1.log`, `+1.log` and `00000001.txt` are somebody else's.
        (name.file() == file).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, wanted: Option<SegmentName>) {
        assert_eq!(SegmentName::parse(file), wanted, "{file}");
    }

    #[test]
    fn only_our_own_names_are_segments() {
        check("00000001.log", Some(SegmentName::log(1)));
        check("00000002.segment", Some(SegmentName::sealed(2)));
        check("123456789.log", Some(SegmentName::log(123_456_789)));
        check("1.log", None);
        check("+0000001.log", None);
        check("00000001.txt", None);
        check("RECORDING", None);
        check("", None);
    }
}
