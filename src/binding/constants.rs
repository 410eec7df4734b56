//! What both halves of the package have to agree on, typed here and nowhere else.

use std::collections::BTreeMap;

use napi_derive::napi;

use super::application;
use crate::handshake::{REQUEST_HEADERS, RejectReason, SHOWN_CHARS};
use crate::protocol::close;

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
    }
}
