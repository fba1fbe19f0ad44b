//! A page of a file that another process writes too.
//!
//! Owns: the mapping. Must not know: what the bytes mean.

#![expect(unsafe_code, reason = "shared memory has no other owner that Rust knows")]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU32};

use memmap2::{MmapOptions, MmapRaw};

pub(crate) const PAGE: usize = 4096;

/// A page, mapped.
#[derive(Debug)]
pub(crate) struct SharedBytes {
    page: MmapRaw,
}

impl SharedBytes {
    /// Maps the page that begins at an offset of the file.
    pub(crate) fn map(file: &File, at: u64) -> io::Result<Self> {
        Ok(Self { page: MmapOptions::new().offset(at).len(PAGE).map_raw(file)? })
    }

    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: a page is mapped as long as `self` lives; every content is a value.
        unsafe { std::slice::from_raw_parts(self.page.as_mut_ptr().cast::<AtomicU8>(), PAGE) }
    }
    #[expect(clippy::cast_ptr_alignment, reason = "a page is aligned for every word")]
    pub(crate) fn words32(&self) -> &[AtomicU32] {
        // SAFETY: as in `bytes`.
        unsafe { std::slice::from_raw_parts(self.page.as_mut_ptr().cast::<AtomicU32>(), PAGE / 4) }
    }
}
