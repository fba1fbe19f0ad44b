//! Values that journald compressed.
//!
//! Owns: the three methods and the bounds of what they unpack to. Must not know: what a value says.

use std::io::Read;

/// Flags of a value.
const XZ: u8 = 1;
const LZ4: u8 = 2;
const ZSTD: u8 = 4;
/// journald asks for the preset 6, whose dictionary has 8 MiB; a forged head may ask for 4 GiB.
const XZ_MEMORY_KIB: u32 = 16 * 1024;

/// The value, unless it is damaged, would be longer than the bound, or is packed by a method that nobody knows.
pub(super) fn unpacked(method: u8, packed: &[u8], most: usize) -> Option<Vec<u8>> {
    match method {
        XZ => whole(lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_MEMORY_KIB), most),
        LZ4 => lz4(packed, most),
        // Nobody needs a window that is larger than what may come out; the smallest that is allowed is 1 KiB.
        ZSTD => whole(
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, most.max(1024) as u64).ok()?,
            most,
        ),
        _ => None,
    }
}

fn whole(reader: impl Read, most: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut text).ok()?;
    (text.len() <= most).then_some(text)
}

/// A block without a frame, after its unpacked length in eight bytes.
fn lz4(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let (length, block) = packed.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= most)?;
    let mut text = vec![0; length];
    let unpacked = lz4_flex::block::decompress_into(block, &mut text).ok()?;
    (unpacked == length).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::synth;
    use crate::scan;

    fn methods() -> impl Iterator<Item = (u8, Vec<u8>)> {
        synth::METHODS.iter().map(|name| synth::packed(name))
    }

    #[test]
    fn what_other_programs_packed_is_unpacked() {
        let line = format!("MESSAGE={}{}", synth::LINE, "oom_score_adj:0 ".repeat(40));
        for (method, packed) in methods() {
            let text = unpacked(method, &packed, 4096).expect("it is sound");
            assert_eq!(String::from_utf8_lossy(&text), line, "method {method}");
            assert_eq!(unpacked(method, &packed, line.len()).map(|text| text.len()), Some(line.len()));
            assert_eq!(unpacked(method, &packed, line.len() - 1), None, "method {method}: more than the bound");
        }
        assert_eq!(unpacked(8, b"x", 10), None);
    }

    #[test]
    fn damage_is_none_or_text_within_the_bound() {
        for (method, packed) in methods() {
            for cut in 0..packed.len() {
                assert!(unpacked(method, &packed[..cut], 4096).is_none_or(|text| text.len() <= 4096));
            }
            for seed in 0..2000_u64 {
                let mut damaged = packed.clone();
                for byte in scan::noise(seed, b"\x00\x01\x7f\xff\x80") {
                    let at = (seed as usize * 31 + usize::from(byte) * 7) % damaged.len();
                    damaged[at] ^= byte;
                }
                assert!(unpacked(method, &damaged, 4096).is_none_or(|text| text.len() <= 4096));
            }
        }
    }
}
