//! The bytes of a section, uncompressed.
//!
//! Owns: both forms of compressed debug sections and the bound on what they may grow to.
//! Must not know: what the sections mean.

use std::borrow::Cow;

use object::elf;
use object::read::elf::{CompressionHeader, SectionHeader};
use object::read::{CompressedData, CompressionFormat};

use crate::module::{ENDIAN, Sections};

/// The bytes of the section of this name; none where there is no such section, it is empty, damaged, or would unpack to more
/// than `unpacked_max`. What is not compressed has no bound: it stays in the file that the caller has mapped.
pub(crate) fn bytes<'data>(
    elf: &'data [u8],
    sections: &Sections<'data>,
    name: &str,
    unpacked_max: u64,
) -> Option<Cow<'data, [u8]>> {
    let (_, section) = sections.section_by_name(ENDIAN, name.as_bytes())?;
    if section.sh_type(ENDIAN) == elf::SHT_NOBITS {
        return None;
    }
    let data = section.data(ENDIAN, elf).ok()?;
    let Some((header, offset, size)) = section.compression(ENDIAN, elf).ok()? else {
        return (!data.is_empty()).then_some(Cow::Borrowed(data));
    };
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    let compressed = CompressedData {
        format: match header.ch_type(ENDIAN) {
            elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
            elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
            _ => return None,
        },
        data: elf.get(start..end)?,
        uncompressed_size: header.ch_size(ENDIAN),
    };
    // The size is believed as far as memory goes: a stream that has more or less than its header says is refused.
    if compressed.uncompressed_size > unpacked_max {
        return None;
    }
    let unpacked = compressed.decompress().ok()?;
    debug_assert!(unpacked.len() as u64 <= unpacked_max, "the header told the length");
    Some(unpacked)
}
