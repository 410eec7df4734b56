//! An opening handshake that the server can accept (RFC 6455 §4.2).

use super::accept::accept_response;
use super::extensions::{Agreement, DeflateOptions, negotiate};
use super::reject::Rejection;
use super::request::UpgradeRequest;
use super::subprotocol::{Offer, SubprotocolRule};
use crate::protocol::DeflateParams;

/// An upgrade request that has been checked, as it was when it came: what happens to the request's
/// headers later makes no difference to the answer.
///
/// Holds about as many bytes as the headers that it is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    key: Box<str>,
    offer: Option<Offer>,
    agreement: Option<Agreement>,
    route: Option<u32>,
}

impl Handshake {
    /// Checks a request whose path leads to the handler `route`, if it has one, and agrees on
    /// compression. `deflate` is what the server wants of that, or `None` for none.
    ///
    /// # Errors
    /// [`RejectReason::Method`](super::RejectReason::Method) for anything but GET,
    /// [`RejectReason::Version`](super::RejectReason::Version) for another protocol version than 13,
    /// and [`RejectReason::BadRequest`](super::RejectReason::BadRequest) for a header that is
    /// missing or malformed.
    pub fn read(
        request: &UpgradeRequest<'_>,
        route: Option<u32>,
        deflate: Option<&DeflateOptions>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            key: request.check()?.into(),
            offer: request.protocols.map(Offer::read).transpose()?,
            agreement: match request.extensions {
                Some(offers) => negotiate(offers, deflate)?,
                None => None,
            },
            route,
        })
    }

    /// Number of the handler, where the path has one.
    pub fn route(&self) -> Option<u32> {
        self.route
    }

    /// The subprotocols that code of the application's may choose from, in the client's order; by
    /// any other rule, the one that is chosen, or none.
    pub fn protocol_choices(&self, rule: &SubprotocolRule) -> Vec<&str> {
        self.offer.as_ref().map(|offer| offer.choices(rule)).unwrap_or_default()
    }

    /// What has been agreed on about compression, if it is used.
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.agreement.as_ref().map(|agreement| agreement.params)
    }

    /// The complete 101 response, with one of the [offered](Self::protocol_choices) subprotocols or
    /// none, and with `extra` headers of the application's, as [`accept_response`] takes them.
    pub fn response(&self, protocol: Option<&str>, extra: &[(String, String)]) -> Vec<u8> {
        let extensions = self.agreement.as_ref().map(|agreement| agreement.header.as_str());
        accept_response(&self.key, protocol, extensions, extra)
    }
}

#[cfg(test)]
mod tests {
    use super::super::RejectReason;
    use super::super::request::tests::GOOD;
    use super::*;

    const REQUEST: UpgradeRequest<'static> = UpgradeRequest {
        protocols: Some("chat.v1, chat.v2"),
        extensions: Some("permessage-deflate; server_no_context_takeover"),
        ..GOOD
    };

    #[test]
    fn what_was_read_is_answered() {
        let deflate = DeflateOptions::default();
        let handshake = Handshake::read(&REQUEST, Some(7), Some(&deflate)).unwrap();
        assert_eq!(handshake.route(), Some(7));
        assert_eq!(handshake.protocol_choices(&SubprotocolRule::First), ["chat.v1"]);
        assert!(handshake.deflate().unwrap().server_no_context_takeover);
        let response = String::from_utf8(handshake.response(Some("chat.v2"), &[])).unwrap();
        assert!(response.ends_with(
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat.v2\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n"
        ));
    }

    #[test]
    fn a_server_without_compression_names_no_extension() {
        let handshake = Handshake::read(&REQUEST, None, None).unwrap();
        assert_eq!((handshake.route(), handshake.deflate()), (None, None));
        let response = String::from_utf8(handshake.response(None, &[])).unwrap();
        assert!(response.ends_with("xOo=\r\n\r\n"));
    }

    #[test]
    fn without_an_offer_there_is_no_choice() {
        let request = UpgradeRequest { protocols: None, extensions: None, ..REQUEST };
        let handshake = Handshake::read(&request, None, Some(&DeflateOptions::default())).unwrap();
        assert!(handshake.protocol_choices(&SubprotocolRule::Application).is_empty());
        assert_eq!(handshake.deflate(), None);
    }

    #[test]
    fn malformed_offers_are_refused_with_or_without_compression() {
        let deflate = DeflateOptions::default();
        for request in [
            UpgradeRequest { protocols: Some("a b"), ..REQUEST },
            UpgradeRequest { extensions: Some(";;;"), ..REQUEST },
            UpgradeRequest { key: None, ..REQUEST },
        ] {
            for deflate in [None, Some(&deflate)] {
                let rejection = Handshake::read(&request, None, deflate).unwrap_err();
                assert_eq!(rejection.reason(), RejectReason::BadRequest);
            }
        }
    }

    #[test]
    fn the_request_is_checked_before_its_offers() {
        let request = UpgradeRequest { method: "POST", protocols: Some(""), ..REQUEST };
        let rejection = Handshake::read(&request, None, None).unwrap_err();
        assert_eq!(rejection.reason(), RejectReason::Method);
        let request = UpgradeRequest { protocols: Some(""), extensions: Some(""), ..REQUEST };
        let rejection = Handshake::read(&request, None, None).unwrap_err();
        assert!(rejection.message().starts_with("header Sec-WebSocket-Protocol is"));
    }
}
