//! What both halves of the package have to agree on, typed here and nowhere else.

use std::collections::BTreeMap;

use napi_derive::napi;

use super::{application, hot};
use crate::handshake::{REQUEST_HEADERS, RejectReason, SHOWN_CHARS};
use crate::io::LINGER;
use crate::protocol::close;
use crate::transport::bridge;

/// What the facade reads once, when it is loaded.
#[napi(object, object_from_js = false)]
pub struct Constants {
    /// Names of the headers whose values `admit` takes, in its order.
    pub request_headers: Vec<&'static str>,
    /// What `reject` takes as a reason, by the reason's key in the statistics.
    pub reject_reasons: BTreeMap<&'static str, u32>,
    /// Ranges of the codes that may be sent in a close frame, the first and the last of each.
    pub sendable_close_codes: Vec<Vec<u32>>,
    /// Longest close reason in bytes of UTF-8.
    pub max_close_reason_bytes: u32,
    /// Names of the methods that an application gets.
    pub application_methods: Vec<&'static str>,
    /// How many characters of a value are shown in logs and error messages.
    pub shown_characters: u32,
    /// Kinds of events; what their values are is in `hot`.
    pub events: EventKinds,
    /// How a message may be sent.
    pub send: SendFlags,
    /// What streams behind bridges have to know.
    pub bridge: BridgeConstants,
}

/// The lower two bits of an event's code, where it is not a message with a value of its own.
#[napi(object, object_from_js = false)]
pub struct EventKinds {
    /// A binary message in the Buffer that the call carries.
    pub shared_binary: u32,
    /// The end of a connection, or something else about it that is no message.
    pub news: u32,
    /// Something for the stream behind a bridge to do.
    pub bridge: u32,
    /// The value of the news that all has been written that a connection had to send.
    pub drained: i32,
    /// That it counts from here on which messages are taken.
    pub paced: i32,
}

/// What the options of `sendAs` are the sum of.
#[napi(object, object_from_js = false)]
pub struct SendFlags {
    /// The data is a string.
    pub text: u32,
    /// It is dropped where it would have to wait.
    pub volatile: u32,
    /// It is not compressed.
    pub uncompressed: u32,
}

/// What streams behind bridges have to know.
#[napi(object, object_from_js = false)]
pub struct BridgeConstants {
    /// Bytes that may be under way, in each direction.
    pub window: u32,
    /// What a write counts against that window beside its bytes.
    pub write_cost: u32,
    /// The command to end the writing side. A number from 0 on is so many bytes more to be read.
    pub end: i32,
    /// The command to destroy the stream.
    pub destroy: i32,
    /// The command to destroy it at once, whatever has not been written.
    pub abort: i32,
    /// The command to say when everything that has arrived has been handed over.
    pub probe: i32,
    /// Instead of a command: the TLS handshake of a pump is over.
    pub secured: i32,
    /// The connection that a pump serves was lost.
    pub lost: i32,
    /// A pump has carried everything, and is over.
    pub ended: i32,
    /// Milliseconds that the peer has to end its side once we have ended ours.
    pub linger_ms: u32,
}

/// The constants of the native half that the facade needs too.
#[napi]
pub fn constants() -> Constants {
    let reasons = RejectReason::ALL.into_iter();
    let codes = close::SENDABLE.iter();
    Constants {
        request_headers: REQUEST_HEADERS.to_vec(),
        reject_reasons: reasons.map(|reason| (reason.name(), reason as u32)).collect(),
        sendable_close_codes: codes
            .map(|codes| vec![u32::from(*codes.start()), u32::from(*codes.end())])
            .collect(),
        max_close_reason_bytes: close::MAX_REASON as u32,
        application_methods: application::METHODS.to_vec(),
        shown_characters: SHOWN_CHARS as u32,
        events: EventKinds {
            shared_binary: hot::KIND_SHARED_BINARY,
            news: hot::KIND_NEWS,
            bridge: hot::KIND_BRIDGE,
            drained: hot::DRAINED,
            paced: hot::PACED,
        },
        send: SendFlags {
            text: hot::SEND_TEXT,
            volatile: hot::SEND_VOLATILE,
            uncompressed: hot::SEND_UNCOMPRESSED,
        },
        bridge: BridgeConstants {
            window: bridge::WINDOW as u32,
            write_cost: bridge::WRITE_COST as u32,
            end: hot::BRIDGE_END,
            destroy: hot::BRIDGE_DESTROY,
            abort: hot::BRIDGE_ABORT,
            probe: hot::BRIDGE_PROBE,
            secured: hot::SECURED,
            lost: hot::LOST,
            ended: hot::ENDED,
            linger_ms: LINGER.as_millis() as u32,
        },
    }
}
