//! The live page: what `plot --follow --web` shows in a browser on this machine.
//!
//! Owns: one listening socket and the few words of HTTP that a page needs. Must not know: how anything is measured or
//! judged; it shows a view of `report` until it gets a newer one.
//!
//! The socket is on loopback, but loopback is shared by all users of the machine and by every page that a browser has
//! open. Therefore each address carries a token that only the user was told, other hosts in the request are refused
//! (a foreign page could otherwise have its name resolved to loopback), and nothing can be changed through it.

mod limits;
mod request;
mod server;

pub use server::Server;
