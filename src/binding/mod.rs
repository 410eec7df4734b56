//! The Node-API surface: options in, events out, the JavaScript classes.
//!
//! JavaScript values live here and nowhere below. [`plugin`] is the class behind
//! `WebSocketPlugin`; [`hot`] holds the functions that run for every message, written against raw
//! Node-API because napi-rs class methods cost eight times as much per call; [`waker`] wakes the
//! JavaScript thread. `unsafe` is in those last two. [`options`] reads what the constructor is given;
//! [`constants`] is what the facade shares with it. [`describe`] and [`option_names`] find the words for what does not fit.

mod application;
mod constants;
mod describe;
mod hot;
mod option_names;
mod options;
mod plugin;
mod waker;
