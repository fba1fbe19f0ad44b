//! Rust source without its comments and literals, so that rules look at code only.
//!
//! Owns: telling code from comments, strings and characters; finding functions. Must not know: any rule.

/// A function and the lines of code in its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Where `fn` stands, from 1.
    pub(super) line: usize,
    /// Lines between the braces that hold code; comments and empty lines do not count.
    pub(super) length: usize,
}

/// The text with each comment, string and character replaced by spaces; lines and columns stay where they are.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = not_code(rest, out.chars().next_back());
        let (taken, blank) = if length == 0 { (first.len_utf8(), false) } else { (length, true) };
        let part = &rest[..taken];
        if blank {
            out.extend(part.chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(part);
        }
        rest = &rest[taken..];
    }
    out
}

/// Bytes of the comment or literal that the text starts with; 0 where it starts with code.
fn not_code(text: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(is_word);
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        block_comment(text)
    } else if text.starts_with('"') {
        quoted(text, '"')
    } else if !in_word && (text.starts_with("r\"") || text.starts_with("r#") || text.starts_with("br")) {
        raw_string(text)
    } else if text.starts_with('\'') {
        character(text)
    } else {
        0
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, `br"…"`; 0 for a raw name such as `r#type` and for words that merely start so.
fn raw_string(text: &str) -> usize {
    let start = text.strip_prefix('b').unwrap_or(text).strip_prefix('r').unwrap_or("");
    let hashes = start.len() - start.trim_start_matches('#').len();
    if !start[hashes..].starts_with('"') {
        return 0;
    }
    let opening = text.len() - start.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    text[opening..].find(&end).map_or(text.len(), |at| opening + at + end.len())
}

/// `'x'` and `'\n'`; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => quoted(text, '\''),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Lines, from 1, on which the word or path stands by itself.
pub(super) fn lines_with(code: &str, wanted: &str) -> Vec<usize> {
    (1..).zip(code.lines()).filter(|(_, line)| has_word(line, wanted)).map(|(number, _)| number).collect()
}

fn has_word(line: &str, wanted: &str) -> bool {
    line.match_indices(wanted).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_word);
        let after = wanted.ends_with(is_word) && line[at + wanted.len()..].chars().next().is_some_and(is_word);
        !before && !after
    })
}

/// Every function with a body.
pub(super) fn functions(code: &str) -> Vec<Function> {
    let starts = code.match_indices("fn ").filter(|(at, _)| !code[..*at].chars().next_back().is_some_and(is_word));
    starts.filter_map(|(at, _)| function(code, at)).collect()
}

fn function(code: &str, at: usize) -> Option<Function> {
    let after = &code[at + 3..];
    let name: String = after.chars().take_while(|&character| is_word(character)).collect();
    let open = after.find(['{', ';']).filter(|_| !name.is_empty())?;
    // A semicolon inside an array type of the signature: `[u8; 4]`.
    let open = if after[open..].starts_with('{') { open } else { after_array_types(after, open)? };
    let body = &after[open..open + matching_brace(&after[open..])];
    let length = body.lines().skip(1).filter(|line| !line.trim().is_empty()).count().saturating_sub(1);
    Some(Function { name, line: code[..at].matches('\n').count() + 1, length })
}

fn after_array_types(signature: &str, semicolon: usize) -> Option<usize> {
    let balance = |text: &str| text.matches('[').count() as i64 - text.matches(']').count() as i64;
    if balance(&signature[..semicolon]) == 0 {
        return None;
    }
    let next = signature[semicolon + 1..].find(['{', ';'])? + semicolon + 1;
    if signature[next..].starts_with('{') { Some(next) } else { after_array_types(signature, next) }
}

fn matching_brace(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The line, from 1, of the `#[cfg(test)]` of a module with a body; what follows it are tests.
pub(super) fn tests_from(text: &str) -> Option<usize> {
    test_modules(text).find(|(_, module)| module.contains('{')).map(|(line, _)| line)
}

/// Names of the modules in other files that hold tests or serve them only.
pub(super) fn test_files(text: &str) -> impl Iterator<Item = &str> {
    test_modules(text).filter_map(|(_, module)| module.strip_suffix(';')?.rsplit(' ').next())
}

/// Lines, from 1, that say `#[cfg(test)]` above a module, with the line of the module itself.
fn test_modules(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let pairs = (1..).zip(text.lines().zip(text.lines().skip(1)));
    let is_module = |line: &str| line.starts_with("mod ") || line.contains(" mod ");
    let found = pairs.filter(move |(_, (above, line))| above.trim() == "#[cfg(test)]" && is_module(line));
    found.map(|(number, (_, line))| (number, line.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: &str) {
        assert_eq!(code(text), wanted, "{text}");
        assert_eq!(code(text).lines().count(), text.lines().count());
    }

    #[test]
    fn only_code_remains() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"a("b\"c") d"#, "a(      ) d");
        check(r##"a r#"b"c"# d"##, "a          d");
        check(r"a '\'' b", "a      b");
        check("fn a<'x>(y: &'x str)", "fn a<'x>(y: &'x str)");
        check("a 'x' b", "a     b");
        check("r#type = for", "r#type = for");
        check("a \"unterminated", "a              ");
    }

    #[test]
    fn words_are_found_whole() {
        assert_eq!(lines_with("unsafe_code\nunsafe {}\n(unsafe)", "unsafe"), [2, 3]);
        assert_eq!(lines_with("todo!()\nmy_todo!()", "todo!"), [1]);
    }

    #[track_caller]
    fn check_functions(text: &str, wanted: &[(&str, usize, usize)]) {
        let found = functions(&code(text));
        let found: Vec<_> =
            found.iter().map(|function| (function.name.as_str(), function.line, function.length)).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn bodies_are_measured_without_comments_and_empty_lines() {
        check_functions("fn a() {}\nfn b() {\n  x;\n\n  // y\n  z;\n}", &[("a", 1, 0), ("b", 2, 2)]);
        check_functions("trait T { fn a(&self); fn b() { { } } }", &[("b", 1, 0)]);
        check_functions("fn a(x: [u8; 4]) -> [u8; 2] {\n  x\n}", &[("a", 1, 1)]);
        check_functions("let f: fn (u8) = g;", &[]);
    }

    #[test]
    fn tests_start_at_their_attribute() {
        assert_eq!(tests_from("a\n#[cfg(test)]\nmod tests {}"), Some(2));
        assert_eq!(tests_from("a"), None);
        assert_eq!(tests_from("#[cfg(test)]\nmod other;\na\n#[cfg(test)]\nmod tests {\n}"), Some(4));
        assert_eq!(tests_from("#[cfg(test)]\nuse a;"), None);
        assert_eq!(test_files("#[cfg(test)]\npub(crate) mod other;\nmod more;").collect::<Vec<_>>(), ["other"]);
    }
}
