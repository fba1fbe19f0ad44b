//! Leaks that the user knows about: patterns in the syntax of `LeakSanitizer`, matched against the frames of a stack.
//!
//! Owns: the syntax, the built-in patterns and matching. Must not know: files, which blocks leak.

use std::fmt;

use model::Frame;

use crate::limits::{PATTERN_BYTES_MAX, PATTERNS_MAX};

/// Allocations of the C library and of the dynamic linker that live as long as a thread or the process and whose only
/// pointers are where no tool can tell them from chance: a thread's vector of TLS blocks is pointed to 16 bytes behind its
/// start, caches of locales and character sets, and tcmalloc's own object, are found through scrambled pointers.
const BUILT_IN: [&str; 10] = [
    "^_dl_allocate_tls$",
    "^allocate_dtv$",
    "^_dl_resize_dtv$",
    "^__tls_get_addr$",
    "^__gconv_load_cache$",
    "^__gconv_lookup_cache$",
    "^__nss_module_allocate$",
    "^tzset_internal$",
    "^_nl_make_l10nflist$",
    "^MallocExtension::Register(",
];

/// Patterns and where they come from.
#[derive(Clone, Debug)]
pub struct Suppressions {
    patterns: Vec<Pattern>,
}

/// A line of a suppressions file that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// Its number, from 1.
    pub line: usize,
    /// What was found and what was needed.
    pub text: String,
}

/// One pattern: parts that follow each other with anything between, at the start or end of the text or anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    parts: Vec<String>,
    at_start: bool,
    at_end: bool,
}

impl Default for Suppressions {
    /// The built-in patterns alone.
    fn default() -> Self {
        Self { patterns: BUILT_IN.iter().filter_map(|text| Pattern::parse(text).ok()).collect() }
    }
}

impl Suppressions {
    /// Adds the patterns of a file: `leak:PATTERN` lines, blank ones, and comments that begin with `#`.
    pub fn add(&mut self, file: &str) -> Result<(), PatternError> {
        for (number, line) in file.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |text: String| PatternError { line: number + 1, text };
            let pattern = line.strip_prefix("leak:").ok_or_else(|| {
                let shown: String = line.chars().take(40).collect();
                error(format!("`{shown}` is no suppression; needed: leak:PATTERN, a comment (#) or an empty line"))
            })?;
            if self.patterns.len() >= PATTERNS_MAX {
                return Err(error(format!("more than {PATTERNS_MAX} patterns")));
            }
            self.patterns.push(Pattern::parse(pattern).map_err(error)?);
        }
        Ok(())
    }

    /// The first pattern that matches function, file or module of some frame.
    pub fn find(&self, frames: &[Frame]) -> Option<&str> {
        let texts: Vec<&str> = frames.iter().flat_map(texts).collect();
        let matching = |pattern: &&Pattern| texts.iter().any(|text| pattern.matches(text));
        self.patterns.iter().find(matching).map(|pattern| pattern.text.as_str())
    }
}

/// What a pattern is compared with.
fn texts(frame: &Frame) -> impl Iterator<Item = &str> {
    let function = frame.function.as_known().map(|function| &*function.name);
    let file = frame.line.as_known().map(|line| &*line.file);
    let module = frame.module.as_known().map(|module| &*module.path);
    function.into_iter().chain(file).chain(module)
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (inner, at_start) = text.strip_prefix('^').map_or((text, false), |rest| (rest, true));
        let (inner, at_end) = inner.strip_suffix('$').map_or((inner, false), |rest| (rest, true));
        let parts: Vec<String> = inner.split('*').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if parts.is_empty() {
            return Err("an empty pattern would hide every leak; needed: a part of a function, file or module".into());
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern of {} bytes; needed: at most {PATTERN_BYTES_MAX}", text.len()));
        }
        let at_start = at_start && !inner.starts_with('*');
        let at_end = at_end && !inner.ends_with('*');
        Ok(Self { text: text.to_owned(), parts, at_start, at_end })
    }

    /// Each part is looked for behind the one before, at its first place: an earlier place never leaves less for the rest, so that
    /// nothing is tried twice, and a pattern of many `*` costs no more than a long name.
    fn matches(&self, text: &str) -> bool {
        let mut rest = text;
        debug_assert!(!self.parts.is_empty(), "an empty pattern is refused when it is read");
        let last = self.parts.len() - 1;
        for (number, part) in self.parts.iter().enumerate() {
            let first = number == 0 && self.at_start;
            if number == last && self.at_end {
                return if first { rest == part } else { rest.ends_with(part.as_str()) };
            }
            match rest.find(part.as_str()) {
                Some(at) if at == 0 || !first => rest = rest.get(at + part.len()..).unwrap_or(""),
                _ => return false,
            }
        }
        true
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Address, FrameTrust, Function, ModuleName, Reading, SourceLine, Why};

    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, matches: bool) {
        assert_eq!(Pattern::parse(pattern).expect("a pattern").matches(text), matches, "{pattern} on {text}");
    }

    #[test]
    fn patterns_mean_what_they_mean_to_leak_sanitizer() {
        for (pattern, text, matches) in [
            ("foo", "my_foo_bar", true),
            ("foo", "fo", false),
            ("^foo", "foobar", true),
            ("^foo", "a_foo", false),
            ("foo$", "a_foo", true),
            ("foo$", "foo_a", false),
            ("^foo$", "foo", true),
            ("^foo$", "foofoo", false),
            ("a*c", "xabcx", true),
            ("a*c", "ca", false),
            ("^a*c$", "abbc", true),
            ("^a*c$", "abbcd", false),
            ("^a*b*c$", "a-b-c", true),
            ("^aa*aa$", "aaa", false),
            ("*foo*", "xfoox", true),
            ("^*foo", "x_foo", true),
            ("foo*$", "foo_x", true),
            ("c$", "cc", true),
            ("std::vector<int>::push_back", "void std::vector<int>::push_back(int&&)", true),
        ] {
            check(pattern, text, matches);
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = |text: &str| Suppressions::default().add(text).expect_err("bad").to_string();
        assert_eq!(
            error("leak:a\n\n# c\nrace:b\n"),
            "line 4: `race:b` is no suppression; needed: leak:PATTERN, a comment (#) or an empty line"
        );
        assert!(error("leak:").starts_with("line 1: an empty pattern"));
        assert!(error("leak:^**$").starts_with("line 1: an empty pattern"));
        assert!(error(&format!("leak:{}", "x".repeat(5000))).contains("5000 bytes"));
        assert!(error(&"leak:x\n".repeat(PATTERNS_MAX + 1)).contains("patterns"));
        assert!(Suppressions::default().add(" leak:a \r\n#\n\n").is_ok());
    }

    #[test]
    fn function_file_and_module_of_every_frame_are_compared() {
        let frame = Frame {
            address: Address(1),
            module: Reading::Known(ModuleName { path: "/lib/libz.so.1".into(), build_id: None }),
            function: Reading::Known(Function { name: "inflateInit_".into(), offset: 0 }),
            line: Reading::Known(SourceLine { file: "src/inflate.c".into(), line: 7, column: None }),
            inlined: false,
            trust: FrameTrust::Caller,
        };
        let nameless = Frame {
            module: Reading::Missing(Why::NotRecorded),
            function: Reading::Missing(Why::NotRecorded),
            line: Reading::Missing(Why::NotRecorded),
            ..frame.clone()
        };
        let frames: Arc<[Frame]> = Arc::new([nameless, frame]);
        for pattern in ["^inflateInit_$", "inflate.c$", "libz.so"] {
            let mut suppressions = Suppressions::default();
            suppressions.add(&format!("leak:{pattern}")).expect("good");
            assert_eq!(suppressions.find(&frames), Some(pattern));
            assert_eq!(suppressions.find(&frames[..1]), None, "a name that is missing matches nothing");
        }
        assert_eq!(Suppressions::default().find(&frames), None);
        assert_eq!(Suppressions::default().patterns.len(), BUILT_IN.len(), "the built-in patterns are well formed");
    }
}
