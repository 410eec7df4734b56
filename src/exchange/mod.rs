//! What the JavaScript thread and the I/O threads hand each other: operations in one direction
//! ([`oplog`]), events in the other ([`inbox`]), and numbers that both can read.
//!
//! Each thread's own state is elsewhere: `engine` has that of the JavaScript thread, `io` that of an
//! I/O thread.

mod addresses;
mod common;
mod counters;
#[cfg(unix)]
pub mod handshakes;
pub mod histograms;
mod ids;
pub mod inbox;
pub mod oplog;
mod places;
mod public_ids;

pub use addresses::{AddressPlace, Addresses};
pub use common::{Common, Pressure, Settings};
pub use counters::{Counters, Totals};
pub use ids::{ConnectionId, Generations, MAX_SLOTS, Members};
pub use places::{Ledger, Places};
pub use public_ids::PublicIds;
