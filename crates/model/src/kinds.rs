//! What a process can hold on to: memory of several kinds, and descriptors.
//!
//! Owns: the kinds, their names, and the choice of those that are watched. Must not know: how they are counted.

use std::fmt;

/// What a site holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Blocks of an allocator.
    #[default]
    Heap,
    /// Private memory that belongs to no file.
    Anonymous,
    /// A file, mapped privately.
    File,
    /// Memory that others may see: shared files, memory files, System V segments.
    Shared,
    /// Stacks of threads that were neither joined nor detached.
    ThreadStack,
    /// Memory below the break that the program took by itself.
    Break,
    /// Descriptors: files, sockets, pipes and whatever else `/proc/PID/fd` lists.
    Descriptor,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Heap, Self::Anonymous, Self::File, Self::Shared, Self::ThreadStack, Self::Break, Self::Descriptor];

    /// The word for documents.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Anonymous => "anonymous_mapping",
            Self::File => "file_mapping",
            Self::Shared => "shared_mapping",
            Self::ThreadStack => "thread_stack",
            Self::Break => "break",
            Self::Descriptor => "descriptor",
        }
    }

    /// What one of them is called.
    pub const fn thing(self) -> &'static str {
        match self {
            Self::Heap => "block",
            Self::Anonymous => "anonymous mapping",
            Self::File => "file mapping",
            Self::Shared => "shared mapping",
            Self::ThreadStack => "thread stack",
            Self::Break => "piece of the break",
            Self::Descriptor => "descriptor",
        }
    }

    /// What several of them are called.
    pub const fn things(self) -> &'static str {
        match self {
            Self::Heap => "blocks",
            Self::Anonymous => "anonymous mappings",
            Self::File => "file mappings",
            Self::Shared => "shared mappings",
            Self::ThreadStack => "thread stacks",
            Self::Break => "pieces of the break",
            Self::Descriptor => "descriptors",
        }
    }

    /// What a program does to give one back, and what was done to it then.
    pub const fn ending(self) -> (&'static str, &'static str) {
        match self {
            Self::Heap | Self::Break => ("frees", "freed"),
            Self::Anonymous | Self::File | Self::Shared => ("unmaps", "unmapped"),
            Self::ThreadStack => ("joins", "joined"),
            Self::Descriptor => ("closes", "closed"),
        }
    }

    /// Whether what it holds has a size in bytes.
    pub const fn has_size(self) -> bool {
        !matches!(self, Self::Descriptor)
    }
}

const _: () = {
    let mut index = 0;
    while index < Kind::ALL.len() {
        assert!(Kind::ALL[index] as usize == index, "sums by kind are indexed by its place in the list");
        index += 1;
    }
};

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Heap => "heap",
            Self::Anonymous => "anonymous mapping",
            Self::File => "file mapping",
            Self::Shared => "shared mapping",
            Self::ThreadStack => "thread stack",
            Self::Break => "break",
            Self::Descriptor => "descriptor",
        })
    }
}

/// What is watched in an attached process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Blocks of its allocators.
    pub heap: bool,
    /// Mappings, the break and thread stacks.
    pub mappings: bool,
    /// Descriptors.
    pub descriptors: bool,
}

impl Default for Kinds {
    fn default() -> Self {
        Self::ALL
    }
}

impl Kinds {
    /// Everything.
    pub const ALL: Self = Self { heap: true, mappings: true, descriptors: true };
    /// Nothing.
    pub const NONE: Self = Self { heap: false, mappings: false, descriptors: false };
    /// The words by which they are chosen.
    pub const WORDS: [&'static str; 3] = ["heap", "mmap", "fd"];

    /// These and what the word names; none where it names nothing.
    pub fn with(self, word: &str) -> Option<Self> {
        Some(match word {
            "heap" => Self { heap: true, ..self },
            "mmap" => Self { mappings: true, ..self },
            "fd" => Self { descriptors: true, ..self },
            "all" => Self::ALL,
            _ => return None,
        })
    }

    /// Whether a site of this kind can appear.
    pub const fn includes(self, kind: Kind) -> bool {
        match kind {
            Kind::Heap => self.heap,
            Kind::Anonymous | Kind::File | Kind::Shared | Kind::ThreadStack | Kind::Break => self.mappings,
            Kind::Descriptor => self.descriptors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_kinds() {
        let chosen = |words: &str| words.split(',').try_fold(Kinds::NONE, Kinds::with);
        assert_eq!(chosen("heap,mmap,fd"), Some(Kinds::ALL));
        assert_eq!(chosen("all"), Some(Kinds::ALL));
        assert_eq!(chosen("fd"), Some(Kinds { descriptors: true, ..Kinds::NONE }));
        assert_eq!(chosen("heap,files"), None);
        for word in Kinds::WORDS {
            let kinds = Kinds::NONE.with(word).unwrap();
            assert!(Kind::ALL.into_iter().any(|kind| kinds.includes(kind)), "{word}");
        }
        assert!(!Kinds::NONE.with("mmap").unwrap().includes(Kind::Heap));
    }

    #[test]
    fn every_kind_has_words_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().split(' ').next(), kind.key().split('_').next());
            assert!(Kind::ALL.iter().filter(|other| other.key() == kind.key()).count() == 1);
            assert!(!kind.thing().is_empty() && Kinds::ALL.includes(kind));
            let ((does, done), things) = (kind.ending(), kind.things());
            assert!(does.ends_with('s') && done.ends_with("ed") && things.contains('s'));
        }
        assert_eq!(format!("{:>12}", Kind::Break), "       break");
        assert!(Kind::Break.has_size() && !Kind::Descriptor.has_size());
    }
}
