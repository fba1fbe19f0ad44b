//! Names that others chose, made safe to show.
//!
//! Owns: the escaping of control characters. Must not know: where a name comes from, or what width a screen has.

use std::fmt::Write as _;

/// The text with every character escaped that could move the cursor, change colours, reorder or hide what stands
/// around it: control characters (C0, C1, delete) as `\n` or `\x1b`, bidirectional controls, line separators and invisible
/// characters as `\u{202e}`, bytes that are no UTF-8 as `\xff`. A backslash stays itself, since names seldom have one and a
/// doubled one is what people would not recognise.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    // Nearly all names are plain: a week's report reads half a million of them.
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        text.push_str(str::from_utf8(bytes).unwrap_or_default());
        return text;
    }
    // Names of processes and files are bytes to the kernel. What is no UTF-8 is shown byte by byte, since a replacement character
    // would make two names look the same.
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut text, character);
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    debug_assert!(!text.chars().any(is_harmful), "nothing that controls a terminal or misleads its reader is left");
    text
}

/// Whether a character could move the cursor, change colours, or reorder or hide what stands around it. Said once for all crates:
/// two lists of such characters are never the same for long, and the shorter one is the hole.
pub fn is_harmful(character: char) -> bool {
    character.is_control() || is_deceptive(character)
}

fn push(text: &mut String, character: char) {
    let _ = match character {
        '\n' => text.write_str("\\n"),
        '\t' => text.write_str("\\t"),
        '\r' => text.write_str("\\r"),
        '\0'..='\x1f' | '\x7f' => write!(text, "\\x{:02x}", u32::from(character)),
        _ if is_harmful(character) => write!(text, "{}", character.escape_unicode()),
        _ => text.write_char(character),
    };
}

/// Characters that are not controls to Unicode but change how their neighbours are shown: a process named with U+202E
/// shows its row of the table backwards in most terminals.
const fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, text: &str) {
        assert_eq!(escaped(bytes.as_ref()), text);
    }

    #[test]
    fn a_plain_name_stays_itself() {
        check("", "");
        check("a b/(c)\\d", "a b/(c)\\d");
        check("größe 日本", "größe 日本");
    }

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        check("a\x1b[31mb", "a\\x1b[31mb");
        check("a\nb\tc\rd\x07\x7f\0", "a\\nb\\tc\\rd\\x07\\x7f\\x00");
        check("\u{9b}31m", "\\u{9b}31m");
        check("a\u{202e}b\u{200b}c\u{2028}d", "a\\u{202e}b\\u{200b}c\\u{2028}d");
    }

    #[test]
    fn what_is_no_text_is_escaped() {
        check(b"a\xffb", "a\\xffb");
        check(b"\xc3", "\\xc3");
        check(b"\x9b31m", "\\x9b31m");
    }
}
