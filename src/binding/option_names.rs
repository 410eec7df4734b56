//! Finds the option that was meant by a name that is none.

/// What other packages call what an option here does. In lower case; names that are close enough to
/// be found by their letters are left out.
const ELSEWHERE: [(&str, &str); 37] = [
    // ws
    ("maxpayload", "maxMessageSize"),
    ("handleprotocols", "protocols"),
    // Socket.IO and Engine.IO
    ("pinginterval", "heartbeatMs"),
    ("pingtimeout", "pongTimeoutMs"),
    ("maxhttpbuffersize", "maxMessageSize"),
    ("upgradetimeout", "handshakeTimeoutMs"),
    ("connecttimeout", "handshakeTimeoutMs"),
    ("allowrequest", "verifyClient"),
    ("cors", "allowOrigins"),
    // uWebSockets.js
    ("maxpayloadlength", "maxMessageSize"),
    ("idletimeout", "pongTimeoutMs"),
    ("compression", "perMessageDeflate"),
    ("closeonbackpressurelimit", "backpressurePolicy"),
    ("sendpingsautomatically", "heartbeatMs"),
    // Others, and first guesses
    ("origin", "allowOrigins"),
    ("origins", "allowOrigins"),
    ("allowedorigin", "allowOrigins"),
    ("allowedorigins", "allowOrigins"),
    ("heartbeatinterval", "heartbeatMs"),
    ("heartbeattimeout", "pongTimeoutMs"),
    ("keepalive", "heartbeatMs"),
    ("keepaliveinterval", "heartbeatMs"),
    ("timeout", "handshakeTimeoutMs"),
    ("maxclients", "maxConnections"),
    ("connectionlimit", "maxConnections"),
    ("maxsize", "maxMessageSize"),
    ("highwatermark", "maxBackpressure"),
    ("auth", "verifyClient"),
    ("authenticate", "verifyClient"),
    ("authorize", "verifyClient"),
    ("verify", "verifyClient"),
    ("subprotocols", "protocols"),
    ("deflate", "perMessageDeflate"),
    ("workers", "ioThreads"),
    ("url", "path"),
    ("route", "path"),
    ("verbose", "debug"),
];

/// The same for the options of `perMessageDeflate`.
const ELSEWHERE_IN_DEFLATE: [(&str, &str); 5] = [
    ("zlibdeflateoptions", "level"),
    ("compressionlevel", "level"),
    ("minsize", "threshold"),
    ("windowbits", "serverMaxWindowBits"),
    ("nocontexttakeover", "serverNoContextTakeover"),
];

/// The one of `known` that `name` was probably meant to be. Case makes no difference.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    // A text that long is no name, and comparing it takes time in the square of its length.
    if name.len() > 64 {
        return None;
    }
    let elsewhere = ELSEWHERE.iter().chain(&ELSEWHERE_IN_DEFLATE);
    let mut meant = elsewhere.filter(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
    if let Some(ours) = meant.find_map(|ours| known.iter().find(|known| **known == ours)) {
        return Some(ours);
    }
    let distances = known.iter().map(|known| (distance(&name, &known.to_ascii_lowercase()), known));
    let (least, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    // Short names are close to each other by chance.
    let most = if name.len() < 5 { 1 } else { 2 };
    (least <= most).then_some(nearest)
}

/// How many characters have to be added, removed or replaced to turn one text into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (removed, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = removed + 1;
        for (index, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
