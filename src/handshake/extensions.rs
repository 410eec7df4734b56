//! Negotiation of permessage-deflate (RFC 6455 §9.1, RFC 7692 §7).

use super::reject::{RejectReason, Rejection, quoted};
use super::request::is_token;
use crate::protocol::DeflateParams;

const NAME: &str = "permessage-deflate";

/// The largest window, and what is meant where none is named.
const MAX_WINDOW_BITS: u8 = 15;

/// The smallest window that zlib compresses with. RFC 7692 also knows 8; an offer that insists on
/// it is declined.
const MIN_WINDOW_BITS: u8 = 9;

/// What the server wants of permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateOptions {
    /// Messages with a shorter payload, in bytes, are not compressed.
    pub threshold: usize,
    /// Compression level, 0 to 9.
    pub level: u32,
    /// Compress each message on its own.
    pub server_no_context_takeover: bool,
    /// Ask the client to do so.
    pub client_no_context_takeover: bool,
    /// Largest window that the server uses, 9 to 15.
    pub server_max_window_bits: u8,
    /// Largest window that the client may use, 9 to 15; `None` leaves it to the client.
    pub client_max_window_bits: Option<u8>,
}

impl DeflateOptions {
    /// What is wanted where nothing else is said.
    pub const DEFAULT: Self = Self {
        threshold: 1024,
        level: 6,
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: MAX_WINDOW_BITS,
        client_max_window_bits: None,
    };
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An accepted offer: what both sides do, and the value of the response header that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The parameters.
    pub params: DeflateParams,
    /// Value of `Sec-WebSocket-Extensions`.
    pub header: String,
}

/// One element of a `Sec-WebSocket-Extensions` header.
struct Offer<'a> {
    name: &'a str,
    params: Vec<(&'a str, Option<&'a str>)>,
}

/// Accepts the first offer of permessage-deflate in `header` that fits `options`, or none.
///
/// # Errors
/// [`RejectReason::BadRequest`] where the header is not a list of one or more extensions; empty
/// elements are ignored (RFC 9110 §5.6.1.2). An offer that is well formed but has unknown, repeated or impossible parameters is only declined (RFC 7692 §7.1).
pub fn negotiate(
    header: &str,
    options: Option<&DeflateOptions>,
) -> Result<Option<Agreement>, Rejection> {
    let offers = parse(header).ok_or_else(|| {
        Rejection::new(
            RejectReason::BadRequest,
            format!(
                "header Sec-WebSocket-Extensions is {}: a list of extensions is accepted",
                quoted(header)
            ),
        )
    })?;
    Ok(options.and_then(|options| {
        offers.iter().filter(|offer| offer.name == NAME).find_map(|offer| accept(offer, options))
    }))
}

/// Splits at `separator`, but not inside quotes.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(|character| {
        let splits = character == separator && !quoted;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        splits
    })
    .map(|part| part.trim_matches([' ', '\t']))
    .collect()
}

fn parse(header: &str) -> Option<Vec<Offer<'_>>> {
    let elements = split_unquoted(header, ',').into_iter().filter(|element| !element.is_empty());
    let offers: Vec<_> = elements.map(parse_offer).collect::<Option<_>>()?;
    (!offers.is_empty()).then_some(offers)
}

fn parse_offer(text: &str) -> Option<Offer<'_>> {
    let mut parts = split_unquoted(text, ';').into_iter();
    let name = parts.next().filter(|name| is_token(name))?;
    let params = parts.map(parse_param).collect::<Option<_>>()?;
    Some(Offer { name, params })
}

/// `name` or `name=value`, where the value is a token, possibly in quotes (RFC 6455 §9.1).
fn parse_param(text: &str) -> Option<(&str, Option<&str>)> {
    let Some((name, value)) = text.split_once('=') else {
        return is_token(text).then_some((text, None));
    };
    let (name, value) = (name.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
    let unquoted = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (is_token(name) && is_token(unquoted)).then_some((name, Some(unquoted)))
}

fn accept(offer: &Offer<'_>, options: &DeflateOptions) -> Option<Agreement> {
    let mut server_no_context = options.server_no_context_takeover;
    let mut client_no_context = options.client_no_context_takeover;
    let mut server_bits = None;
    let mut client_bits = None;
    let mut seen = Vec::new();
    for &(name, value) in &offer.params {
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover", None) => server_no_context = true,
            ("client_no_context_takeover", None) => client_no_context = true,
            ("server_max_window_bits", Some(value)) => server_bits = Some(window_bits(value)?),
            ("client_max_window_bits", None) => client_bits = Some(MAX_WINDOW_BITS),
            ("client_max_window_bits", Some(value)) => client_bits = Some(window_bits(value)?),
            _ => return None,
        }
    }
    let server = server_bits.unwrap_or(MAX_WINDOW_BITS).min(options.server_max_window_bits);
    if server < MIN_WINDOW_BITS {
        return None;
    }
    // A client that does not mention its window cannot be told to use a smaller one.
    if options.client_max_window_bits.is_some() && client_bits.is_none() {
        return None;
    }
    let client = client_bits.map(|bits| match options.client_max_window_bits {
        Some(limit) => bits.min(limit),
        None => bits,
    });

    let mut header = NAME.to_owned();
    if server_no_context {
        header.push_str("; server_no_context_takeover");
    }
    if client_no_context {
        header.push_str("; client_no_context_takeover");
    }
    if server_bits.is_some() || server < MAX_WINDOW_BITS {
        header.push_str(&format!("; server_max_window_bits={server}"));
    }
    if let Some(client) = client.filter(|client| *client < MAX_WINDOW_BITS) {
        header.push_str(&format!("; client_max_window_bits={client}"));
    }
    let params = DeflateParams {
        server_no_context_takeover: server_no_context,
        client_no_context_takeover: client_no_context,
        server_max_window_bits: server,
        // Inflating with a larger window than the client's is always right.
        client_max_window_bits: client.unwrap_or(MAX_WINDOW_BITS).max(MIN_WINDOW_BITS),
    };
    Some(Agreement { params, header })
}

/// 8 to 15, in decimal without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=MAX_WINDOW_BITS).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agreed(header: &str, options: DeflateOptions) -> Option<String> {
        negotiate(header, Some(&options)).unwrap().map(|agreement| agreement.header)
    }

    fn by_default(header: &str) -> Option<String> {
        agreed(header, DeflateOptions::default())
    }

    #[test]
    fn a_plain_offer_is_accepted_as_it_is() {
        assert_eq!(by_default("permessage-deflate").as_deref(), Some("permessage-deflate"));
        assert_eq!(
            by_default("permessage-deflate; client_max_window_bits").as_deref(),
            Some("permessage-deflate")
        );
        assert_eq!(negotiate("permessage-deflate", None), Ok(None));
        assert_eq!(by_default("x-webkit-deflate-frame"), None);
    }

    #[test]
    fn all_four_parameters_are_answered() {
        let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                     server_max_window_bits=10; client_max_window_bits=\"11\"";
        let agreement = negotiate(offer, Some(&DeflateOptions::default())).unwrap().unwrap();
        assert_eq!(
            agreement.header,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=11"
        );
        assert_eq!(
            agreement.params,
            DeflateParams {
                server_no_context_takeover: true,
                client_no_context_takeover: true,
                server_max_window_bits: 10,
                client_max_window_bits: 11,
            }
        );
    }

    #[test]
    fn the_server_s_own_wishes_are_named_in_the_answer() {
        let options = DeflateOptions {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 12,
            client_max_window_bits: Some(13),
            ..DeflateOptions::default()
        };
        assert_eq!(
            agreed("permessage-deflate; client_max_window_bits", options).as_deref(),
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=12; client_max_window_bits=13"
            )
        );
        // The client did not say that it can limit its window.
        assert_eq!(agreed("permessage-deflate", options), None);
    }

    #[test]
    fn an_offer_that_cannot_be_met_is_declined_and_the_next_one_taken() {
        for bad in [
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; unknown",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
        ] {
            assert_eq!(by_default(bad), None, "{bad}");
            let list = format!("{bad}, permessage-deflate");
            assert_eq!(by_default(&list).as_deref(), Some("permessage-deflate"), "{list}");
        }
    }

    #[test]
    fn a_client_window_of_8_is_fine_because_a_larger_one_inflates_it() {
        let offer = "permessage-deflate; client_max_window_bits=8";
        let agreement = negotiate(offer, Some(&DeflateOptions::default())).unwrap().unwrap();
        assert_eq!(agreement.params.client_max_window_bits, 9);
        assert_eq!(agreement.header, "permessage-deflate; client_max_window_bits=8");
    }

    #[test]
    fn a_malformed_header_is_a_bad_request() {
        for bad in [
            "",
            " ",
            ",",
            " , ,",
            ";",
            ",;",
            "permessage-deflate;,",
            "a b",
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"x",
            "a=b",
            "a; b=\"c d\"",
        ] {
            let rejection = negotiate(bad, None).unwrap_err();
            assert_eq!(rejection.reason(), RejectReason::BadRequest, "{bad}");
            assert!(rejection.message().contains("Sec-WebSocket-Extensions"));
        }
    }

    #[test]
    fn empty_elements_are_ignored() {
        for header in ["permessage-deflate,", ",permessage-deflate", " ,, permessage-deflate ,\t"] {
            assert_eq!(by_default(header).as_deref(), Some("permessage-deflate"), "{header:?}");
        }
        assert!(negotiate("x-unknown,,permessage-deflate", None).is_ok());
    }

    #[test]
    fn separators_inside_quotes_do_not_split() {
        assert!(negotiate("a; b=\"x,y\"", None).is_err());
        assert_eq!(split_unquoted("a;b=\"x;\\\"y\";c", ';'), ["a", "b=\"x;\\\"y\"", "c"]);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in ".{0,80}") {
            let _ = negotiate(&header, Some(&DeflateOptions::default()));
        }
    }
}
