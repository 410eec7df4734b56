//! Handshakes of any text: what is accepted, what the answer looks like to an HTTP parser, and that
//! nothing gets into it that was not meant to.
//!
//! Input: fields (see `fields`): `m`ethod, `h`ttp version, `u`pgrade, `c`onnection, `k`ey,
//! `v`ersion, `a`uthorities (header lines of `Host`), sub`p`rotocols, e`x`tensions, the server's `d`eflate options; any number of `n`ames
//! and values (`=`) of the application's headers, and of `r`ejections.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use nextrush_websocket::handshake::{
    DeflateOptions, Handshake, RejectReason, Rejection, UpgradeRequest, accept_response, negotiate,
    offered_protocols, quoted,
};
use nextrush_websocket_fuzz::authority::is_host_and_port;
use nextrush_websocket_fuzz::fields::{all, fields, first};
use tungstenite::handshake::server::create_response;
use tungstenite::http;

fuzz_target!(|input: &[u8]| {
    let fields = fields(input);
    let http_version = first(&fields, 'h').unwrap_or("\u{1}\u{1}").as_bytes();
    let hosts = all(&fields, 'a');
    let request = UpgradeRequest {
        method: first(&fields, 'm').unwrap_or("GET"),
        http_version: match http_version {
            [major, minor, ..] => (*major, *minor),
            _ => (0, 0),
        },
        host: Some(hosts.first().copied().unwrap_or("host")),
        hosts: hosts.len() as u32,
        upgrade: first(&fields, 'u'),
        connection: first(&fields, 'c'),
        key: first(&fields, 'k'),
        version: first(&fields, 'v'),
        protocols: first(&fields, 'p'),
        extensions: first(&fields, 'x'),
        origin: None,
    };
    let read = Handshake::read(&request, None, None);
    assert_eq!(read.is_ok(), is_opening_handshake(&request), "{read:?}");
    match read {
        Ok(handshake) => tungstenite_accepts_it_too(&request, &handshake),
        Err(rejection) => a_rejection_of_ours_is_short_and_printable(&rejection),
    }

    let offered = first(&fields, 'p').map(the_offer_is_read_in_order).unwrap_or_default();
    let agreed = first(&fields, 'x')
        .and_then(|offer| what_is_agreed_was_offered(offer, first(&fields, 'd')));

    let extra: Vec<(String, String)> = all(&fields, 'n')
        .into_iter()
        .zip(all(&fields, '='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let key = first(&fields, 'k').unwrap_or("");
    the_answer_says_what_was_meant(key, offered.last().copied(), agreed.as_deref(), &extra);
    // An application may choose what was not offered, or what is no token at all.
    the_answer_says_what_was_meant(key, first(&fields, 'p'), None, &extra);

    for text in all(&fields, 'r') {
        a_refusal_is_an_http_response(text);
    }
});

fn is_token(text: &str) -> bool {
    const DELIMITERS: &str = "\"(),/:;<=>?@[\\]{}";
    let is_token_char =
        |character: char| character.is_ascii_graphic() && !DELIMITERS.contains(character);
    !text.is_empty() && text.chars().all(is_token_char)
}

fn elements(list: &str) -> Vec<&str> {
    let elements = list.split(',').map(|element| element.trim_matches([' ', '\t']));
    elements.filter(|element| !element.is_empty()).collect()
}

fn is_opening_handshake(request: &UpgradeRequest<'_>) -> bool {
    let names = |header: Option<&str>, token: &str| {
        header.is_some_and(|list| {
            elements(list).iter().any(|element| element.to_ascii_lowercase() == token)
        })
    };
    let is_key = |key: &str| {
        let is_digit =
            |byte: &u8| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/');
        key.len() == 24
            && key.as_bytes()[..22].iter().all(is_digit)
            && &key.as_bytes()[22..] == b"=="
    };
    let (major, minor) = request.http_version;
    request.method == "GET"
        && (major > 1 || major == 1 && minor >= 1)
        && request.hosts <= 1
        && request.host.is_some_and(is_host_and_port)
        && names(request.upgrade, "websocket")
        && names(request.connection, "upgrade")
        && request.key.is_some_and(is_key)
        && request.version == Some("13")
        && request.protocols.is_none_or(is_offer_of_protocols)
        && request.extensions.is_none_or(|offers| negotiate(offers, None).is_ok())
}

fn is_offer_of_protocols(value: &str) -> bool {
    let protocols = elements(value);
    let distinct: HashSet<_> = protocols.iter().collect();
    !protocols.is_empty()
        && distinct.len() == protocols.len()
        && protocols.iter().all(|protocol| is_token(protocol))
}

/// tungstenite wants `Upgrade` to be nothing but `websocket`, does not know tabs in lists, and wants
/// the unused low bits of the key to be zero.
fn tungstenite_accepts_it_too(request: &UpgradeRequest<'_>, handshake: &Handshake) {
    let (Some(upgrade), Some(connection), Some(key)) =
        (request.upgrade, request.connection, request.key)
    else {
        unreachable!("an accepted request has all three")
    };
    let strict_key = key.strip_suffix("==").is_some_and(|key| key.ends_with(['A', 'Q', 'g', 'w']));
    if !upgrade.eq_ignore_ascii_case("websocket") || connection.contains('\t') || !strict_key {
        return;
    }
    let theirs = http::Request::builder()
        .uri("ws://host/")
        .header("Connection", connection)
        .header("Upgrade", upgrade)
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", key)
        .body(());
    // Node's parser lets no control characters through; `http` does not either.
    let Ok(theirs) = theirs else { return };
    // A value that is not ASCII cannot be read as text there.
    if theirs.headers()["Connection"].to_str().is_err() {
        return;
    }
    let theirs = create_response(&theirs).expect("tungstenite accepts it too");
    let response = handshake.response(None, &[]);
    let (_, headers) = parsed(&response, 101);
    let accept = &headers.iter().find(|(name, _)| name == "Sec-WebSocket-Accept").expect("it").1;
    assert_eq!(accept, theirs.headers()["Sec-WebSocket-Accept"].as_bytes());
}

fn a_rejection_of_ours_is_short_and_printable(rejection: &Rejection) {
    let message = rejection.message();
    assert!(message.len() < 256, "{} bytes", message.len());
    assert!(message.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{message:?}");
    is_http_response(rejection);
}

fn the_offer_is_read_in_order(value: &str) -> Vec<&str> {
    match offered_protocols(value) {
        Ok(offered) => {
            assert!(is_offer_of_protocols(value));
            assert_eq!(offered, elements(value));
            offered
        }
        Err(rejection) => {
            assert!(!is_offer_of_protocols(value));
            assert_eq!(rejection.reason(), RejectReason::BadRequest);
            a_rejection_of_ours_is_short_and_printable(&rejection);
            Vec::new()
        }
    }
}

/// `wishes` are one letter for each thing that the server wants, and a digit for each window.
fn what_is_agreed_was_offered(offer: &str, wishes: Option<&str>) -> Option<String> {
    let wishes = wishes.unwrap_or("");
    let window = |letter: char| {
        let (_, bits) = wishes.split_once(letter)?;
        bits.chars().next()?.to_digit(7).map(|bits| 9 + bits as u8)
    };
    let options = DeflateOptions {
        server_no_context_takeover: wishes.contains('S'),
        client_no_context_takeover: wishes.contains('C'),
        server_max_window_bits: window('s').unwrap_or(15),
        client_max_window_bits: window('c'),
        ..DeflateOptions::default()
    };
    let refused = negotiate(offer, None);
    let agreement = match negotiate(offer, Some(&options)) {
        Ok(agreement) => {
            assert_eq!(refused, Ok(None));
            agreement?
        }
        Err(rejection) => {
            assert_eq!(refused, Err(rejection.clone()));
            a_rejection_of_ours_is_short_and_printable(&rejection);
            return None;
        }
    };

    let mut answered = agreement.header.split("; ");
    assert_eq!(answered.next(), Some("permessage-deflate"));
    let answered: Vec<(&str, Option<u8>)> = answered
        .map(|param| match param.split_once('=') {
            Some((name, bits)) => (name, Some(bits.parse().expect("a number"))),
            None => (param, None),
        })
        .collect();
    let value =
        |name: &str| answered.iter().find(|(known, _)| *known == name).map(|(_, bits)| bits);
    let params = agreement.params;
    let names: HashSet<_> = answered.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), answered.len(), "each once");
    for (name, bits) in &answered {
        match *name {
            "server_no_context_takeover" | "client_no_context_takeover" => assert_eq!(*bits, None),
            "server_max_window_bits" => assert_eq!(*bits, Some(params.server_max_window_bits)),
            "client_max_window_bits" => {
                assert!(offer.contains(name), "not asked for");
                let bits = bits.expect("with its bits");
                assert_eq!(bits.max(9), params.client_max_window_bits);
            }
            unknown => panic!("unknown parameter {unknown}"),
        }
    }
    let forgets = |name| value(name).is_some();
    assert_eq!(forgets("server_no_context_takeover"), params.server_no_context_takeover);
    assert_eq!(forgets("client_no_context_takeover"), params.client_no_context_takeover);
    assert!(params.server_no_context_takeover || !options.server_no_context_takeover);
    assert!(params.client_no_context_takeover || !options.client_no_context_takeover);
    assert!((9..=options.server_max_window_bits).contains(&params.server_max_window_bits));
    let most = options.client_max_window_bits.unwrap_or(15);
    assert!((9..=most).contains(&params.client_max_window_bits));
    if value("client_max_window_bits").is_none() {
        assert_eq!(params.client_max_window_bits, 15, "the client may use the largest window");
    }
    // Of a single offer all wishes are granted.
    if !offer.contains([',', '"']) {
        for name in ["server_no_context_takeover", "client_no_context_takeover"] {
            assert!(!offer.contains(name) || forgets(name), "{name} was offered");
        }
        assert!(!offer.contains("server_max_window_bits") || forgets("server_max_window_bits"));
    }
    Some(agreement.header)
}

fn the_answer_says_what_was_meant(
    key: &str,
    protocol: Option<&str>,
    extensions: Option<&str>,
    extra: &[(String, String)],
) {
    let response = accept_response(key, protocol, extensions, extra);
    let (head_len, headers) = parsed(&response, 101);
    assert_eq!(head_len, response.len(), "a 101 has no body");
    let mut headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    assert_eq!(headers.next(), Some(("Upgrade", &b"websocket"[..])));
    assert_eq!(headers.next(), Some(("Connection", &b"Upgrade"[..])));
    let (name, accept) = headers.next().expect("the accept key");
    assert_eq!((name, accept.len()), ("Sec-WebSocket-Accept", 28));
    if let Some(protocol) = protocol.filter(|protocol| is_token(protocol)) {
        assert_eq!(headers.next(), Some(("Sec-WebSocket-Protocol", protocol.as_bytes())));
    }
    if let Some(extensions) = extensions {
        assert_eq!(headers.next(), Some(("Sec-WebSocket-Extensions", extensions.as_bytes())));
    }
    let meant: Vec<(&str, Vec<u8>)> = extra
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), header_value(name, value)?)))
        .collect();
    assert_eq!(headers.map(|(name, value)| (name, value.to_vec())).collect::<Vec<_>>(), meant);
}

/// What an HTTP parser sees of a header that may be added, or `None` where it may not.
fn header_value(name: &str, value: &str) -> Option<Vec<u8>> {
    const OURS: [&str; 10] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let lower = name.to_ascii_lowercase();
    if !is_token(name) || OURS.contains(&&*lower) || lower.starts_with("sec-websocket-") {
        return None;
    }
    let fits = |character: char| match character {
        '\t' | ' '..='~' | '\u{80}'..='\u{ff}' => Some(character as u8),
        _ => None,
    };
    let bytes: Vec<u8> = value.chars().map(fits).collect::<Option<_>>()?;
    Some(bytes.trim_ascii().to_vec())
}

/// The first character says which reason; the rest is the message. The same text is the phrase of a
/// status that comes from the reason as well.
fn a_refusal_is_an_http_response(text: &str) {
    let mut message = text.chars();
    let number = message.next().map_or(0, |first| first as usize);
    let reason = RejectReason::ALL[number % RejectReason::ALL.len()];
    let rejection = Rejection::new(reason, message.as_str());
    is_http_response(&rejection);
    let status = (number % 700) as u16;
    match rejection.with_status(status, Some(message.as_str())) {
        Some(rejection) => {
            assert!((200..600).contains(&status) && rejection.status() == status);
            is_http_response(&rejection);
        }
        None => assert!(!(200..600).contains(&status)),
    }
    let shown = quoted(text);
    assert!(shown.len() <= 85 && shown.starts_with('"') && shown.ends_with('"'), "{shown}");
    assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{shown:?}");
}

fn is_http_response(rejection: &Rejection) {
    let response = rejection.response("GET");
    let status = rejection.status();
    let (head_len, headers) = parsed(&response, status);
    assert_eq!(rejection.response("HEAD"), response[..head_len]);
    let body = &response[head_len..];
    let has_body = ![204, 205, 304].contains(&status);
    assert_eq!(body, if has_body { rejection.message().as_bytes() } else { b"" });
    assert_eq!(headers.iter().any(|(name, _)| name == "Content-Length"), has_body);
    for (name, value) in headers {
        let expected = match &*name {
            "Connection" if status == 426 => "close, Upgrade".to_owned(),
            "Connection" => "close".to_owned(),
            "Allow" if status == 405 => "GET".to_owned(),
            "WWW-Authenticate" if status == 401 => "Bearer realm=\"websocket\"".to_owned(),
            "Upgrade" if status == 426 => "websocket".to_owned(),
            "Sec-WebSocket-Version" if status == 426 => "13".to_owned(),
            "Content-Type" => "text/plain; charset=utf-8".to_owned(),
            "Content-Length" => body.len().to_string(),
            other => panic!("unexpected header {other}"),
        };
        assert_eq!(value, expected.as_bytes());
    }
}

/// Length of the head, and the headers, as httparse reads them.
fn parsed(response: &[u8], status: u16) -> (usize, Vec<(String, Vec<u8>)>) {
    let lines = response.iter().filter(|byte| **byte == b'\n').count();
    let mut headers = vec![httparse::EMPTY_HEADER; lines];
    let mut parsed = httparse::Response::new(&mut headers);
    let head_len = match parsed.parse(response) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(response)),
    };
    assert_eq!((parsed.version, parsed.code), (Some(1), Some(status)));
    let headers = parsed.headers.iter();
    (head_len, headers.map(|header| (header.name.to_owned(), header.value.to_vec())).collect())
}
