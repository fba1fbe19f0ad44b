//! The agent as it is loaded: a few pages of code and one page for the link to the shared memory.
//!
//! Owns: where its parts lie, relative to its start. Must not know: where it is put.

use std::io;

use stacks::module::{module_layout, symbols};

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
    /// Frees its second argument.
    DeleteSecond,
    /// Frees its third argument.
    DeleteThird,
    /// `operator new(size, alignment)`, made by a function with the arguments the other way round.
    NewAligned,
    /// The size is the third argument.
    SizeThird,
    /// The size is the product of the second and third argument.
    ProductOfLast,
    /// Resizes its second argument to the third.
    ReallocSecond,
}

impl Hook {
    /// Whether a block that passes unseen would look like a leak.
    pub(crate) fn releases(self) -> bool {
        matches!(
            self,
            Self::Free
                | Self::Delete
                | Self::DeleteSecond
                | Self::DeleteThird
                | Self::Realloc
                | Self::Reallocarray
                | Self::ReallocSecond
        )
    }
}

const HOOKS: [(Hook, &str); 15] = [
    (Hook::Malloc, "leakline_malloc"),
    (Hook::Free, "leakline_free"),
    (Hook::Calloc, "leakline_calloc"),
    (Hook::Realloc, "leakline_realloc"),
    (Hook::Reallocarray, "leakline_reallocarray"),
    (Hook::Memalign, "leakline_memalign"),
    (Hook::PosixMemalign, "leakline_posix_memalign"),
    (Hook::Valloc, "leakline_valloc"),
    (Hook::Delete, "leakline_delete"),
    (Hook::DeleteSecond, "leakline_delete_second"),
    (Hook::DeleteThird, "leakline_delete_third"),
    (Hook::NewAligned, "leakline_new_aligned"),
    (Hook::SizeThird, "leakline_size_third"),
    (Hook::ProductOfLast, "leakline_product_of_last"),
    (Hook::ReallocSecond, "leakline_realloc_second"),
];

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
}

impl Image {
    /// Lays the embedded file out as its program headers say.
    pub(crate) fn load() -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the embedded agent {what}"));
        let layout = module_layout(AGENT).map_err(|error| bad(&error.to_string()))?;
        let writable = layout.loads.iter().find(|load| load.writable).ok_or_else(|| bad("has no link"))?;
        let end = writable.vaddr + writable.memory_size;
        let link_page = writable.vaddr & !(PAGE - 1);
        if end > link_page + PAGE {
            return Err(bad("has more than a page of data"));
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
        let names: Vec<&str> = HOOKS.iter().map(|(_, name)| *name).collect();
        let found = symbols(AGENT, &names).map_err(|error| bad(&error.to_string()))?;
        let address = |name: &str| found.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.vaddr);
        let hooks = HOOKS.iter().map(|(hook, name)| Some((*hook, address(name)?))).collect::<Option<Vec<_>>>();
        Ok(Self { code, link_page, link: end - 8, hooks: hooks.ok_or_else(|| bad("lacks a hook"))? })
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
        assert!(image.len() < 64 * 1024, "{} bytes", image.len());
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
        // The one writable word is the link.
        assert!(!readelf("-S").contains(" .data "), "{}", readelf("-S"));
    }
}
