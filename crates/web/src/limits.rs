//! The bounds of the server.
//!
//! Owns: each bound, once. Must not know: who keeps to it.

use std::time::Duration;

/// The longest head of a request; a browser sends less than a tenth.
pub(crate) const HEAD_MAX: usize = 8192;

/// Pieces in which a head may come. A browser sends one; a client that sends byte after byte would hold a place for hours.
pub(crate) const READS_MAX: usize = 16;

/// Requests that are answered at one time. A page asks once a second; whoever opens more is refused and counted.
pub(crate) const CONNECTIONS_MAX: usize = 8;

/// How long a client may take to say what it wants, or to take its answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How long nobody is let in after a connection could not be taken: long enough to cost nothing, and nobody notices it.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// The least length of a token: 128 bits in hexadecimal.
pub(crate) const TOKEN_MIN: usize = 32;

const _: () = assert!(HEAD_MAX >= 1024, "a browser's own head must fit");
