//! The agent as it is loaded: a few pages of code and one page for the link to the shared memory.
//!
//! Owns: where its parts lie, relative to its start. Must not know: where it is put.

use std::io;

use stacks::module::{module_layout, symbols};
use wire::Link;

/// Built by `build.rs`.
static AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/image/libagent.so"));

const PAGE: u64 = 4096;

/// What a hooked function does, which decides the hook that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Malloc,
    Free,
    Calloc,
    Realloc,
    Reallocarray,
    Memalign,
    PosixMemalign,
    Valloc,
    /// Frees, perhaps by way of another hooked function.
    Delete,
    /// `operator new(size, alignment)`, made by a function with the arguments the other way round.
    NewAligned,
    /// The size is the product of the second and third argument.
    ProductOfLast,
    /// Resizes its second argument to the third.
    ReallocSecond,
    /// Maps memory.
    Maps,
    /// Unmaps memory.
    Unmaps,
    /// Moves or resizes a mapping.
    Remaps,
    /// Sets the break.
    Breaks,
    /// Attaches a System V segment.
    Attaches,
    /// Detaches a System V segment.
    Detaches,
    /// Makes a thread.
    CreatesThread,
    /// Waits for the end of a thread.
    JoinsThread,
    /// Joins a thread if it has ended.
    TriesToJoinThread,
    /// Detaches a thread.
    DetachesThread,
    /// Returns a descriptor.
    Opens,
    /// Has a descriptor, inside the function that returns it.
    Opened,
    /// Makes its second argument a descriptor.
    Duplicates,
    /// `fcntl`.
    Controls,
    /// `signalfd`.
    OpensSignals,
    /// Writes two descriptors to where its first argument points.
    OpensTwo,
    /// Writes two descriptors to where its fourth argument points.
    OpensTwoFourth,
    /// Returns a `FILE` of musl.
    OpensFile,
    /// Returns a `DIR` of musl.
    OpensDirectory,
    /// Closes its first argument.
    Closes,
    /// Closes a `FILE` of musl.
    ClosesFile,
    /// Closes a `DIR` of musl.
    ClosesDirectory,
    /// Closes descriptors from the first to the second argument.
    ClosesRange,
    /// Closes descriptors from the first argument on.
    ClosesFrom,
    /// Makes a child.
    Forks,
    /// Makes a child in the same memory.
    Vforks,
    /// Makes a child that runs another program.
    Spawns,
    /// The size is the product of the first two of more than three arguments.
    WideProduct,
    /// The size is the second of more than three arguments.
    WideSizeSecond,
    /// The size is the product of the second and third of more than three arguments.
    WideProductSecond,
    /// Resizes the first of more than three arguments to the second.
    WideResize,
    /// Resizes the first of more than three arguments to the product of the next two.
    WideResizeProduct,
    /// Resizes the second of more than three arguments to the third.
    WideResizeSecond,
    /// Resizes the second of more than three arguments to the product of the next two.
    WideResizeProductSecond,
    /// Resizes the first argument in place, as far as it can.
    WideInPlace,
    /// Ends the process.
    Exit,
    /// Executes another program.
    Execute,
    /// Is called when libraries were loaded or unloaded.
    Loads,
    /// Finds the unwind table of a code address.
    FindsTable,
    /// A function that the user named: the size is its first parameter.
    NamedFirst,
    /// The same with the second.
    NamedSecond,
    /// The same with the third.
    NamedThird,
    /// The size is the product of the first two.
    NamedProduct,
    /// The size is the product of the second and third.
    NamedProductSecond,
    /// Resizes its first parameter to the second.
    NamedResizes,
    /// Resizes its first parameter to the product of the next two.
    NamedResizesProduct,
    /// Resizes its second parameter to the third.
    NamedResizesSecond,
    /// Frees its first parameter.
    NamedFrees,
    /// Frees its second parameter.
    NamedFreesSecond,
    /// Frees its third parameter.
    NamedFreesThird,
}

impl Hook {
    /// Whether the function ends the program rather than being one of its allocator's.
    pub(crate) fn ends(self) -> bool {
        matches!(self, Self::Exit | Self::Execute)
    }

    /// Whether a block that passes unseen would look like a leak.
    pub(crate) fn releases(self) -> bool {
        matches!(
            self,
            Self::Free
                | Self::Delete
                | Self::NamedFrees
                | Self::NamedFreesSecond
                | Self::NamedFreesThird
                | Self::NamedResizes
                | Self::NamedResizesProduct
                | Self::NamedResizesSecond
                | Self::Realloc
                | Self::Reallocarray
                | Self::ReallocSecond
        )
    }
}

impl Hook {
    /// Whether the function has more than three arguments.
    pub(crate) fn is_wide(self) -> bool {
        matches!(
            self,
            Self::WideProduct
                | Self::WideSizeSecond
                | Self::WideProductSecond
                | Self::WideResize
                | Self::WideResizeProduct
                | Self::WideResizeSecond
                | Self::WideResizeProductSecond
                | Self::WideInPlace
        )
    }

    /// Whether the function does little else than one system call.
    pub(crate) fn is_system_call(self) -> bool {
        matches!(
            self,
            Self::Maps
                | Self::Unmaps
                | Self::Remaps
                | Self::Breaks
                | Self::Opens
                | Self::Opened
                | Self::Duplicates
                | Self::Closes
                | Self::OpensTwo
                | Self::OpensTwoFourth
        )
    }
}

const HOOKS: [(Hook, &str); 62] = [
    (Hook::Malloc, "leakline_malloc"),
    (Hook::Free, "leakline_free"),
    (Hook::Calloc, "leakline_calloc"),
    (Hook::Realloc, "leakline_realloc"),
    (Hook::Reallocarray, "leakline_reallocarray"),
    (Hook::Memalign, "leakline_memalign"),
    (Hook::PosixMemalign, "leakline_posix_memalign"),
    (Hook::Valloc, "leakline_valloc"),
    (Hook::Delete, "leakline_delete"),
    (Hook::NewAligned, "leakline_new_aligned"),
    (Hook::ProductOfLast, "leakline_product_of_last"),
    (Hook::ReallocSecond, "leakline_realloc_second"),
    (Hook::Maps, "leakline_maps"),
    (Hook::Unmaps, "leakline_unmaps"),
    (Hook::Remaps, "leakline_remaps"),
    (Hook::Breaks, "leakline_breaks"),
    (Hook::Attaches, "leakline_attaches"),
    (Hook::Detaches, "leakline_detaches"),
    (Hook::CreatesThread, "leakline_creates_thread"),
    (Hook::JoinsThread, "leakline_joins_thread"),
    (Hook::TriesToJoinThread, "leakline_tries_to_join_thread"),
    (Hook::DetachesThread, "leakline_detaches_thread"),
    (Hook::Opens, "leakline_opens"),
    (Hook::Opened, "leakline_opened"),
    (Hook::Duplicates, "leakline_duplicates"),
    (Hook::Controls, "leakline_controls"),
    (Hook::OpensSignals, "leakline_opens_signals"),
    (Hook::OpensTwo, "leakline_opens_two"),
    (Hook::OpensTwoFourth, "leakline_opens_two_fourth"),
    (Hook::OpensFile, "leakline_opens_file"),
    (Hook::OpensDirectory, "leakline_opens_directory"),
    (Hook::Closes, "leakline_closes"),
    (Hook::ClosesFile, "leakline_closes_file"),
    (Hook::ClosesDirectory, "leakline_closes_directory"),
    (Hook::ClosesRange, "leakline_closes_range"),
    (Hook::ClosesFrom, "leakline_closes_from"),
    (Hook::Forks, "leakline_forks"),
    (Hook::Vforks, "leakline_vforks"),
    (Hook::Spawns, "leakline_spawns"),
    (Hook::WideProduct, "leakline_wide_product"),
    (Hook::WideSizeSecond, "leakline_wide_size_second"),
    (Hook::WideProductSecond, "leakline_wide_product_second"),
    (Hook::WideResize, "leakline_wide_resize"),
    (Hook::WideResizeProduct, "leakline_wide_resize_product"),
    (Hook::WideResizeSecond, "leakline_wide_resize_second"),
    (Hook::WideResizeProductSecond, "leakline_wide_resize_product_second"),
    (Hook::WideInPlace, "leakline_wide_in_place"),
    (Hook::Exit, "leakline_exit"),
    (Hook::Execute, "leakline_execute"),
    (Hook::Loads, "leakline_loads"),
    (Hook::FindsTable, "leakline_finds_table"),
    (Hook::NamedFirst, "leakline_named_first"),
    (Hook::NamedSecond, "leakline_named_second"),
    (Hook::NamedThird, "leakline_named_third"),
    (Hook::NamedProduct, "leakline_named_product"),
    (Hook::NamedProductSecond, "leakline_named_product_second"),
    (Hook::NamedResizes, "leakline_named_resizes"),
    (Hook::NamedResizesProduct, "leakline_named_resizes_product"),
    (Hook::NamedResizesSecond, "leakline_named_resizes_second"),
    (Hook::NamedFrees, "leakline_named_frees"),
    (Hook::NamedFreesSecond, "leakline_named_frees_second"),
    (Hook::NamedFreesThird, "leakline_named_frees_third"),
];

/// What stubs that decide by themselves jump to.
const COUNTS: &str = "leakline_counts";
const COUNTS_BY_CRC32: &str = "leakline_counts_by_crc32";
const FREES: &str = "leakline_frees";
const LOOKS: &str = "leakline_looks";

/// Whether the processor, which is that of the targets as well, has the instruction by which remembered stacks are proven the fastest.
pub(crate) fn has_crc32() -> bool {
    std::arch::is_x86_feature_detected!("sse4.2")
}

/// The agent, ready to be written anywhere.
#[derive(Debug)]
pub(crate) struct Image {
    /// Code and constants, up to the page of the link.
    pub(crate) code: Vec<u8>,
    /// Offset of the page that holds the link; it is as long as one page.
    pub(crate) link_page: u64,
    /// Offset of the link.
    pub(crate) link: u64,
    hooks: Vec<(Hook, u64)>,
    /// Offset of what records a block that a stub decided to record, ...
    pub(crate) counts: u64,
    /// ... and of what takes one out.
    pub(crate) frees: u64,
    /// Offset of what a stub does of a free while blocks are sampled, where its block may be recorded.
    pub(crate) looks: u64,
}

impl Image {
    /// Lays the embedded file out as its program headers say.
    pub(crate) fn load() -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the embedded agent {what}"));
        let layout = module_layout(AGENT).map_err(|error| bad(&error.to_string()))?;
        let writable = layout.loads.iter().find(|load| load.writable).ok_or_else(|| bad("has no link"))?;
        // The link is the last of what is writable; what lies before is for dynamic linkers, and needed by nobody.
        let end = writable.vaddr + writable.memory_size;
        let link = end.saturating_sub(size_of::<Link>() as u64);
        let link_page = link & !(PAGE - 1);
        if end > link_page + PAGE {
            return Err(bad("has its link on two pages"));
        }
        let mut code = vec![0; link_page as usize];
        for load in layout.loads.iter().filter(|load| !load.writable) {
            let bytes = AGENT.get(load.file_offset as usize..(load.file_offset + load.file_size) as usize);
            let place = code.get_mut(load.vaddr as usize..(load.vaddr + load.file_size) as usize);
            match (place, bytes) {
                (Some(place), Some(bytes)) => place.copy_from_slice(bytes),
                _ => return Err(bad("has segments out of order")),
            }
        }
        let counts = if has_crc32() { COUNTS_BY_CRC32 } else { COUNTS };
        let names: Vec<&str> = HOOKS.iter().map(|(_, name)| *name).chain([counts, FREES, LOOKS]).collect();
        let found = symbols(AGENT, &names).map_err(|error| bad(&error.to_string()))?;
        let address = |name: &str| found.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.vaddr);
        let hooks = HOOKS.iter().map(|(hook, name)| Some((*hook, address(name)?))).collect::<Option<Vec<_>>>();
        let (Some(hooks), [Some(counts), Some(frees), Some(looks)]) = (hooks, [counts, FREES, LOOKS].map(address))
        else {
            return Err(bad("lacks a hook"));
        };
        Ok(Self { code, link_page, link, hooks, counts, frees, looks })
    }

    /// Offset of the code of a hook.
    pub(crate) fn hook(&self, hook: Hook) -> u64 {
        self.hooks.iter().find(|(known, _)| *known == hook).map_or(0, |(_, at)| *at)
    }

    /// Bytes from the start to the end of the link's page.
    pub(crate) fn len(&self) -> u64 {
        self.link_page + PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_small_and_complete() {
        let image = Image::load().unwrap();
        assert!(image.len() <= 84 * 1024, "{} bytes", image.len());
        assert!(image.link >= image.link_page && image.link.is_multiple_of(8));
        for (hook, name) in HOOKS {
            assert!(image.hook(hook) != 0 && image.hook(hook) < image.link_page, "{name}");
        }
    }

    /// It is loaded without a linker: a relocation would stay undone, an import would lead nowhere.
    #[test]
    fn the_agent_needs_no_linker() {
        let readelf = |option: &str| {
            let file = concat!(env!("OUT_DIR"), "/image/libagent.so");
            #[expect(clippy::disallowed_methods, reason = "an independent reader of the file")]
            let output = std::process::Command::new("readelf").args([option, "-W", file]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(readelf("-r").contains("There are no relocations"), "{}", readelf("-r"));
        let imports: Vec<String> = readelf("--dyn-syms")
            .lines()
            .filter(|line| line.contains(" UND ") && line.contains("GLOBAL"))
            .map(String::from)
            .collect();
        assert!(imports.is_empty(), "{imports:?}");
        // The only writable words are the link.
        assert!(!readelf("-S").contains(" .data "), "{}", readelf("-S"));
    }
}
