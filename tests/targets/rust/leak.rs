//! leak.rs: leaks boxes through `std::mem::forget` from a generic, inlined function.
//!
//! Truth: while leaking is on, each turn loses one box of 80 bytes, allocated at LEAK-LINE in the inlined `hold`, called
//! from `lose_one`; strings and vectors of each turn are freed. Prints at `stop`
//! `leaked N blocks B bytes at LEAK-LINE since mark`. Commands: mark, leak on, leak off, stop.

use std::hint::black_box;
use std::io::BufRead;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

#[inline(always)]
fn hold<T>(value: T) -> Box<T> {
    Box::new(value) // LEAK-LINE
}

#[inline(never)]
fn lose_one(turn: u64) {
    std::mem::forget(black_box(hold([turn; 10])));
}

#[inline(never)]
fn work(turn: u64) -> usize {
    let words: Vec<String> = (0..8).map(|word| format!("turn {turn} word {word}")).collect();
    black_box(words.join(" ")).len()
}

fn main() {
    let (send, receive) = channel::<String>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
        let _ = send.send("stop".into());
    });
    let (mut leaking, mut blocks, mut marked, mut turn) = (false, 0u64, 0u64, 0u64);
    println!("ready");
    loop {
        match receive.recv_timeout(Duration::from_millis(1)).as_deref() {
            Ok("stop") | Err(RecvTimeoutError::Disconnected) => break,
            Ok("mark") => {
                marked = blocks;
                println!("marked");
            }
            Ok(command @ ("leak on" | "leak off")) => {
                leaking = command == "leak on";
                println!("{command}");
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
        // An unrolled loop would call from ten places, which makes ten sites.
        for _ in 0..black_box(10) {
            turn += 1;
            black_box(work(turn));
            if leaking {
                lose_one(turn);
                blocks += 1;
            }
        }
    }
    println!("leaked {} blocks {} bytes at LEAK-LINE since mark", blocks - marked, (blocks - marked) * 80);
}
