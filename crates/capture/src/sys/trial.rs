//! Memory in which tests run code that they made.
//!
//! Owns: the mapping, and the call into it. Must not know: what the code does.

#![expect(unsafe_code, reason = "code that was made has no types")]

use std::ptr::{null_mut, with_exposed_provenance, with_exposed_provenance_mut};

/// Memory for code and data.
#[derive(Debug)]
pub(crate) struct Trial {
    at: u64,
    len: usize,
}

impl Trial {
    pub(crate) fn map(len: u64) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let len = len as usize;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Self { at: at.expose_provenance() as u64, len }
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) {
        self.assert_inside(at, bytes.len());
        let to = with_exposed_provenance_mut::<u8>(at as usize);
        // SAFETY: the range lies in the mapping, which nothing else refers to.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    pub(crate) fn set(&self, at: u64, word: u64) {
        self.write(at, &word.to_le_bytes());
    }

    pub(crate) fn word(&self, at: u64) -> u64 {
        self.assert_inside(at, 8);
        // SAFETY: the word lies in the mapping.
        unsafe { with_exposed_provenance::<u64>(at as usize).read_unaligned() }
    }

    /// Calls the code at an address, which must be a whole function.
    pub(crate) fn call(&self, at: u64, [a, b, c]: [u64; 3]) -> u64 {
        type Function = extern "C" fn(u64, u64, u64) -> u64;
        self.assert_inside(at, 1);
        // SAFETY: a pointer to code is as wide as any.
        let function = unsafe { std::mem::transmute::<usize, Function>(at as usize) };
        function(a, b, c)
    }

    fn assert_inside(&self, at: u64, len: usize) {
        assert!(self.at <= at && at + len as u64 <= self.at + self.len as u64, "{at:#x} lies elsewhere");
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // SAFETY: what was mapped, which nobody refers to any more.
        unsafe { libc::munmap(with_exposed_provenance_mut(self.at as usize), self.len) };
    }
}
