//! inside: a Rust program in release mode whose global allocator lies inside it, chosen by a feature.
//!
//! Truth: on each `go`, every function `by_…` asks for ROUNDS blocks; it prints one line a site
//! `site NAME allocated N BYTES live N BYTES` with the totals so far, and then `done`. Half of the blocks stay live.
//! Commands: go, stop.

use std::alloc::{alloc, alloc_zeroed, dealloc, realloc, Layout};
use std::hint::black_box;
use std::io::{stdin, BufRead};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 300;

struct Site {
    name: &'static str,
    make: fn(Layout) -> *mut u8,
    align: usize,
    size: fn(usize) -> usize,
}

#[inline(never)]
fn by_alloc_8(layout: Layout) -> *mut u8 {
    black_box(1);
    black_box(unsafe { alloc(layout) })
}

#[inline(never)]
fn by_alloc(layout: Layout) -> *mut u8 {
    black_box(2);
    black_box(unsafe { alloc(layout) })
}

#[inline(never)]
fn by_zeroed(layout: Layout) -> *mut u8 {
    black_box(3);
    black_box(unsafe { alloc_zeroed(layout) })
}

#[inline(never)]
fn by_aligned(layout: Layout) -> *mut u8 {
    black_box(4);
    black_box(unsafe { alloc(layout) })
}

#[inline(never)]
fn by_realloc(layout: Layout) -> *mut u8 {
    let half = Layout::from_size_align(layout.size() / 2, layout.align()).unwrap();
    let first = before_realloc(half);
    black_box(unsafe { realloc(first, half, layout.size()) })
}

#[inline(never)]
fn before_realloc(layout: Layout) -> *mut u8 {
    black_box(5);
    black_box(unsafe { alloc(layout) })
}

// Each function holds a number of its own, or the compiler makes one of those that are alike.
const SITES: [Site; 5] = [
    Site { name: "by_alloc_8", make: by_alloc_8, align: 8, size: |_| 8 },
    Site { name: "by_alloc", make: by_alloc, align: 16, size: |round| 16 + round },
    Site { name: "by_zeroed", make: by_zeroed, align: 1, size: |round| 1 + 7 * round },
    Site { name: "by_aligned", make: by_aligned, align: 4096, size: |round| 100 + round },
    Site { name: "by_realloc", make: by_realloc, align: 8, size: |round| 2000 + 200 * round },
];

fn main() {
    // Both are made before anybody attaches.
    let mut line = String::with_capacity(256);
    let mut tally = [[0_usize; 4]; SITES.len()];
    println!("ready");
    let mut input = stdin().lock();
    loop {
        line.clear();
        if input.read_line(&mut line).unwrap_or(0) == 0 || line.trim() == "stop" {
            return;
        }
        for (site, tally) in SITES.iter().zip(&mut tally) {
            for round in 0..ROUNDS {
                let layout = Layout::from_size_align((site.size)(round), site.align).unwrap();
                let block = (site.make)(layout);
                assert!(!block.is_null() && block.addr() % site.align == 0);
                unsafe { block.write_bytes(1, layout.size()) };
                tally[0] += 1;
                tally[1] += layout.size();
                if round % 2 == 0 {
                    tally[2] += 1;
                    tally[3] += layout.size();
                } else {
                    unsafe { dealloc(block, layout) };
                }
            }
        }
        for (site, tally) in SITES.iter().zip(&tally) {
            println!("site {} allocated {} {} live {} {}", site.name, tally[0], tally[1], tally[2], tally[3]);
        }
        println!("done");
    }
}
