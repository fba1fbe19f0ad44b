//! Where the debug information of a module may be: the references in its file and the paths that follow from them.
//!
//! Owns: the conventions of gdb and of Debian. Must not know: which of the paths exist; nothing here opens a file.

use std::path::{Path, PathBuf};

use crate::limits::REFERENCE_BYTES_MAX;
use crate::module::{ENDIAN, hexadecimal, module_layout, sections};
use crate::section;

/// Where distributions keep separate debug files.
const SYSTEM_DEBUG_DIR: &str = "/usr/lib/debug";

/// What a module says about its debug information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugReferences {
    /// Its build id in lower-case hexadecimal.
    pub build_id: Option<String>,
    /// Whether it carries DWARF itself.
    pub has_lines: bool,
    /// `.gnu_debuglink`: a file name and the CRC-32 of the file.
    pub link: Option<(PathBuf, u32)>,
    /// `.gnu_debugaltlink`: the file that several debug files share (`dwz`), and its build id.
    pub supplement: Option<(PathBuf, String)>,
}

/// A place where a file may be, and what proves that it is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where to look.
    pub path: PathBuf,
    /// What must hold.
    pub proof: Proof,
    /// Whether the path is one of leakline's user, not one of the target's file system.
    pub ours: bool,
}

/// What proves that a file belongs to a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It has this build id.
    BuildId(String),
    /// Its CRC-32 is this (`.gnu_debuglink`).
    Crc(u32),
}

impl DebugReferences {
    /// Reads the references.
    pub fn of(elf: &[u8]) -> Self {
        let build_id = module_layout(elf).ok().and_then(|layout| layout.build_id);
        let Some(sections) = sections(elf) else {
            return Self { build_id, ..Self::default() };
        };
        let content = |name| section::bytes(elf, &sections, name, REFERENCE_BYTES_MAX);
        let link = content(".gnu_debuglink").and_then(|bytes| debug_link(&bytes));
        let supplement = content(".gnu_debugaltlink").and_then(|bytes| alternative_link(&bytes));
        let info = sections.section_by_name(ENDIAN, b".debug_info").map(|(_, section)| section);
        let has_lines = info.is_some_and(|section| section.sh_type.get(ENDIAN) != object::elf::SHT_NOBITS);
        Self { build_id, has_lines, link, supplement }
    }

    /// All places for the debug file of a module at `module_path`, in the order in which to try them: the user's folders,
    /// then by build id, then by name.
    ///
    /// Every place comes with a proof, since a file of the right name is often of the wrong version, and wrong lines are worse than
    /// none. The cheap proof goes first: a checksum reads all of a file that may have gigabytes.
    pub fn debug_files(&self, module_path: &Path, user_dirs: &[PathBuf]) -> Vec<Candidate> {
        let mut all = Vec::new();
        let by_link = self.link.as_ref();
        let proof_by_name = match (&self.build_id, by_link) {
            (Some(build_id), _) => Some(Proof::BuildId(build_id.clone())),
            (None, Some((_, crc))) => Some(Proof::Crc(*crc)),
            (None, None) => None,
        };
        for dir in user_dirs {
            all.extend(by_build_id(self, dir, true));
            if let Some(proof) = &proof_by_name {
                let names = [by_link.map(|(name, _)| name.clone()), named_like(module_path)];
                for name in names.into_iter().flatten() {
                    all.push(Candidate { path: dir.join(name), proof: proof.clone(), ours: true });
                }
            }
        }
        let system = Path::new(SYSTEM_DEBUG_DIR);
        all.extend(by_build_id(self, system, false));
        if let (Some((name, crc)), Some(folder)) = (by_link, module_path.parent()) {
            let below_root = folder.strip_prefix("/").unwrap_or(folder);
            let paths = [folder.join(name), folder.join(".debug").join(name), system.join(below_root).join(name)];
            // The link may name the module itself: stripping in place leaves such files.
            let other = paths.into_iter().filter(|path| path != module_path);
            all.extend(other.map(|path| Candidate { path, proof: Proof::Crc(*crc), ours: false }));
        }
        all
    }

    /// All places for the supplement that the file at `referrer` names.
    pub fn supplements(&self, referrer: &Path, user_dirs: &[PathBuf]) -> Vec<Candidate> {
        let Some((path, build_id)) = &self.supplement else {
            return Vec::new();
        };
        let named = referrer.parent().map_or_else(|| path.clone(), |folder| folder.join(path));
        let proof = Proof::BuildId(build_id.clone());
        let mut all = Vec::new();
        let of_supplement = Self { build_id: Some(build_id.clone()), ..Self::default() };
        for dir in user_dirs {
            all.extend(by_build_id(&of_supplement, dir, true));
            all.extend(path.file_name().map(|name| Candidate {
                path: dir.join(".dwz").join(name),
                proof: proof.clone(),
                ours: true,
            }));
        }
        all.push(Candidate { path: named, proof, ours: false });
        all.extend(by_build_id(&of_supplement, Path::new(SYSTEM_DEBUG_DIR), false));
        all
    }
}

impl Proof {
    /// Whether a file is the one that was looked for.
    pub fn holds(&self, elf: &[u8]) -> bool {
        match self {
            Self::BuildId(wanted) => module_layout(elf).is_ok_and(|layout| layout.build_id.as_ref() == Some(wanted)),
            Self::Crc(wanted) => crc32fast::hash(elf) == *wanted,
        }
    }
}

fn by_build_id(references: &DebugReferences, dir: &Path, ours: bool) -> Option<Candidate> {
    let build_id = references.build_id.as_ref()?;
    // The first byte is a folder, since a hundred thousand files in one folder were slow once.
    let (first, rest) = build_id.split_at_checked(2)?;
    let path = dir.join(".build-id").join(first).join(format!("{rest}.debug"));
    Some(Candidate { path, proof: Proof::BuildId(build_id.clone()), ours })
}

fn named_like(module_path: &Path) -> Option<PathBuf> {
    let mut name = module_path.file_name()?.to_owned();
    name.push(".debug");
    Some(PathBuf::from(name))
}

/// A name, zeros up to a multiple of four, four bytes of CRC.
fn debug_link(bytes: &[u8]) -> Option<(PathBuf, u32)> {
    let (name, _) = split_name(bytes)?;
    let at = (name.len() + 1).next_multiple_of(4);
    let crc = bytes.get(at..at.checked_add(4)?)?;
    // A path instead of a name would lead out of the folders that are searched.
    if name.contains(&b'/') || name == b".." {
        return None;
    }
    Some((path(name), u32::from_le_bytes(crc.try_into().ok()?)))
}

/// A path, a zero, the bytes of a build id.
fn alternative_link(bytes: &[u8]) -> Option<(PathBuf, String)> {
    let (name, id) = split_name(bytes)?;
    Some((path(name), hexadecimal(id)?))
}

fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    (end > 0).then(|| (&bytes[..end], &bytes[end + 1..]))
}

fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(build_id: Option<&str>, link: Option<&str>) -> DebugReferences {
        DebugReferences {
            build_id: build_id.map(str::to_owned),
            has_lines: false,
            link: link.map(|name| (PathBuf::from(name), 7)),
            supplement: Some((PathBuf::from("../../.dwz/x86_64-linux-gnu/shared.debug"), "cdef01".to_owned())),
        }
    }

    #[track_caller]
    fn check(candidates: &[Candidate], expected: &str) {
        let text: Vec<String> = candidates
            .iter()
            .map(|candidate| {
                let proof = match &candidate.proof {
                    Proof::BuildId(id) => format!("id {id}"),
                    Proof::Crc(crc) => format!("crc {crc}"),
                };
                format!("{}{} {proof}", if candidate.ours { "ours:" } else { "" }, candidate.path.display())
            })
            .collect();
        assert_eq!(text.join("\n"), expected.trim().replace("\n        ", "\n"));
    }

    #[test]
    fn the_users_folders_come_first_then_build_ids_then_names() {
        let module = Path::new("/usr/bin/prog");
        let dirs = [PathBuf::from("/sym")];
        check(
            &references(Some("abcdef"), Some("prog.debug")).debug_files(module, &dirs),
            "ours:/sym/.build-id/ab/cdef.debug id abcdef
        ours:/sym/prog.debug id abcdef
        ours:/sym/prog.debug id abcdef
        /usr/lib/debug/.build-id/ab/cdef.debug id abcdef
        /usr/bin/prog.debug crc 7
        /usr/bin/.debug/prog.debug crc 7
        /usr/lib/debug/usr/bin/prog.debug crc 7",
        );
        check(&references(None, None).debug_files(module, &dirs), "");
        check(
            &references(None, Some("prog")).debug_files(module, &[]),
            "/usr/bin/.debug/prog crc 7
        /usr/lib/debug/usr/bin/prog crc 7",
        );
    }

    #[test]
    fn a_supplement_is_named_relative_to_its_referrer() {
        let referrer = Path::new("/usr/lib/debug/.build-id/ab/cdef.debug");
        check(
            &references(None, None).supplements(referrer, &[PathBuf::from("/sym")]),
            "ours:/sym/.build-id/cd/ef01.debug id cdef01
        ours:/sym/.dwz/shared.debug id cdef01
        /usr/lib/debug/.build-id/ab/../../.dwz/x86_64-linux-gnu/shared.debug id cdef01
        /usr/lib/debug/.build-id/cd/ef01.debug id cdef01",
        );
    }

    #[test]
    fn links_that_are_damaged_or_lead_elsewhere_are_ignored() {
        assert_eq!(debug_link(b"a.debug\0\x01\0\0\0"), Some((PathBuf::from("a.debug"), 1)));
        for bytes in
            [&b""[..], b"\0\0\0\0\0\0\0\0", b"a.debug\0\x01\0\0", b"../../etc/passwd\0\0\0\0\x01\0\0\0", b"abc"]
        {
            assert_eq!(debug_link(bytes), None, "{bytes:?}");
        }
        assert_eq!(alternative_link(b"x\0\x01"), None);
    }
}
