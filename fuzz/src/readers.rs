//! What reads the inputs, and what must be true of the result whatever the input was.
//!
//! Owns: the calls into each crate. Must not know: where inputs come from.

use std::io;
use std::path::Path;

use model::{ProcessMetric, Source};
use recording::{Entry, Input, Lock, Output, Recording, Store};
use stacks::module::{ModuleLayout, load_bias, module_layout, symbols};
use stacks::symbols::{DebugReferences, ModuleSymbols, Nearest, Pool, Sources};
use stacks::unwind::compile;

/// Addresses that are named in each file.
const ADDRESSES: usize = 24;
const PAGE: u64 = 4096;

/// Segments, symbols, references to debug files: what an attach looks at first.
pub(crate) fn elf(bytes: &[u8]) {
    let Ok(layout) = module_layout(bytes) else { return };
    for load in &layout.loads {
        for executable in [true, false] {
            let bias = load_bias(&layout, 0x7f00_0000_0000, load.file_offset & !(PAGE - 1), executable);
            assert!(bias.is_none_or(|bias| bias.is_multiple_of(PAGE)), "a module is loaded at a page");
        }
        layout.file_offset(load.vaddr);
    }
    for symbol in symbols(bytes, &["malloc", "free", "main", "outer", "_Znwm"]).unwrap_or_default() {
        layout.is_code(symbol.vaddr.wrapping_add(symbol.size));
    }
    let references = DebugReferences::of(bytes);
    let folders = ["/tmp".into()];
    for candidate in references.debug_files(Path::new("/usr/bin/x"), &folders) {
        candidate.proof.holds(bytes);
    }
    references.supplements(Path::new("/usr/bin/x"), &folders);
    let mut nearest = Nearest::to("outer");
    nearest.look_into(bytes);
    assert!(nearest.names().len() <= 3);
}

/// Unwind rows of a module.
pub(crate) fn unwind(bytes: &[u8]) {
    let Ok(rows) = compile(bytes) else { return };
    assert_eq!(rows.starts.len(), rows.rules.len(), "each row has one rule");
    assert!(rows.starts.is_sorted_by(|one, next| one < next), "rows rise strictly");
    let ends = [0, 1, u32::MAX];
    for offset in rows.starts.iter().copied().step_by(1 + rows.starts.len() / 64).chain(ends) {
        rows.rule_at(offset);
    }
}

/// Functions and lines of addresses, from symbol tables, DWARF and `MiniDebugInfo`.
pub(crate) fn names(bytes: &[u8]) {
    let Ok(layout) = module_layout(bytes) else { return };
    let pool = Pool::new(64);
    let sources = Sources { module: bytes, debug: Some(bytes), supplement: Some(bytes), package: Some(bytes) };
    for sources in [Sources { module: bytes, ..Sources::default() }, sources] {
        let all = ModuleSymbols::new(sources, &pool);
        for address in addresses(bytes, &layout) {
            let frames = all.frames(address, |_| Some(bytes));
            assert!(!frames.is_empty(), "each address is at least one frame");
            let harmless = |text: &str| !text.chars().any(char::is_control);
            for frame in frames {
                assert!(frame.function.as_known().is_none_or(|function| harmless(&function.name)));
                assert!(frame.line.as_known().is_none_or(|line| harmless(&line.file)));
            }
        }
    }
}

/// Beginnings and middles of what the file says is code, functions first.
fn addresses(bytes: &[u8], layout: &ModuleLayout) -> Vec<u64> {
    let functions = symbols(bytes, &["main", "outer", "_start", "_init", "__gmon_start__"]).unwrap_or_default();
    let mut all: Vec<u64> =
        functions.iter().flat_map(|symbol| [symbol.vaddr, symbol.vaddr.wrapping_add(symbol.size / 2 + 2)]).collect();
    for load in layout.loads.iter().filter(|load| load.executable) {
        all.extend((0..8).map(|part| load.vaddr.wrapping_add(load.memory_size / 8 * part + 5)));
    }
    all.extend([0, 1, u64::MAX]);
    all.truncate(ADDRESSES);
    all
}

/// Everything that the kernel and the user database write.
pub(crate) fn text(bytes: &[u8]) {
    for mapping in formats::maps::parse(bytes) {
        assert!(mapping.addresses.start < mapping.addresses.end, "a mapping has a size");
        mapping.path();
    }
    formats::maps::malformed(bytes);
    formats::smaps::parse(bytes).count();
    formats::smaps::rollup(bytes);
    formats::stat::parse(bytes);
    formats::status::parse(bytes);
    formats::process_limits::parse(bytes).count();
    if let model::Reading::Known(group) = formats::cgroup::parse(bytes) {
        formats::cgroup::container(group.path);
    }
    formats::meminfo::parse(bytes);
    formats::entries::parse(bytes).count();
    formats::buddyinfo::parse(bytes).for_each(|zone| {
        assert!(zone.unusable_thousandths(9).is_none_or(|share| share <= 1000), "a share is at most the whole");
    });
    formats::swaps::parse(bytes).count();
    formats::load::parse(bytes);
    formats::load::uptime_ms(bytes);
    formats::load::descriptors(bytes);
    formats::shared_memory::parse(bytes).count();
    formats::slabinfo::parse(bytes).count();
    formats::pressure::parse(bytes);
    formats::passwd::parse(bytes).count();
    formats::memory::limit(bytes);
    formats::memory::usage(bytes);
    formats::memory::reclaimable(bytes, true);
    if let Some(record) = formats::kernel_log::parse(bytes) {
        record.message();
    }
}

/// A recording of which this is the only segment.
pub(crate) fn segment(bytes: &[u8]) {
    let name = if bytes.get(10) == Some(&b'S') { "00000001.segment" } else { "00000001.log" };
    let store = Kept { name, bytes: bytes.to_vec() };
    let Ok(recording) = Recording::open_in(Box::new(store)) else { return };
    let whole = 0..u64::MAX;
    recording.processes();
    for metric in ProcessMetric::ALL.into_iter().take(3) {
        let series = recording.series(metric, whole.clone(), 20, |_| true);
        assert!(series.iter().all(|series| series.points.len() <= 20), "no more points than asked for");
    }
    for source in Source::ALL.into_iter().take(3) {
        recording.figure_series(source, whole.clone(), 20);
        recording.figure_keys(source);
    }
    recording.events(whole.clone()).count();
    recording.beats(whole).count();
    recording.info();
}

/// A place with one segment in it.
#[derive(Debug)]
struct Kept {
    name: &'static str,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Store for Kept {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let entry = |name: &str, bytes: usize| Entry { name: name.to_owned(), bytes: bytes as u64 };
        Ok(vec![entry("RECORDING", 0), entry(self.name, self.bytes.len())])
    }

    fn create(&mut self, _: &str) -> io::Result<Box<dyn Output>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Input>> {
        if name == self.name { Ok(Box::new(Bytes(self.bytes.clone()))) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn remove(&mut self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn lock(&mut self) -> io::Result<Lock> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Input for Bytes {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        buffer.copy_from_slice(self.0.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn sound_inputs_are_read_deeply() {
        for seed in seeds::elf_files() {
            elf(&seed);
            unwind(&seed);
            names(&seed);
            let layout = module_layout(&seed).unwrap();
            assert!(addresses(&seed, &layout).len() > 3);
        }
        for seed in seeds::segments() {
            segment(&seed);
            let name = if seed.get(10) == Some(&b'S') { "00000001.segment" } else { "00000001.log" };
            let recording = Recording::open_in(Box::new(Kept { name, bytes: seed })).unwrap();
            assert!(recording.info().beats > 0 && recording.beats(0..u64::MAX).count() > 0);
        }
        for seed in seeds::texts() {
            text(&seed);
        }
    }
}
