//! The modules that are loaded at present, and the names found in them.
//!
//! Owns: loading a module with its debug files, caching names by address. Must not know: threads, queues.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Address, Frame, FrameTrust, ModuleName, Reading, Why};
use stacks::module::{ModuleLayout, load_bias, module_layout};
use stacks::symbols::{DebugReferences, ModuleSymbols, NamedFrame, Pool, Sources};

use super::files::TargetFiles;
use super::limits::{ADDRESSES_PER_SCOPE, FILES_MAX, ROOM_PER_MODULE, SECTIONS_MAX};
use super::modules::{ModuleMap, Placed};
use super::{NameOptions, Remarks};
use crate::sys::map::MappedFile;

/// What the modules of a scope borrow.
#[derive(Debug)]
pub(super) struct Stores {
    files: Pool<MappedFile>,
    sections: Pool<Vec<u8>>,
}

/// Loaded modules by their file, names by their address.
#[derive(Debug)]
pub(super) struct Scope<'data> {
    options: &'data NameOptions,
    target: &'data TargetFiles,
    stores: &'data Stores,
    remarks: &'data Remarks,
    modules: HashMap<FileKey, Loaded<'data>>,
    named: HashMap<(u64, u64, FileKey), Arc<[Frame]>>,
}

/// Device, inode and path: the kernel gives all anonymous modules the same first two.
type FileKey = ((u32, u32), u64, PathBuf);

#[derive(Debug)]
struct Loaded<'data> {
    name: ModuleName,
    /// None where the file cannot be had.
    code: Option<Code<'data>>,
}

#[derive(Debug)]
struct Code<'data> {
    layout: ModuleLayout,
    symbols: ModuleSymbols<'data>,
}

impl Stores {
    pub(super) fn new() -> Self {
        Self { files: Pool::new(FILES_MAX), sections: Pool::new(SECTIONS_MAX) }
    }
}

impl<'data> Scope<'data> {
    pub(super) fn new(
        options: &'data NameOptions,
        target: &'data TargetFiles,
        stores: &'data Stores,
        remarks: &'data Remarks,
    ) -> Self {
        Self { options, target, stores, remarks, modules: HashMap::new(), named: HashMap::new() }
    }

    /// Whether everything should be let go of before more is loaded.
    pub(super) fn is_full(&self) -> bool {
        let room = self.stores.files.room().min(self.stores.sections.room());
        room < ROOM_PER_MODULE || self.named.len() >= ADDRESSES_PER_SCOPE
    }

    /// The frames of one return address, innermost first.
    pub(super) fn name(&mut self, address: Address, trust: FrameTrust, map: &ModuleMap, frames: &mut Vec<Frame>) {
        let found = match map.find(address.0.saturating_sub(1)) {
            Some(placed) => self.name_in(address, placed),
            None => [unnamed(address, Reading::Missing(Why::NotRecorded), Why::NotRecorded)].into(),
        };
        debug_assert!(!found.is_empty(), "each address is at least one frame");
        frames.extend(found.iter().cloned().map(|frame| Frame { trust, ..frame }));
    }

    fn name_in(&mut self, address: Address, placed: &Placed) -> Arc<[Frame]> {
        let key = (placed.device, placed.inode, placed.path.clone());
        if let Some(known) = self.named.get(&(address.0, placed.start, key.clone())) {
            return Arc::clone(known);
        }
        if !self.modules.contains_key(&key) {
            let loaded = self.load(placed);
            self.modules.insert(key.clone(), loaded);
        }
        let frames: Arc<[Frame]> = match self.modules.get(&key) {
            Some(loaded) => self.frames_of(loaded, address, placed),
            None => [unnamed(address, Reading::Missing(Why::NotRecorded), Why::NotRecorded)].into(),
        };
        self.named.insert((address.0, placed.start, key), Arc::clone(&frames));
        frames
    }

    fn frames_of(&self, loaded: &Loaded<'data>, address: Address, placed: &Placed) -> Arc<[Frame]> {
        let module = Reading::Known(loaded.name.clone());
        let Some(code) = &loaded.code else {
            return [unnamed(address, module, Why::NoDebugInformation)].into();
        };
        let Some(bias) = load_bias(&code.layout, placed.start, placed.file_offset, true) else {
            return [unnamed(address, module, Why::Malformed)].into();
        };
        let named = code.symbols.frames(address.0.wrapping_sub(bias), |path| self.split_unit(path));
        let skipped = code.symbols.functions_skipped();
        if skipped > 0 {
            self.remarks.add(format!("{}: {skipped} functions are too many to be named", loaded.name.path));
        }
        let frame = |NamedFrame { function, line, inlined }| Frame {
            address,
            module: module.clone(),
            function,
            line,
            inlined,
            trust: FrameTrust::Caller,
        };
        named.into_iter().map(frame).collect()
    }

    fn load(&self, placed: &Placed) -> Loaded<'data> {
        let bytes = if placed.path == Path::new("[vdso]") {
            self.target.vdso(placed).and_then(|bytes| self.stores.sections.keep(bytes)).map(Vec::as_slice)
        } else {
            self.target.module(placed, &self.stores.files)
        };
        let mut path = escaped(&placed.path);
        if placed.deleted {
            path.push_str(" (deleted)");
        }
        let layout = bytes.and_then(|bytes| module_layout(bytes).ok());
        let build_id = layout.as_ref().and_then(|layout| layout.build_id.as_deref()).map(Into::into);
        let name = ModuleName { path: path.into(), build_id };
        let Some((bytes, layout)) = bytes.zip(layout) else {
            self.remarks.add(format!("{}: the file that is mapped cannot be read any more", name.path));
            return Loaded { name, code: None };
        };
        let sources = self.sources(bytes, placed);
        let symbols = ModuleSymbols::new(sources, &self.stores.sections);
        Loaded { name, code: Some(Code { layout, symbols }) }
    }

    /// The module with its debug file, if it needs one and there is one.
    fn sources(&self, module: &'data [u8], placed: &Placed) -> Sources<'data> {
        let references = DebugReferences::of(module);
        let mut sources = Sources { module, ..Sources::default() };
        let mut dwarf = (placed.path.clone(), references.clone());
        if !references.has_lines {
            let found = self.debug_file_of_user(&references).or_else(|| {
                let candidates = references.debug_files(&placed.path, &self.options.debug_dirs);
                self.target.first(candidates, &self.stores.files)
            });
            if let Some((path, bytes)) = found {
                dwarf = (path, DebugReferences::of(bytes));
                sources.debug = Some(bytes);
            }
        }
        let candidates = dwarf.1.supplements(&dwarf.0, &self.options.debug_dirs);
        sources.supplement = self.target.first(candidates, &self.stores.files).map(|(_, bytes)| bytes);
        let mut package = placed.path.clone().into_os_string();
        package.push(".dwp");
        sources.package = self.target.any(Path::new(&package), &self.stores.files);
        sources
    }

    /// A file that the user named, if its build id is that of the module.
    fn debug_file_of_user(&self, references: &DebugReferences) -> Option<(PathBuf, &'data [u8])> {
        let wanted = references.build_id.as_ref()?;
        self.options.debug_files.iter().find_map(|path| {
            let file = MappedFile::open(path).ok()?;
            if module_layout(&file).ok()?.build_id.as_ref() != Some(wanted) {
                return None;
            }
            self.remarks.used(path);
            Some((path.clone(), &**self.stores.files.keep(file)?))
        })
    }

    /// A file of split DWARF: where the compiler wrote it, else in the user's folders.
    fn split_unit(&self, path: &[u8]) -> Option<&'data [u8]> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let name = path.file_name()?;
        self.target.any(path, &self.stores.files).or_else(|| {
            let moved = self.options.debug_dirs.iter().map(|dir| dir.join(name));
            moved
                .filter_map(|path| MappedFile::open(&path).ok())
                .find_map(|file| self.stores.files.keep(file))
                .map(|file| &**file)
        })
    }
}

fn unnamed(address: Address, module: Reading<ModuleName>, why: Why) -> Frame {
    Frame {
        address,
        module,
        function: Reading::Missing(why),
        line: Reading::Missing(why),
        inlined: false,
        trust: FrameTrust::Caller,
    }
}

/// A path for people: a file of the target may be called anything.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}
