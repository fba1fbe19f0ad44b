//! `/proc/buddyinfo`: how many free blocks of each order every zone has.
//!
//! Owns: its lines, and how broken up the free memory of a zone is. Must not know: which machine they are from.

use crate::scan;

/// Orders that are read: the kernel has 11, and up to 17 on some architectures.
pub const ORDERS_MAX: usize = 20;

/// The free blocks of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone<'a> {
    /// Number of the node.
    pub node: u32,
    /// Name of the zone: `DMA`, `DMA32`, `Normal`, `Movable`, …
    pub name: &'a [u8],
    /// Blocks of `2^order` pages that are free, by order.
    pub free: [u64; ORDERS_MAX],
    /// How many orders the kernel gave.
    pub orders: usize,
}

/// The zones in the order in which they stand; a line that is not in the documented form is left out.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Zone<'_>> {
    scan::lines(bytes).filter_map(zone)
}

impl Zone<'_> {
    /// The share of the free pages, in thousandths, that no block of this order could be made of without compaction: 0 where
    /// every free page is part of a large enough block, 1,000 where none is. None where nothing is free.
    pub fn unusable_thousandths(&self, order: usize) -> Option<u64> {
        // Figures may be forged (a recording, a container's own procfs): sums end at the greatest number instead of wrapping.
        let pages = |(order, blocks): (usize, &u64)| blocks.saturating_mul(1 << order);
        let all = || self.free.iter().enumerate().take(self.orders);
        let total: u64 = all().map(pages).fold(0, u64::saturating_add);
        let large: u64 = all().skip(order).map(pages).fold(0, u64::saturating_add);
        debug_assert!(large <= total, "large blocks are some of all");
        (total > 0).then(|| ((total - large) as f64 / total as f64 * 1000.0).round() as u64)
    }
}

/// `Node 0, zone   Normal   2377    594 …`
fn zone(line: &[u8]) -> Option<Zone<'_>> {
    let mut fields = scan::fields(line);
    (fields.next()? == b"Node").then_some(())?;
    let node = scan::decimal(fields.next()?.strip_suffix(b",")?)?;
    (fields.next()? == b"zone").then_some(())?;
    let mut zone = Zone { node: u32::try_from(node).ok()?, name: fields.next()?, free: [0; ORDERS_MAX], orders: 0 };
    for (slot, field) in zone.free.iter_mut().zip(fields) {
        *slot = scan::decimal(field)?;
        zone.orders += 1;
    }
    debug_assert!(zone.orders <= ORDERS_MAX, "orders beyond the bound are not read");
    (zone.orders > 0).then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zones as `node/name free…`.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let one = |zone: Zone<'_>| {
            let free: Vec<String> = zone.free.iter().take(zone.orders).map(u64::to_string).collect();
            format!("{}/{} {}", zone.node, String::from_utf8_lossy(zone.name), free.join(" "))
        };
        assert_eq!(parse(text.as_bytes()).map(one).collect::<Vec<_>>().join("; "), expected, "{text:?}");
    }

    #[track_caller]
    fn check_unusable(free: &str, order: usize, expected: Option<u64>) {
        let text = format!("Node 0, zone Normal {free}\n");
        assert_eq!(
            parse(text.as_bytes()).next().unwrap().unusable_thousandths(order),
            expected,
            "{free:?} order {order}"
        );
    }

    #[test]
    fn zones_have_their_orders() {
        check(
            "Node 0, zone      DMA      0      1 \nNode 1, zone   Normal   2377    594   8319\n",
            "0/DMA 0 1; 1/Normal 2377 594 8319",
        );
    }

    #[test]
    fn what_is_no_zone_is_left_out() {
        for text in [
            "",
            "Node 0 zone DMA 1",
            "Node x, zone DMA 1",
            "Node 0, zone DMA",
            "Node 0, zone DMA 1 x",
            "Page 0, zone A 1",
        ] {
            check(text, "");
        }
    }

    #[test]
    fn free_memory_in_small_blocks_is_unusable_for_large_ones() {
        check_unusable("0 0 0 8", 3, Some(0));
        check_unusable("8 0 0 1", 3, Some(500));
        check_unusable("100 0 0 0", 3, Some(1000));
        check_unusable("0 0 0 0", 3, None);
        check_unusable("5 5", 9, Some(1000));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            let text = [b"Node 0, zone A ".as_slice(), &scan::noise(seed, b"0123456789 \n")].concat();
            for zone in parse(&text) {
                assert!(zone.orders <= ORDERS_MAX && zone.unusable_thousandths(9).is_none_or(|share| share <= 1000));
            }
        }
    }
}
