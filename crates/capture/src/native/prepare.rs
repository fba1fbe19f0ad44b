//! Everything about an attach that can be known before the target is touched.
//!
//! Owns: the plan. Must not know: how it is carried out.

use std::borrow::Cow;
use std::io;

use formats::maps::{self, Mapping};
use model::Kinds;

use wire::{CODE_AREAS_MORE, PATCHES_MAX};

use super::arch::{self, Decides, PatchError, Relocation, SITE_BYTES, Size, Stub};
use super::arm::{Changed, lies_on_two_pages};
use super::code::{CodeTables, Compiled};
use super::custom::Custom;
use super::error::AttachError;
use super::families::Form;
use super::functions::{self, Allocator, Site, Unwinders};
use super::image::{Hook, Image};
use super::load::{Wanted, gadgets};
use super::note::{self, Note};
use super::place::{self, Area, Areas};
use super::remote::Gadgets;
use super::target::Target;
use crate::sys::process::Ahead;

/// Code from which on two threads look at it.
const LARGE_BYTES: u64 = 16 << 20;

/// A plan for one target.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) image: Image,
    pub(crate) allocator: String,
    pub(crate) functions: Vec<String>,
    pub(crate) unhooked: Vec<String>,
    pub(crate) relocations: Vec<Relocation>,
    pub(crate) note: Note,
    pub(crate) gadgets: Gadgets,
    pub(crate) wanted: Wanted,
    pub(crate) code: CodeTables,
    pub(crate) granule_shift: u32,
    pub(crate) is_musl: bool,
    pub(crate) main_stack: (u64, u64),
}

impl Plan {
    /// Looks at everything that is mapped and decides what goes where.
    pub(crate) fn make(target: &Target, text: &[u8], custom: &[Custom], kinds: Kinds) -> Result<Self, AttachError> {
        let pid = target.pid();
        let mappings: Vec<Mapping<'_>> = maps::parse(text).collect();
        let step = |step: &'static str| move |found: String| AttachError::Step { pid, step, found };
        let image = Image::load().map_err(|error| step("load the agent")(error.to_string()))?;
        let (allocator, code) =
            look(target, &mappings, custom, kinds).map_err(|error| step("start a thread")(error.to_string()))?;
        let Allocator {
            mut sites,
            described,
            granule_shift,
            looked_at,
            mut nameless,
            runtimes,
            calls,
            loads,
            throws,
            unwinders,
        } = allocator;
        let missing = |found: String| AttachError::NoAllocator { pid, found, remedy: None };
        refuse_unnamed(target, &mappings, custom, &sites)?;
        if !kinds.heap {
            sites.clear();
            nameless.clear();
        } else if !sites.iter().any(|site| !site.hook().releases()) {
            let remedy = runtimes.first().map(|runtime| runtime.remedy(pid));
            let found = looked_at.into_iter().chain(nameless).collect::<Vec<_>>().join("; ");
            return Err(AttachError::NoAllocator { pid, found, remedy });
        }
        let gadgets = gadgets(target, &mappings)
            .ok_or_else(|| step("find instructions for system calls")("its code has no `syscall; ret`".into()))?;
        if kinds.heap && throws {
            sites.extend(unwinder(unwinders).map_err(missing)?);
        }
        // The allocator's come first, should there be too many.
        sites.extend(calls.sites);
        nameless.extend(calls.unhooked);
        if sites.is_empty() {
            return Err(missing("it has no C library whose functions could be hooked".into()));
        }
        sites.extend(loads);
        let refused = sites.split_off(sites.len().min(PATCHES_MAX));
        let Areas { areas, places } = room_for(&mappings, &mut sites, &image)
            .ok_or_else(|| missing("its allocator functions lie too far from each other or from free memory".into()))?;
        let shared_at = place::far(&mappings, wire::FILE_BYTES)
            .ok_or_else(|| step("find room for the shared memory")("its address space has no gap that large".into()))?;
        let wanted = wanted(&areas, image.link_page, shared_at, wire::FILE_BYTES);
        let mut hooked = hook_all(&sites, &places, (wanted.code_at, &image));
        hooked
            .unhooked
            .extend(refused.iter().map(|site| (site.hook(), format!("{}: too many functions", site.name()))));
        if let Some((found, remedy)) = lacking(&hooked) {
            return Err(AttachError::NoAllocator { pid, found, remedy });
        }
        let note = Note { code: wanted.code(), changed: hooked.changed() };
        Ok(Self {
            wanted,
            image,
            allocator: described,
            functions: hooked.functions,
            unhooked: hooked.unhooked.into_iter().map(|(_, reason)| reason).chain(nameless).collect(),
            note,
            relocations: hooked.relocations,
            gadgets,
            code,
            granule_shift,
            is_musl: calls.is_musl,
            main_stack: main_stack(&mappings),
        })
    }

    /// The bytes of the agent, of the note behind it and of all sites, with the address of each part.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u64, Cow<'_, [u8]>)> {
        let sites = self.relocations.iter().map(|relocation| (relocation.site_at, Cow::from(&relocation.site)));
        let note = (self.wanted.code_at + self.image.len(), Cow::from(self.note.bytes()));
        [(self.wanted.code_at, Cow::from(&self.image.code)), note].into_iter().chain(sites)
    }
}

/// Finds the functions and compiles the unwind tables. Of a large program either takes tens of milliseconds, so that it is done by two
/// threads; a new thread would be of no use for less, since it waits for its first turn on a busy machine.
fn look(
    target: &Target,
    mappings: &[Mapping<'_>],
    custom: &[Custom],
    kinds: Kinds,
) -> io::Result<(Allocator, CodeTables)> {
    let compiled = Compiled::default();
    let find = || functions::find(target, mappings, custom, (kinds, &compiled));
    let learn = || {
        let _ahead = Ahead::start();
        let mut code = CodeTables::default();
        code.learn_from(target, mappings, &compiled);
        code
    };
    let code_bytes: u64 = mappings.iter().filter(|mapping| mapping.permissions.execute).map(Mapping::size).sum();
    if code_bytes < LARGE_BYTES {
        let _ahead = Ahead::start();
        return Ok((find(), learn()));
    }
    std::thread::scope(|scope| {
        let learning = std::thread::Builder::new().name("unwind-tables".into()).spawn_scoped(scope, learn)?;
        // Only now: threads that were ahead when they began were seen to stay on one processor while another one was idle.
        let _ahead = Ahead::start();
        let allocator = find();
        let code =
            learning.join().map_err(|_| io::Error::other("the thread that compiles unwind tables ended early"))?;
        Ok((allocator, code))
    })
}

/// Refuses a function that the user named and no module has.
fn refuse_unnamed(
    target: &Target,
    mappings: &[Mapping<'_>],
    custom: &[Custom],
    sites: &[Site],
) -> Result<(), AttachError> {
    let is_found = |custom: &Custom| sites.iter().any(|site| site.names.iter().any(|name| name == custom.name()));
    let Some(custom) = custom.iter().find(|custom| !is_found(custom)) else { return Ok(()) };
    let function = custom.name().to_owned();
    let nearest = functions::nearest(target, mappings, &function);
    Err(AttachError::NoSuchFunction { pid: target.pid(), function, nearest })
}

/// What an exception that passes a hook has to find its way by.
fn unwinder(unwinders: Unwinders) -> Result<Vec<Site>, String> {
    match unwinders.other.filter(|_| unwinders.sites.is_empty()) {
        Some(other) => Err(format!(
            "{other} unwinds exceptions in a way of its own: one that passes a function that you named would end the program"
        )),
        None => Ok(unwinders.sites),
    }
}

/// Where all sites go. The one that tells of libraries is given up where there is no room near the dynamic linker: those are then
/// noticed a little later.
fn room_for(mappings: &[Mapping<'_>], sites: &mut Vec<Site>, image: &Image) -> Option<Areas> {
    let room = |sites: &[Site]| {
        let functions: Vec<u64> = sites.iter().map(|site| site.at).collect();
        let before = (image.len() + note::room(functions.len())).next_multiple_of(SITE_BYTES as u64);
        place::areas(mappings, &functions, before, SITE_BYTES as u64)
            .filter(|found| found.areas.len() <= 1 + CODE_AREAS_MORE)
    };
    room(sites).or_else(|| {
        sites.retain(|site| site.hook() != Hook::Loads);
        room(sites)
    })
}

fn wanted(areas: &[Area], link_page: u64, shared_at: u64, shared_len: u64) -> Wanted {
    let none = Area { at: 0, len: 0 };
    let first = areas.first().copied().unwrap_or(none);
    let mut more_code = [none; CODE_AREAS_MORE];
    for (place, area) in more_code.iter_mut().zip(areas.iter().skip(1)) {
        *place = *area;
    }
    Wanted { code_at: first.at, code_len: first.len, more_code, link_page, shared_at, shared_len }
}

#[derive(Debug, Default)]
struct Hooked {
    relocations: Vec<Relocation>,
    functions: Vec<String>,
    unhooked: Vec<(Hook, String)>,
    /// Functions of the allocator at which somebody has put a breakpoint.
    breakpoints: Vec<String>,
    /// Where those are by which an exception finds its way.
    unwinders: Vec<u64>,
    /// Where those are that the user named.
    named: Vec<u64>,
    callable: Vec<Callable>,
}

/// A function that can be called without its hook.
#[derive(Debug)]
struct Callable {
    module: usize,
    names: Vec<String>,
    at: u64,
}

fn hook_all(sites: &[Site], places: &[(usize, u64)], (code_at, image): (u64, &Image)) -> Hooked {
    let mut hooked = Hooked::default();
    let is_plain = |site: &Site| !matches!(site.form, Form::Throwing { .. });
    // Functions that throw need the others of their module.
    for round in [true, false] {
        for (site, (_, site_at)) in sites.iter().zip(places).filter(|(site, _)| is_plain(site) == round) {
            let Some(stub) = stub_of(site, (code_at, image), &hooked.callable) else {
                let reason = "it may throw, and there is no function of its kind that does not";
                hooked.unhooked.push((site.hook(), format!("{}: {reason}", site.name())));
                continue;
            };
            let relocated = arch::relocate(&site.code, site.at, *site_at, code_at + image.hook(site.hook()), stub);
            hooked.take(site, relocated);
        }
    }
    hooked
}

/// How the hook of a function is called; none where it throws and there is nothing to call in its place.
fn stub_of(site: &Site, (code_at, image): (u64, &Image), callable: &[Callable]) -> Option<Stub> {
    let link = code_at + image.link;
    let (nests, counts) = (!site.calls_nobody, code_at + image.counts);
    let allocation = |size| Stub::Deciding(link, Decides::Allocation { size, nests, counts });
    let quiet = match site.form {
        // Exceptions may still have to pass a frame of ours when nobody listens any more.
        Form::Plain(Hook::FindsTable) => return Some(Stub::Plain),
        // These are called the most.
        Form::Plain(Hook::Malloc) => return Some(allocation(Size::First)),
        Form::Plain(Hook::Calloc) => return Some(allocation(Size::FirstTwo)),
        Form::Plain(Hook::Free) => {
            let [frees, looks] = [image.frees, image.looks].map(|at| code_at + at);
            return Some(Stub::Deciding(link, Decides::Free { frees, looks }));
        }
        Form::Plain(_) => return Some(Stub::Asking(link)),
        Form::Named(_) => return Some(Stub::Named),
        Form::Whole(_) => return Some(Stub::Whole),
        Form::Behind(_, caller) => return Some(Stub::Behind(caller)),
        Form::Throwing { quiet, .. } => quiet,
    };
    let named = |wanted: &&str| {
        let is_wanted = |one: &&Callable| one.module == site.module && one.names.iter().any(|name| name == wanted);
        callable.iter().find(is_wanted)
    };
    quiet.iter().find_map(named).map(|callable| Stub::Throwing(callable.at))
}

impl Hooked {
    /// Every place of a jump.
    fn changed(&self) -> Vec<Changed> {
        let changed = |relocation: &Relocation| Changed {
            is_last: self.unwinders.contains(&relocation.at),
            is_named: self.named.contains(&relocation.at),
            ..Changed::of(relocation)
        };
        self.relocations.iter().map(changed).collect()
    }

    fn take(&mut self, site: &Site, relocated: Result<Relocation, PatchError>) {
        match relocated {
            Ok(relocation) if lies_on_two_pages(relocation.at) => {
                let reason = "a jump there would lie on two pages of memory, and could be left half written";
                self.unhooked.push((site.hook(), format!("{}: {reason}", site.name())));
            }
            Ok(relocation) => {
                if let Form::Plain(_) = site.form {
                    let callable =
                        Callable { module: site.module, names: site.names.clone(), at: relocation.unhooked() };
                    self.callable.push(callable);
                }
                if let Form::Named(_) = site.form {
                    self.named.push(relocation.at);
                }
                if site.hook() == Hook::FindsTable {
                    self.unwinders.push(relocation.at);
                }
                self.relocations.push(relocation);
                if !self.functions.iter().any(|name| name == site.name()) {
                    self.functions.push(site.name().to_owned());
                }
            }
            Err(PatchError::Breakpoint) if is_of_allocator(site) => self.breakpoints.push(site.name().to_owned()),
            Err(error) => {
                let so = if site.hook() == Hook::Loads {
                    "; so libraries that are loaded later are noticed late"
                } else {
                    ""
                };
                self.unhooked.push((site.hook(), format!("{}: {error}{so}", site.name())));
            }
        }
    }
}

/// Whether blocks come and go by this function.
fn is_of_allocator(site: &Site) -> bool {
    let hook = site.hook();
    match site.form {
        Form::Whole(_) | Form::Behind(..) => hook.is_wide(),
        Form::Plain(_) | Form::Throwing { .. } | Form::Named(_) => {
            !hook.ends() && !matches!(hook, Hook::Loads | Hook::FindsTable)
        }
    }
}

/// Without these the figures would be wrong, since a block that is freed unseen would look like a leak, or the target would end at an
/// exception. Where somebody has put a breakpoint, nothing is wrong with the target that would last.
fn lacking(hooked: &Hooked) -> Option<(String, Option<String>)> {
    if !hooked.breakpoints.is_empty() {
        let found = format!("cannot hook {}: {}", hooked.breakpoints.join(", "), PatchError::Breakpoint);
        let remedy = "take it away and attach again: a debugger deletes its breakpoints when it detaches, a probe ends with `bpftrace` or by `perf probe -d`";
        return Some((found, Some(remedy.to_owned())));
    }
    // It was found, so that symbols would not help.
    let remedy = "name a function that calls it instead (`--alloc`, `--free`), or build it with `-fpatchable-function-entry=8`, which makes room";
    wrong(hooked).map(|reason| (reason, Some(remedy.to_owned())))
}

fn wrong(hooked: &Hooked) -> Option<String> {
    if let Some((_, reason)) = hooked.unhooked.iter().find(|(hook, _)| hook.releases() || *hook == Hook::FindsTable) {
        return Some(format!("cannot hook {reason}"));
    }
    let reasons = hooked.unhooked.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>().join("; ");
    hooked.relocations.is_empty().then(|| format!("cannot hook {reasons}"))
}

fn main_stack(mappings: &[Mapping<'_>]) -> (u64, u64) {
    let stack = mappings.iter().find(|mapping| mapping.name == b"[stack]");
    stack.map_or((0, 0), |mapping| (mapping.addresses.start, mapping.addresses.end))
}

#[cfg(test)]
mod tests;
