//! The process that reads: it says the number of each case before it begins it, and dies of whatever is wrong.
//!
//! Owns: the bounds that it puts on itself, and the order of cases. Must not know: what becomes of a failure.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::chance::Chance;
use crate::mutate::mutated;
use crate::{Target, target};

/// Address space of a worker: enough for the greatest bounds of the parsers together, and far from what a lie could ask for.
const MEMORY_MAX: u64 = 1 << 30;
/// As the thread has that looks names up.
const STACK_BYTES: usize = 8 << 20;

/// Reads the corpus and then one case after the other from this number on, until it is killed.
pub(crate) fn run(name: &str, seed: &str, first: &str) -> Result<(), String> {
    let target = target(name)?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let (seed, first) = (number(seed)?, number(first)?);
    let limit = Rlimit { current: Some(MEMORY_MAX), maximum: Some(MEMORY_MAX) };
    let seeds = (target.seeds)();
    setrlimit(Resource::As, limit).map_err(|error| format!("the memory cannot be bounded: {error}"))?;
    let kept = corpus(target.name);
    on_stack(move || {
        for number in first.. {
            writeln!(io::stdout(), "{number}").map_err(|error| error.to_string())?;
            (target.read)(&input(target, &seeds, &kept, seed, number));
        }
        Ok(())
    })
}

/// Reads one file, without bounds.
pub(crate) fn one(name: &str, file: &str) -> Result<(), String> {
    let target = target(name)?;
    let input = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    on_stack(move || {
        (target.read)(&input);
        Ok(())
    })
}

/// The input of a case: a file of the corpus while there are any, then damaged seeds.
pub(crate) fn input(target: Target, seeds: &[Vec<u8>], corpus: &[PathBuf], seed: u64, number: u64) -> Vec<u8> {
    if let Some(path) = usize::try_from(number).ok().and_then(|number| corpus.get(number)) {
        return std::fs::read(path).unwrap_or_default();
    }
    let mut chance = Chance::new(seed, number);
    let sound = seeds.get(chance.below(seeds.len())).map(Vec::as_slice).unwrap_or_default();
    mutated(target.form, sound, &mut chance)
}

/// What has failed before, in order of name.
pub(crate) fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn on_stack(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).map_err(|error| error.to_string())?;
    thread.join().map_err(|_| "a case panicked".to_owned())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_the_same_each_time() {
        let target = target("text").unwrap();
        let seeds = vec![b"a 1\nb 22\n".to_vec(), b"c: 3 kB\n".to_vec()];
        for number in 0..50 {
            assert_eq!(input(target, &seeds, &[], 5, number), input(target, &seeds, &[], 5, number));
        }
        assert!((0..50).any(|number| !seeds.contains(&input(target, &seeds, &[], 5, number))));
    }
}
