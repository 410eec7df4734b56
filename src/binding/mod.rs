//! The Node-API surface: options in, events out, the JavaScript classes.
//!
//! JavaScript values live here and nowhere below. [`plugin`] is the class behind
//! `WebSocketPlugin`; [`hot`] holds the functions that run for every message, written against raw
//! Node-API because napi-rs class methods cost eight times as much per call; [`waker`] wakes the
//! JavaScript thread. `unsafe` is in those last two. [`options`] reads what the constructor is given,
//! [`option_table`] lists what that may be, and [`describe`] and [`option_names`] find the words for
//! what does not fit. [`rules`] is what holds for the connections of a route, and [`capacity`] counts them
//! against a limit. [`constants`] is what the facade has to know as well.

mod application;
mod capacity;
mod cluster;
mod constants;
mod describe;
mod hot;
mod metrics;
mod option_names;
mod option_table;
mod options;
mod plugin;
mod rules;
mod waker;

// A part of the class of `plugin`, which has to be read first: otherwise napi takes the name of the type
// for that of the class.
mod proxy_protocol;
#[cfg(unix)]
mod tls;
