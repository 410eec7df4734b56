//! Other nodes: what is broadcast on one of them reaches the members on all of them.
//!
//! A [`Node`](node::Node) is this server's place in the cluster: a state machine that numbers what it
//! says, knows what it wants to hear, and notices what it has missed. It knows no broker. A driver
//! carries what it says to one, and back what others say: [`redis`] on a thread of its own, or the
//! facade, for an adapter of the application. So no member on this server ever waits for a broker.
//!
//! A broker needs four verbs: publish, subscribe, unsubscribe, close. Between nodes a message arrives
//! once at most; those of one node in one channel arrive in order. What is lost is counted and told.

pub mod envelope;
pub mod names;
pub mod node;
mod numbers;
mod publications;
pub mod redis;
mod subscriptions;
mod tracking;

pub use node::{Node, NodeOptions};
