//! The function that somebody may have meant who named one that is not there.
//!
//! Owns: which names are alike, and what a mangled one stands for. Must not know: what the function is wanted for.

use object::elf;
use object::read::elf::Sym;

use crate::limits::{FUNCTIONS_MAX, NEAREST_MAX, NEAREST_NAME_MAX};
use crate::module::{ENDIAN, Strings, sections};

use super::text;

/// The names that are most like a wanted one, over any number of modules.
#[derive(Debug)]
pub struct Nearest<'name> {
    wanted: &'name str,
    /// The same in the spelling in which demangled names are compared, and its last part, which stands in a mangled name as it is.
    spelt: String,
    last_part: String,
    /// How far off, and the name; the best first.
    best: Vec<(usize, String)>,
}

impl<'name> Nearest<'name> {
    /// Nothing is known yet.
    pub fn to(wanted: &'name str) -> Self {
        let spelt = spelling(wanted);
        let last_part = last_part(without_parameters(&spelt)).to_owned();
        Self { wanted, spelt, last_part, best: Vec::new() }
    }

    /// Looks through the symbol tables of a module.
    pub fn look_into(&mut self, file: &[u8]) {
        let Some(sections) = sections(file) else { return };
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let Ok(table) = sections.symbols(ENDIAN, file, kind) else { continue };
            let strings = Strings::of(&sections, &table, file);
            for symbol in table.iter().take(FUNCTIONS_MAX) {
                if symbol.st_type() != elf::STT_FUNC || symbol.is_undefined(ENDIAN) {
                    continue;
                }
                if let Some(name) = strings.name(symbol) {
                    self.consider(name.split(|&byte| byte == b'@').next().unwrap_or(name));
                }
            }
        }
    }

    /// The names as symbol tables have them; behind a mangled one what it stands for.
    pub fn names(self) -> Vec<String> {
        let shown = |(_, raw): (usize, String)| {
            let (plain, escaped) = (text::demangled(raw.as_bytes()), text::escaped(&raw));
            if plain == escaped { format!("`{escaped}`") } else { format!("`{escaped}` ({plain})") }
        };
        self.best.into_iter().map(shown).collect()
    }

    fn consider(&mut self, name: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else { return };
        if name.len() > NEAREST_NAME_MAX || self.wanted.len() > NEAREST_NAME_MAX {
            return;
        }
        let distance = if self.stands_for(name) { Some(0) } else { distance(self.wanted, name) };
        let Some(distance) = distance else { return };
        let at = self.best.partition_point(|(other, known)| (*other, known.as_str()) < (distance, name));
        if self.best.get(at).is_none_or(|(_, known)| known != name) {
            self.best.insert(at, (distance, name.to_owned()));
            self.best.truncate(NEAREST_MAX);
        }
    }
}

impl Nearest<'_> {
    /// Whether this is the mangled form of the wanted name, which may lack its parameters and what it is inside of.
    fn stands_for(&self, mangled: &str) -> bool {
        let is_candidate = mangled.starts_with("_Z") || mangled.starts_with("_R");
        if !is_candidate || self.last_part.is_empty() || !mangled.contains(&self.last_part) {
            return false;
        }
        let plain = spelling(&text::demangled(mangled.as_bytes()));
        ends_with_part(&plain, &self.spelt) || ends_with_part(without_parameters(&plain), &self.spelt)
    }
}

/// Without the spaces that one writes and another does not.
fn spelling(name: &str) -> String {
    let mut spelt = name.trim().to_owned();
    for (spaced, narrow) in [(", ", ","), ("> >", ">>"), (" *", "*"), (" &", "&")] {
        spelt = spelt.replace(spaced, narrow);
    }
    spelt
}

/// The name up to its parameters, which are the last in parentheses; those of `operator()` and of an anonymous namespace are none.
fn without_parameters(name: &str) -> &str {
    let end = name.strip_suffix(" const").unwrap_or(name);
    let mut depth = 0_u32;
    for (at, letter) in end.char_indices().rev() {
        match letter {
            ')' => depth += 1,
            '(' if depth == 1 => return if at == 0 { name } else { end.get(..at).unwrap_or(name) },
            '(' => depth = depth.saturating_sub(1),
            _ if depth == 0 => return name,
            _ => {}
        }
    }
    name
}

/// The last part of a path: the name of the function itself, without arguments of a template.
fn last_part(name: &str) -> &str {
    let plain = name.split('<').next().unwrap_or(name);
    plain.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or("")
}

/// Whether a name is the wanted one, or ends in it behind a namespace, a class or a type that is returned.
fn ends_with_part(name: &str, wanted: &str) -> bool {
    name.strip_suffix(wanted).is_some_and(|before| before.is_empty() || before.ends_with([':', ' ', '*', '&']))
}

/// How far two names are from each other; none where nobody would mix them up. A name that contains the wanted one (a mangled
/// name its plain one) is as near as one with a typing error.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    const SHORTEST_PART: usize = 4;
    // One error in four letters, as spelling checkers allow; a name of one letter may be another one.
    let most = (wanted.len() / 4).max(1);
    let (wanted, name) = (wanted.to_ascii_lowercase(), name.to_ascii_lowercase());
    let contains = wanted.len() >= SHORTEST_PART && name.contains(&wanted);
    if wanted.len().abs_diff(name.len()) > most && !contains {
        return None;
    }
    let edits = if contains { 1 + (name.len() - wanted.len()) / 8 } else { edits(wanted.as_bytes(), name.as_bytes()) };
    (contains || edits <= most).then_some(edits)
}

/// Insertions, deletions and replacements that lead from one to the other.
fn edits(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, &byte) in from.iter().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (cell, &other) in row.iter_mut().skip(1).zip(to) {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    debug_assert!(row.last().is_some_and(|edits| *edits <= from.len().max(to.len())), "replacing everything is enough");
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiled::compile;

    #[track_caller]
    fn check(wanted: &str, names: &str, expected: &str) {
        let mut nearest = Nearest::to(wanted);
        names.split(' ').for_each(|name| nearest.consider(name.as_bytes()));
        assert_eq!(nearest.names().join(" "), expected);
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, wanted) in
            [("", "", 0), ("", "ab", 2), ("ab", "", 2), ("kitten", "sitting", 3), ("pool", "polo", 2)]
        {
            assert_eq!(edits(from.as_bytes(), to.as_bytes()), wanted, "{from} {to}");
            assert_eq!(edits(to.as_bytes(), from.as_bytes()), wanted, "{to} {from}");
        }
    }

    #[test]
    fn a_typing_error_is_recognised_and_other_names_are_not() {
        check("pool_allot", "pool_free main pool_alloc pool_allow", "`pool_alloc` `pool_allow`");
        check("POOL_ALLOC", "pool_alloc", "`pool_alloc`");
        check("pool_alloc", "main printf exit", "");
        check("f", "g", "`g`");
        check("f", "main", "");
    }

    #[test]
    fn a_mangled_name_is_found_by_its_plain_part() {
        check("allocate", "_ZN4Pool8allocateEm main", "`_ZN4Pool8allocateEm` (Pool::allocate(unsigned long))");
    }

    #[test]
    fn a_name_of_the_source_is_answered_with_the_mangled_ones() {
        let names = "_ZN4Pool5allocEm _ZN4Pool5allocEmm _ZN4Pool4freeEPv _ZN7Whirl5allocEm main";
        let both = "`_ZN4Pool5allocEm` (Pool::alloc(unsigned long)) \
             `_ZN4Pool5allocEmm` (Pool::alloc(unsigned long, unsigned long))";
        check("Pool::alloc", names, both);
        check("Pool::alloc(unsigned long)", names, "`_ZN4Pool5allocEm` (Pool::alloc(unsigned long))");
        check(
            "Pool::alloc(unsigned long,unsigned long)",
            names,
            &both[both.find(" `_ZN4Pool5allocEmm").unwrap() + 1..],
        );
        check("ool::alloc", names, "");
        // In a namespace, a template with a result, a constant method; and Rust's.
        check("Pool::alloc", "_ZN2my4Pool5allocEm", "`_ZN2my4Pool5allocEm` (my::Pool::alloc(unsigned long))");
        check("take<int>", "_Z4takeIiEPvT_", "`_Z4takeIiEPvT_` (void* take<int>(int))");
        check("Pool::size", "_ZNK4Pool4sizeEv", "`_ZNK4Pool4sizeEv` (Pool::size() const)");
        check(
            "pool::take",
            "_RNvNtCs1234_7mycrate4pool4take",
            "`_RNvNtCs1234_7mycrate4pool4take` (mycrate::pool::take)",
        );
    }

    #[test]
    fn parameters_are_told_from_the_name() {
        for (name, expected) in [
            ("Pool::alloc(unsigned long)", "Pool::alloc"),
            ("f(void (*)(int)) const", "f"),
            ("A::operator()(int)", "A::operator()"),
            ("(anonymous namespace)::take(int)", "(anonymous namespace)::take"),
            ("take", "take"),
            ("(", "("),
            ("(int)", "(int)"),
        ] {
            assert_eq!(without_parameters(name), expected, "{name}");
        }
    }

    #[test]
    fn no_more_than_a_few_are_named_and_none_twice() {
        let many: Vec<String> = (0..30).map(|number| format!("pool_alloc{number}")).collect();
        let mut nearest = Nearest::to("pool_alloc");
        for name in many.iter().chain(&many) {
            nearest.consider(name.as_bytes());
        }
        let names = nearest.names();
        assert_eq!(names, ["`pool_alloc0`", "`pool_alloc1`", "`pool_alloc10`"]);
        check(&"x".repeat(NEAREST_NAME_MAX + 1), &"x".repeat(NEAREST_NAME_MAX + 1), "");
    }

    #[test]
    fn real_tables_are_looked_through() {
        let source = "void *arena_take(int n) { return (char *)0 + n; } int main(void) { return 0; }";
        let module = compile("a.c", source, "-O0");
        let mut nearest = Nearest::to("arena_tkae");
        nearest.look_into(&module.bytes());
        nearest.look_into(b"no module");
        assert_eq!(nearest.names(), ["`arena_take`"]);
    }
}
