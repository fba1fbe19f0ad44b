//! Names as they may be shown: demangled, bounded, harmless on a terminal.
//!
//! Owns: demangling and escaping. Must not know: which module a name came from.

use std::fmt::{self, Write};
use std::sync::Arc;

use crate::limits::{NAME_BYTES_MAX, NAME_SHOWN_MAX};

/// The demangled form of a symbol, or the symbol itself where it is not mangled.
///
/// Rust goes first: its older mangling is also valid C++, which would leave the hash in the name.
pub(super) fn demangled(raw: &[u8]) -> Arc<str> {
    let raw = &raw[..raw.len().min(NAME_BYTES_MAX)];
    let text = String::from_utf8_lossy(raw);
    let mut bounded = Bounded(String::new());
    if let Ok(name) = rustc_demangle::try_demangle(&text) {
        // Without `#` it would end in a hash that differs with every build.
        // An error only says that the bound was reached: what is there is the beginning of the name.
        if write!(bounded, "{name:#}").is_ok() || !bounded.0.is_empty() {
            return escaped(&bounded.0);
        }
    } else if text.starts_with("_Z") || text.starts_with("__Z") {
        let options = cpp_demangle::DemangleOptions::new();
        if let Ok(symbol) = cpp_demangle::Symbol::new(raw)
            && (symbol.structured_demangle(&mut bounded, &options).is_ok() || bounded.full())
        {
            return escaped(&bounded.0);
        }
    }
    escaped(&text)
}

/// The text with what steers terminals or text direction escaped, cut at a bound.
pub(super) fn escaped(text: &str) -> Arc<str> {
    let harmless = |c: char| !model::is_harmful(c);
    if text.len() <= NAME_SHOWN_MAX && text.chars().all(harmless) {
        return text.into();
    }
    // Escapes make a text longer, so that the bound is on what is written and not on what is read.
    let mut shown = String::with_capacity(text.len().min(NAME_SHOWN_MAX) + 16);
    for c in text.chars() {
        if shown.len() >= NAME_SHOWN_MAX {
            shown.push('…');
            break;
        }
        if harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown.into()
}

/// A demangler's output grows exponentially with back references; this ends it.
struct Bounded(String);

impl Bounded {
    const fn full(&self) -> bool {
        self.0.len() >= NAME_SHOWN_MAX
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.full() {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, shown: &str) {
        assert_eq!(&*demangled(raw.as_bytes()), shown);
    }

    #[test]
    fn names_are_demangled_by_the_language_that_made_them() {
        check("malloc", "malloc");
        check("_ZN5space3fooEibc", "space::foo(int, bool, char)");
        check("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)");
        check("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write");
        check("_RNvCs1234_7mycrate3foo", "mycrate::foo");
        check("_Znot_a_name", "_Znot_a_name");
        check("grow.constprop.0", "grow.constprop.0");
    }

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        check("a\u{1b}[2Jb\n", "a\\u{1b}[2Jb\\n");
        check("left\u{202e}tfel", "left\\u{202e}tfel");
        check("a\u{61c}b\u{ad}c\u{e0041}", "a\\u{61c}b\\u{ad}c\\u{e0041}");
        let endless = "x".repeat(NAME_BYTES_MAX * 2);
        let shown = demangled(endless.as_bytes());
        assert!(shown.len() <= NAME_SHOWN_MAX + 3 && shown.ends_with('…'), "{}", shown.len());
    }

    #[test]
    fn names_that_grow_without_end_are_cut() {
        let mut bomb = String::from("_ZN1aIiE1fI");
        for level in 0..40 {
            let digit = char::from_digit(level % 10, 10).unwrap();
            write!(bomb, "1bIS{digit}_S{digit}_E").unwrap();
        }
        bomb.push_str("EEvv");
        assert!(demangled(bomb.as_bytes()).len() < 4 * NAME_SHOWN_MAX);
    }
}
