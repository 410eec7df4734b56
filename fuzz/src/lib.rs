//! What the fuzz targets share: ways to feed an assembler, and second opinions about the outcome.
//!
//! | module | holds |
//! | --- | --- |
//! | [`seen`] | what an assembler handed out, as values that can be compared |
//! | [`feeding`] | one connection's bytes, whole, byte by byte and in any chunks |
//! | [`memory`] | an allocator that counts, to see what an assembler holds |
//! | [`script`] | valid and broken streams with the outcome that RFC 6455 asks for |
//! | [`tungstenite_server`] | the same bytes as tungstenite reads them |
//! | [`fields`] | text input: fields behind one another, one letter saying what each is |
//! | [`authority`] | hosts and ports, read in another way |
//! | [`tls`] | a server's certificate, and a client that trusts everybody |

// What `tls` finds beside it in the addon.
use nextrush_websocket::tls::config;

pub mod authority;
pub mod feeding;
pub mod fields;
pub mod memory;
pub mod script;
pub mod seen;
/// Both ends of TLS, as the addon's own tests have them.
#[path = "../../src/tls/testing.rs"]
pub mod tls;
pub mod tungstenite_server;
