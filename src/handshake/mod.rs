//! Decides whether an HTTP request may become a WebSocket connection (RFC 6455 §4.2).
//!
//! Here live the checks of the request, which turn it into a [`Handshake`], the table of paths, the
//! rules about origins, and the bytes of the answer: 101 or a refusal. What comes in is text that Node has parsed, and options that
//! are set once. What never comes in: a socket, a clock, tokio, or a JavaScript value.

pub mod accept;
pub mod extensions;
mod fields;
pub mod forwarded;
mod host;
pub mod opening;
pub mod origin;
pub mod path;
pub mod pending;
pub mod proxy_protocol;
mod regexp;
pub mod reject;
pub mod request;
pub mod subprotocol;
pub mod target;

pub use accept::accept_response;
pub use extensions::{Agreement, DeflateOptions, negotiate};
pub use forwarded::{Subnet, SubnetError, TrustedProxies, address_of};
pub use opening::Handshake;
pub use origin::{OriginError, OriginProblem, OriginRules, OriginVerdict, RegExpSupport};
pub use path::{PatternError, PatternProblem, RouteError, RouteTable, shape_of};
pub use pending::Pending;
pub use proxy_protocol::ProxyHeader;
pub use reject::{Content, RejectReason, Rejection, SHOWN_CHARS, quoted, shown};
pub use request::{REQUEST_HEADERS, UpgradeRequest};
pub use subprotocol::{SubprotocolRule, offered_protocols};
pub use target::{PathError, normalised};
