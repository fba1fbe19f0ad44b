//! Everything about an attach that can be known before the target is touched.
//!
//! Owns: the plan. Must not know: how it is carried out.

use std::io;

use formats::maps::{self, Mapping};

use super::arch::{self, Relocation, SITE_BYTES};
use super::code::CodeTables;
use super::error::AttachError;
use super::functions::{self, Allocator, Site};
use super::image::{Hook, Image};
use super::load::{Wanted, gadgets};
use super::place;
use super::remote::Gadgets;
use super::target::Target;

const PAGE: u64 = 4096;
/// Chunks of shadow that there is room for: 512 GiB of heap. Only what is used becomes memory.
const CHUNKS: u32 = 8192;

/// A plan for one target.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) image: Image,
    pub(crate) allocator: String,
    pub(crate) functions: Vec<String>,
    pub(crate) unhooked: Vec<String>,
    pub(crate) relocations: Vec<Relocation>,
    pub(crate) gadgets: Gadgets,
    pub(crate) wanted: Wanted,
    pub(crate) code: CodeTables,
    pub(crate) granule_shift: u32,
    pub(crate) chunks: u32,
    pub(crate) main_stack: (u64, u64),
}

impl Plan {
    /// Looks at everything that is mapped and decides what goes where.
    pub(crate) fn make(target: &Target, text: &[u8]) -> Result<Self, AttachError> {
        let pid = target.pid();
        let mappings: Vec<Mapping<'_>> = maps::parse(text).collect();
        let step = |step: &'static str| move |found: String| AttachError::Step { pid, step, found };
        let image = Image::load().map_err(|error| step("load the agent")(error.to_string()))?;
        let Allocator { sites, described, granule_shift, looked_at } = functions::find(target, &mappings);
        let missing = |found: String| AttachError::NoAllocator { pid, found };
        if !sites.iter().any(|site| site.hook == Hook::Malloc) {
            return Err(missing(looked_at.join("; ")));
        }
        let gadgets = gadgets(target, &mappings)
            .ok_or_else(|| step("find instructions for system calls")("its code has no `syscall; ret`".into()))?;
        let len = image.len() + (sites.len() as u64 * SITE_BYTES as u64).next_multiple_of(PAGE);
        let near: Vec<u64> = sites.iter().map(|site| site.at).collect();
        let code_at = place::near(&mappings, &near, len)
            .ok_or_else(|| missing("its allocator functions lie too far from each other or from free memory".into()))?;
        let shared_len = wire::file_len(CHUNKS, granule_shift);
        let shared_at = place::far(&mappings, shared_len)
            .ok_or_else(|| step("find room for the shared memory")("its address space has no gap that large".into()))?;
        let hooked = hook_all(&sites, code_at, &image);
        if let Some(reason) = lacking(&hooked.unhooked) {
            return Err(missing(reason));
        }
        let mut code = CodeTables::default();
        code.learn(target, &mappings);
        Ok(Self {
            wanted: Wanted { code_at, code_len: len, link_page: image.link_page, shared_at, shared_len },
            image,
            allocator: described,
            functions: hooked.functions,
            unhooked: hooked.unhooked.into_iter().map(|(_, reason)| reason).collect(),
            relocations: hooked.relocations,
            gadgets,
            code,
            granule_shift,
            chunks: CHUNKS,
            main_stack: main_stack(&mappings),
        })
    }

    /// The bytes of the agent and of all sites, with the address of each part.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let sites = self.relocations.iter().map(|relocation| (relocation.site_at, relocation.site.as_slice()));
        std::iter::once((self.wanted.code_at, self.image.code.as_slice())).chain(sites)
    }

    /// Whether what was learnt of the target is still so: the mappings of its code have not changed.
    pub(crate) fn still_holds(&self, target: &Target) -> io::Result<bool> {
        for relocation in &self.relocations {
            if target.read_exactly(relocation.at, relocation.before.len())? != relocation.before {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[derive(Debug, Default)]
struct Hooked {
    relocations: Vec<Relocation>,
    functions: Vec<String>,
    unhooked: Vec<(Hook, String)>,
}

fn hook_all(sites: &[Site], code_at: u64, image: &Image) -> Hooked {
    let mut hooked = Hooked::default();
    for (i, site) in sites.iter().enumerate() {
        let site_at = code_at + image.len() + (i * SITE_BYTES) as u64;
        match arch::relocate(&site.code, site.at, site_at, code_at + image.hook(site.hook)) {
            Ok(relocation) => {
                hooked.relocations.push(relocation);
                if !hooked.functions.contains(&site.name) {
                    hooked.functions.push(site.name.clone());
                }
            }
            Err(error) => hooked.unhooked.push((site.hook, format!("{}: {error}", site.name))),
        }
    }
    hooked
}

/// Without these the figures would be wrong: a block that is freed unseen would look like a leak.
fn lacking(unhooked: &[(Hook, String)]) -> Option<String> {
    let needed = |hook: &Hook| matches!(hook, Hook::Malloc | Hook::Free | Hook::Realloc);
    unhooked.iter().find(|(hook, _)| needed(hook)).map(|(_, reason)| format!("cannot hook {reason}"))
}

fn main_stack(mappings: &[Mapping<'_>]) -> (u64, u64) {
    let stack = mappings.iter().find(|mapping| mapping.name == b"[stack]");
    stack.map_or((0, 0), |mapping| (mapping.addresses.start, mapping.addresses.end))
}
