//! fates.rs: keeps allocating boxes that it never drops, and keeps the pointers of some.
//!
//! Truth: lose_one forgets each box, hold_one pushes each into a vector. Prints at `stop` how many of each it made.
//! Commands: stop.

use std::hint::black_box;
use std::io::BufRead;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

#[inline(never)]
fn lose_one(turn: u64) {
    std::mem::forget(black_box(Box::new([turn; 10])));
}

#[inline(never)]
fn hold_one(held: &mut Vec<Box<[u64; 12]>>, turn: u64) {
    held.push(Box::new([turn; 12]));
}

#[inline(never)]
fn forget() {
    black_box([0_u8; 4096]);
}

fn main() {
    let (send, receive) = channel::<String>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
        let _ = send.send("stop".into());
    });
    let (mut held, mut made) = (Vec::new(), 0_u64);
    println!("ready");
    loop {
        match receive.recv_timeout(Duration::from_millis(10)).as_deref() {
            Ok("stop") | Err(RecvTimeoutError::Disconnected) => break,
            _ => {}
        }
        lose_one(made);
        hold_one(&mut held, made);
        made += 1;
        forget();
    }
    println!("made {} of each", black_box(&held).len());
}
