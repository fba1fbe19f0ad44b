//! `/proc/slabinfo`: the caches of the kernel's own objects.
//!
//! Owns: its lines (version 2). Must not know: which cache is suspicious.
//!
//! Caches of alike objects are merged by the kernel under the name of the first of them, so that a name may stand for
//! objects of quite another kind.

use crate::scan;

/// One cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Objects in use.
    pub active: u64,
    /// Objects that there is room for.
    pub total: u64,
    /// Bytes of one object.
    pub object_size: u64,
    /// Pages that all slabs of the cache take.
    pub pages: u64,
}

/// The caches in the order in which they stand; lines that are not in the documented form are left out, the two of the
/// heading among them.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Cache<'_>> {
    scan::lines(bytes).filter_map(cache)
}

/// `name active total size objects_per_slab pages_per_slab : tunables … : slabdata active_slabs slabs shared`
fn cache(line: &[u8]) -> Option<Cache<'_>> {
    let mut fields = scan::fields(line);
    let name = fields.next()?;
    let mut number = || scan::decimal(fields.next()?);
    let (active, total, object_size, _objects, pages_per_slab) =
        (number()?, number()?, number()?, number()?, number()?);
    // Looked for by its word, so that a further tunable before it would do no harm.
    let mut rest = fields.skip_while(|field| *field != b"slabdata").skip(2);
    let slabs = scan::decimal(rest.next()?)?;
    Some(Cache { name, active, total, object_size, pages: slabs.checked_mul(pages_per_slab)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> \
        <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n";

    /// Caches as `name active/total size pages`.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let one = |cache: Cache<'_>| {
            let name = String::from_utf8_lossy(cache.name);
            format!("{name} {}/{} {} {}", cache.active, cache.total, cache.object_size, cache.pages)
        };
        assert_eq!(parse(text.as_bytes()).map(one).collect::<Vec<_>>().join("; "), expected, "{text:?}");
    }

    #[test]
    fn caches_have_objects_and_pages() {
        let line = "dentry  71000 71400  192   21    1 : tunables    0    0    0 : slabdata   3400   3401      0\n";
        check(&format!("{HEADING}{line}"), "dentry 71000/71400 192 3401");
        check("bio-312  12 12 320 12 2 : tunables 0 0 0 : slabdata 1 5 0", "bio-312 12/12 320 10");
    }

    #[test]
    fn what_is_no_cache_is_left_out() {
        check(HEADING, "");
        check("a 1 2 3 4 5 : tunables 0 0 0 : slabdata 1\na 1 2 x 4 5 : slabdata 1 1 0\n\nb\n", "");
        check("a 1 2 3 4 18446744073709551615 : slabdata 1 2 0", "");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            let text = [b"a 1 1 1 1 1 : slabdata ".as_slice(), &scan::noise(seed, b"0123 :\nslabdata")].concat();
            assert!(parse(&text).all(|cache| !cache.name.is_empty()));
        }
    }
}
