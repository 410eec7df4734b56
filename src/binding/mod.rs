//! The Node-API surface: options in, events out, the JavaScript classes.
//!
//! JavaScript values live here and nowhere below. [`plugin`] is the class behind
//! `WebSocketPlugin`; [`hot`] holds the functions that run for every message, written against raw
//! Node-API because napi-rs class methods cost eight times as much per call; [`waker`] wakes the
//! JavaScript thread. `unsafe` is in those last two.

mod application;
mod hot;
mod options;
mod plugin;
mod waker;
