//! A page that grows by a point a second for a minute: `cargo run -p leakline-web --example live`.
//!
//! Owns: nothing. Must not know: any process.

#![expect(clippy::print_stdout, reason = "the address must be known to be opened")]

use std::time::Duration;

use report::{Point, RecordingView, Series, WallTime, metrics};

fn main() -> std::io::Result<()> {
    // A fixed token is for looking at the page only.
    let server = web::Server::start(0, "0123456789abcdef0123456789abcdef".to_owned())?;
    println!("{}", server.address());
    let mut points = Vec::new();
    for second in 0..60_u64 {
        let at = WallTime((1_795_240_800 + second) * 1_000_000_000);
        points.push(Point { at, value: model::Reading::Known((50 + second) as f64 * 1e6) });
        let series = Series { metric: &metrics::MEMORY_USED, subject: String::new(), points: points.clone() };
        let from = points[0].at;
        let view =
            RecordingView { host: "live".to_owned(), from, to: at, system: vec![series], ..RecordingView::default() };
        server.show(&view)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
