//! Subprotocols: what a client offers, and how the server chooses (RFC 6455 §1.9).

use std::collections::HashSet;

use super::reject::Rejection;
use super::request::{bad_header, is_token, trim_list_space};

/// How a subprotocol is chosen from those that a client offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SubprotocolRule {
    /// The client's first choice.
    #[default]
    First,
    /// The first of these that the client offers, or none.
    Preferred(Vec<String>),
    /// Code of the application's.
    Application,
}

/// A list of subprotocols that a client offers, in its order of preference. It has been checked, and
/// holds no more than the header did: that may have thousands of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer(Box<str>);

impl Offer {
    /// Reads the value of `Sec-WebSocket-Protocol`.
    ///
    /// # Errors
    /// As [`offered_protocols`].
    pub(super) fn read(value: &str) -> Result<Self, Rejection> {
        offered_protocols(value).map(|_| Self(value.into()))
    }

    /// The names that the application's code may choose from; by another rule, the one that is
    /// chosen, or none.
    pub(super) fn choices(&self, rule: &SubprotocolRule) -> Vec<&str> {
        let choice = match rule {
            SubprotocolRule::Application => return elements(&self.0).collect(),
            SubprotocolRule::First => elements(&self.0).next(),
            SubprotocolRule::Preferred(names) => {
                names.iter().find_map(|name| elements(&self.0).find(|offered| offered == name))
            }
        };
        choice.into_iter().collect()
    }
}

/// The subprotocols that a `Sec-WebSocket-Protocol` header offers, in the client's order of
/// preference (RFC 6455 §4.1, item 10). Empty elements of the list are ignored (RFC 9110 §5.6.1.2).
///
/// # Errors
/// [`RejectReason::BadRequest`](super::RejectReason::BadRequest) where the value is not a
/// comma-separated list of at least one token, or names a subprotocol twice.
pub fn offered_protocols(value: &str) -> Result<Vec<&str>, Rejection> {
    let offered: Vec<&str> = elements(value).collect();
    let well_formed = !offered.is_empty() && offered.iter().all(|protocol| is_token(protocol));
    if !well_formed || has_duplicate(&offered) {
        return Err(bad_header(
            "Sec-WebSocket-Protocol",
            Some(value),
            "a comma-separated list of distinct tokens",
        ));
    }
    Ok(offered)
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(trim_list_space).filter(|element| !element.is_empty())
}

/// A set rather than a scan for each element: 16 KB of header hold thousands of them.
fn has_duplicate(elements: &[&str]) -> bool {
    let mut seen = HashSet::with_capacity(elements.len());
    !elements.iter().all(|element| seen.insert(element))
}

#[cfg(test)]
mod tests {
    use super::super::RejectReason;
    use super::*;

    fn choices<'a>(offer: &'a Offer, rule: &SubprotocolRule) -> Vec<&'a str> {
        offer.choices(rule)
    }

    fn preferred(names: &[&str]) -> SubprotocolRule {
        SubprotocolRule::Preferred(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn offered_protocols_keep_the_order_of_the_client() {
        assert_eq!(
            offered_protocols("graphql-ws, chat.v2 ,\tmqtt"),
            Ok(vec!["graphql-ws", "chat.v2", "mqtt"])
        );
    }

    #[test]
    fn subprotocols_differ_by_case() {
        assert_eq!(offered_protocols("chat, Chat"), Ok(vec!["chat", "Chat"]));
    }

    #[test]
    fn a_malformed_protocol_list_is_refused() {
        for value in
            ["", " ", ",", " ,\t, ", "a b", "a;b", "a, a", "a,,a", "chät", "a\u{7f}", "a\r\nb"]
        {
            let rejection = Offer::read(value).unwrap_err();
            assert_eq!(rejection.reason(), RejectReason::BadRequest, "{value:?}");
        }
        assert_eq!(
            Offer::read("a, a").unwrap_err().message(),
            "header Sec-WebSocket-Protocol is \"a, a\": accepted is a \
             comma-separated list of distinct tokens",
        );
    }

    #[test]
    fn empty_elements_of_an_offer_are_ignored() {
        for value in ["a,b", "a,,b", ",a,b", "a,b,", " , a ,\t, b , "] {
            assert_eq!(offered_protocols(value), Ok(vec!["a", "b"]), "{value:?}");
        }
    }

    #[test]
    fn without_a_preference_the_clients_first_choice_is_taken() {
        let offer = Offer::read(" , chat.v1, chat.v2").unwrap();
        assert_eq!(choices(&offer, &SubprotocolRule::First), ["chat.v1"]);
    }

    #[test]
    fn of_preferred_names_the_servers_first_that_is_offered_is_taken() {
        let offer = Offer::read("chat.v1, chat.v2").unwrap();
        assert_eq!(choices(&offer, &preferred(&["chat.v3", "chat.v2", "chat.v1"])), ["chat.v2"]);
        assert!(choices(&offer, &preferred(&["chat", "CHAT.V1"])).is_empty());
    }

    #[test]
    fn the_application_chooses_from_all() {
        let offer = Offer::read("b,, a").unwrap();
        assert_eq!(choices(&offer, &SubprotocolRule::Application), ["b", "a"]);
    }
}
