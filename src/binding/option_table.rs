//! Every option: what the reader accepts, what its errors say, and what the documentation shows.
//!
//! `node scripts/option-tables.mjs` writes the tables of the documentation from these.

use std::fmt;

use napi_derive::napi;

use crate::handshake::DeflateOptions;

/// Longest timer that Node and the engine agree on, in milliseconds.
const MAX_MS: f64 = i32::MAX as f64;

/// Longest JavaScript string on 64-bit platforms, in characters; a longer message could not be
/// delivered as text.
const MAX_MESSAGE: f64 = 536_870_888.0;

/// The largest whole number up to which JavaScript has all others.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The largest limit that is kept as a number of 32 bits.
const MAX_LIMIT: f64 = u32::MAX as f64;

/// More messages a second than one thread can parse; also most of a burst.
const MAX_RATE: f64 = 1_000_000.0;

/// More threads than this cannot be fed by one JavaScript thread on any machine there is.
const MAX_IO_THREADS: f64 = 64.0;

/// One option.
pub(super) struct OptionRow {
    pub name: &'static str,
    pub accepts: Accepts,
    /// What it is for, in a few words.
    meaning: &'static str,
    /// Section of `docs/api.md` that has more.
    section: Option<&'static str>,
}

/// What an option can be.
pub(super) enum Accepts {
    Number(Number),
    /// `false` by default.
    Flag,
    /// One of these texts, the first of them by default.
    OneOf(&'static [&'static str]),
    /// What has a reader of its own.
    Other {
        /// The type in a word or two.
        kind: &'static str,
        /// What errors say is accepted.
        accepted: &'static str,
        /// The default, as it is written in JavaScript.
        default: &'static str,
    },
}

/// A whole number.
pub(super) struct Number {
    pub from: f64,
    pub to: f64,
    /// `Infinity` is accepted as well, and is no limit.
    pub infinity: bool,
    /// What is counted; empty for a bare number.
    unit: &'static str,
    pub default: Option<f64>,
    /// Where the default depends on the machine or another option: how JavaScript would write it.
    derived: Option<&'static str>,
}

/// Those that a route may have of its own.
const HEARTBEAT_MS: OptionRow =
    milliseconds("heartbeatMs", 0.0, 30_000.0, "time between two pings; `0` turns them off");

const MAX_CONNECTIONS: OptionRow = number(
    "maxConnections",
    0.0,
    MAX_LIMIT,
    "connections",
    "most at a time; one more gets HTTP 503",
)
.by_default(10_000.0)
.or_infinity();

const MAX_MESSAGE_SIZE: OptionRow = number(
    "maxMessageSize",
    1.0,
    MAX_MESSAGE,
    "bytes",
    "longest incoming; a longer one ends with 1009",
)
.by_default(1_048_576.0);

const MESSAGE_RATE: OptionRow =
    other("messageRate", "object", "undefined", "how many messages a connection may send")
        .accepts("an object with perSecond, and burst or policy where wanted")
        .see("Floods");

const ALLOW_ORIGINS: OptionRow =
    other("allowOrigins", "(string or RegExp)[]", "[]", "accepted origins; empty accepts all")
        .accepts("an array of strings and regular expressions")
        .see("Origins");

const VERIFY_CLIENT: OptionRow =
    other("verifyClient", "function", "() => true", "decides on a request, last of all checks")
        .accepts("a function")
        .see("What verifyClient returns");

const PROTOCOLS: OptionRow =
    other("protocols", "string[] or function", "undefined", "which subprotocol is spoken")
        .accepts("a function or a non-empty array of distinct subprotocol names (HTTP tokens)")
        .see("Subprotocols");

const PER_MESSAGE_DEFLATE: OptionRow =
    other("perMessageDeflate", "boolean or object", "false", "compression of messages")
        .accepts("a boolean or an object")
        .see("Compression");

/// The options of `WebSocketPlugin`, in the order in which they are read, documented and listed.
pub(super) static OPTIONS: [OptionRow; 25] = [
    other(
        "path",
        "string or string[]",
        "'/ws'",
        "paths that are open besides the routes of `ws()`",
    )
    .accepts("a path such as '/ws' or a non-empty array of paths")
    .see("Paths"),
    HEARTBEAT_MS,
    milliseconds("pongTimeoutMs", 0.0, 45_000.0, "longest silence after a ping; `0` is for ever"),
    MAX_CONNECTIONS,
    number(
        "maxConnectionsPerIp",
        1.0,
        MAX_LIMIT,
        "connections",
        "most at a time from one address; one more gets HTTP 429",
    )
    .by_default(f64::INFINITY)
    .or_infinity()
    .see("Addresses"),
    other("trustProxy", "any of several", "false", "whose `X-Forwarded-For` is believed")
        .accepts("a boolean, a whole number of proxies, or addresses such as 'loopback' or '10.0.0.0/8' in a string or an array")
        .see("Addresses"),
    MAX_MESSAGE_SIZE,
    MESSAGE_RATE,
    ALLOW_ORIGINS,
    VERIFY_CLIENT,
    flag("debug", "logs one line per decision"),
    other("logger", "object or function", "console", "where lines and errors go")
        .accepts(
            "a function, or an object with debug, info, warn and error, such as console or pino",
        )
        .see("Logger"),
    milliseconds("handshakeTimeoutMs", 1.0, 10_000.0, "time limit of a handshake"),
    milliseconds("closeTimeoutMs", 1.0, 5_000.0, "time for the peer to answer a close frame"),
    number("maxBackpressure", 1.0, MAX_SAFE_INTEGER, "bytes", "most bytes queued per connection")
        .by_default(16_777_216.0)
        .or_infinity()
        .see("Backpressure"),
    OptionRow::new(
        "backpressurePolicy",
        Accepts::OneOf(&["close", "drop"]),
        "what a message meets that does not fit",
    )
    .see("Backpressure"),
    number(
        "maxBufferedBytes",
        1.0,
        MAX_SAFE_INTEGER,
        "bytes",
        "most bytes kept for all connections together",
    )
    .by_default_of("os.totalmem() / 4")
    .or_infinity()
    .see("Backpressure"),
    number("ioThreads", 1.0, MAX_IO_THREADS, "threads", "threads of the engine").by_default(1.0),
    PROTOCOLS,
    PER_MESSAGE_DEFLATE,
    other("tls", "object", "undefined", "speaks TLS for a plain `http.Server`").see("TLS"),
    other("proxyProtocol", "boolean or object", "false", "connections begin with a PROXY header")
        .accepts("a boolean or an object with trusted")
        .see("Addresses"),
    number("maxRoomsPerConnection", 1.0, MAX_LIMIT, "rooms", "most rooms of one connection")
        .by_default(10_000.0)
        .or_infinity(),
    number("maxRoomNameLength", 1.0, MAX_LIMIT, "UTF-16 units", "longest name of a room")
        .by_default(65_536.0)
        .or_infinity(),
    other("cluster", "object", "undefined", "joins servers on several machines")
        .accepts("an object with url, or an adapter")
        .see("Cluster"),
];

/// The options of `ws`, in the order in which they are read, documented and listed.
pub(super) static ROUTE_OPTIONS: [OptionRow; 9] = [
    HEARTBEAT_MS.of_route(),
    OptionRow { meaning: "most at a time on this route", ..MAX_CONNECTIONS }
        .by_default_of("Infinity"),
    MAX_MESSAGE_SIZE.of_route(),
    MESSAGE_RATE.of_route(),
    ALLOW_ORIGINS.of_route(),
    VERIFY_CLIENT.of_route(),
    PROTOCOLS.of_route(),
    PER_MESSAGE_DEFLATE.of_route(),
    other("use", "function[]", "[]", "middleware of this route, after that of `wsUse`")
        .accepts("an array of functions"),
];

/// The options of `perMessageDeflate`.
pub(super) static DEFLATE_OPTIONS: [OptionRow; 6] = [
    number("threshold", 0.0, MAX_MESSAGE, "bytes", "shorter messages go uncompressed")
        .by_default(DeflateOptions::DEFAULT.threshold as f64),
    number("level", 0.0, 9.0, "", "from none to smallest")
        .by_default(DeflateOptions::DEFAULT.level as f64),
    flag("serverNoContextTakeover", "compresses each message on its own"),
    flag("clientNoContextTakeover", "asks clients to do so"),
    number("serverMaxWindowBits", 9.0, 15.0, "bits", "largest window of the server, a power of 2")
        .by_default(DeflateOptions::DEFAULT.server_max_window_bits as f64),
    number("clientMaxWindowBits", 9.0, 15.0, "bits", "the same for clients"),
];

/// The options of `messageRate`.
pub(super) static MESSAGE_RATE_OPTIONS: [OptionRow; 3] = [
    number("perSecond", 1.0, MAX_RATE, "messages", "so many a second in the long run")
        .by_default_of("required"),
    number("burst", 1.0, MAX_RATE, "messages", "so many at once, after a silence")
        .by_default_of("perSecond"),
    OptionRow::new(
        "policy",
        Accepts::OneOf(&["close", "drop", "pause"]),
        "what a message meets that comes too early",
    ),
];

/// The options of `proxyProtocol`.
pub(super) static PROXY_PROTOCOL_OPTIONS: [OptionRow; 1] =
    [other("trusted", "string or string[]", "everybody", "load balancers that send the header")
        .accepts("addresses such as 'loopback' or '10.0.0.0/8' in a string or a non-empty array")];

/// The options of `tls`, which the facade reads.
pub(super) static TLS_OPTIONS: [OptionRow; 10] = [
    other("cert", "string, Buffer or array", "required", "certificate chain, the server's own first")
        .accepts("a PEM text or its bytes with a certificate, or an array of them"),
    other("key", "string, Buffer or array", "required", "private key, one for each of `cert`")
        .accepts("a PEM text or its bytes with the private key of the certificate, or an array of them"),
    other("passphrase", "string", "undefined", "opens `key`").accepts("a string"),
    other("sni", "object", "{}", "`cert`, `key` and `passphrase` by host name")
        .accepts("an object with host names such as 'example.com' or '*.example.com', and an object with cert and key for each"),
    OptionRow::new(
        "minVersion",
        Accepts::OneOf(&["TLSv1.2", "TLSv1.3"]),
        "oldest version",
    ),
    OptionRow::new(
        "maxVersion",
        Accepts::OneOf(&["TLSv1.3", "TLSv1.2"]),
        "newest version",
    ),
    other("ciphers", "string", "all of them", "cipher suites by OpenSSL's names")
        .accepts("names of cipher suites with colons between them"),
    flag("requestCert", "asks clients for a certificate"),
    other("rejectUnauthorized", "boolean", "true", "refuses those without a valid one")
        .accepts("a boolean"),
    other("ca", "string, Buffer or array", "Node's own", "who may have issued it")
        .accepts("a PEM text or its bytes with certificates, or an array of them"),
];

/// The options of `cluster`, which the facade reads.
pub(super) static CLUSTER_OPTIONS: [OptionRow; 8] = [
    other("url", "string or string[]", "required", "where Redis or Valkey is")
        .accepts("a URL such as 'redis://host:6379', 'rediss://host:6379' or 'redis+unix:///run/redis.sock', or an array of them for a Redis Cluster"),
    other("prefix", "string", "'nextrush-ws'", "stands before the names of channels")
        .accepts("1 to 64 letters, digits, '.', '_' and '-'"),
    other("username", "string", "undefined", "who logs in, in place of what `url` says")
        .accepts("a string, with a password beside it"),
    other("password", "string", "undefined", "the password, likewise").accepts("a string"),
    other("tls", "object", "{}", "`ca`, `cert`, `key` and `serverName`, for `rediss://`")
        .accepts("an object with ca, cert, key and serverName, for a URL that begins with 'rediss://'"),
    OptionRow::new(
        "subscribe",
        Accepts::OneOf(&["rooms", "one-channel"]),
        "what a server hears of others",
    ),
    number("publishBuffer", 1.0, MAX_SAFE_INTEGER, "bytes", "most that waits for the broker")
        .by_default(16_777_216.0),
    milliseconds("pingTimeoutMs", 100.0, 10_000.0, "longest silence of the broker after a ping"),
];

/// A number without a default.
const fn number(
    name: &'static str,
    from: f64,
    to: f64,
    unit: &'static str,
    meaning: &'static str,
) -> OptionRow {
    let number = Number { from, to, infinity: false, unit, default: None, derived: None };
    OptionRow::new(name, Accepts::Number(number), meaning)
}

const fn milliseconds(
    name: &'static str,
    from: f64,
    default: f64,
    meaning: &'static str,
) -> OptionRow {
    number(name, from, MAX_MS, "milliseconds", meaning).by_default(default)
}

const fn flag(name: &'static str, meaning: &'static str) -> OptionRow {
    OptionRow::new(name, Accepts::Flag, meaning)
}

const fn other(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> OptionRow {
    OptionRow::new(name, Accepts::Other { kind, accepted: kind, default }, meaning)
}

impl OptionRow {
    const fn new(name: &'static str, accepts: Accepts, meaning: &'static str) -> Self {
        Self { name, accepts, meaning, section: None }
    }

    const fn by_default(mut self, value: f64) -> Self {
        if let Accepts::Number(number) = &mut self.accepts {
            number.default = Some(value);
        }
        self
    }

    const fn by_default_of(mut self, expression: &'static str) -> Self {
        if let Accepts::Number(number) = &mut self.accepts {
            number.default = None;
            number.derived = Some(expression);
        }
        self
    }

    /// The same for a route: undefined is what the plugin has.
    const fn of_route(mut self) -> Self {
        match &mut self.accepts {
            Accepts::Number(number) => {
                number.default = None;
                number.derived = Some("the plugin's");
            }
            Accepts::Other { default, .. } => *default = "the plugin's",
            Accepts::Flag | Accepts::OneOf(_) => {}
        }
        self
    }

    const fn or_infinity(mut self) -> Self {
        if let Accepts::Number(number) = &mut self.accepts {
            number.infinity = true;
        }
        self
    }

    /// What errors say is accepted, where that is more than the type.
    const fn accepts(mut self, words: &'static str) -> Self {
        if let Accepts::Other { accepted, .. } = &mut self.accepts {
            *accepted = words;
        }
        self
    }

    const fn see(mut self, section: &'static str) -> Self {
        self.section = Some(section);
        self
    }
}

/// What an error says is accepted.
impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(Number { from, to, infinity, unit, .. }) => {
                let of = if unit.is_empty() { "" } else { " of " };
                let or = if *infinity { " or Infinity" } else { "" };
                write!(f, "a whole number{of}{unit} from {from} to {to}{or}")
            }
            Self::Flag => f.write_str("a boolean"),
            Self::OneOf(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                f.write_str(&quoted.join(" or "))
            }
            Self::Other { accepted, .. } => f.write_str(accepted),
        }
    }
}

/// An option as the documentation shows it.
#[napi(object, object_from_js = false)]
pub struct DocumentedOption {
    /// Its name.
    pub name: &'static str,
    /// Its type in a word or two.
    pub kind: &'static str,
    /// What a number counts.
    pub unit: Option<&'static str>,
    /// Its default, as it is written in JavaScript.
    pub default: String,
    /// What is accepted, in the words of the error.
    pub accepted: String,
    /// The least and the greatest number.
    pub range: Option<Vec<f64>>,
    /// Whether `Infinity` is accepted as well.
    pub infinity: bool,
    /// What it is for, in a few words.
    pub meaning: &'static str,
    /// Section of `docs/api.md` that has more.
    pub section: Option<&'static str>,
}

/// The tables of the documentation.
#[napi(object, object_from_js = false)]
pub struct OptionTables {
    /// The options of `WebSocketPlugin`.
    pub options: Vec<DocumentedOption>,
    /// Those of `ws`.
    pub ws: Vec<DocumentedOption>,
    /// Those of `perMessageDeflate`.
    pub per_message_deflate: Vec<DocumentedOption>,
    /// Those of `messageRate`.
    pub message_rate: Vec<DocumentedOption>,
    /// Those of `tls`.
    pub tls: Vec<DocumentedOption>,
    /// Those of `cluster`.
    pub cluster: Vec<DocumentedOption>,
}

/// What options there are, for the documentation.
#[napi]
pub fn option_tables() -> OptionTables {
    OptionTables {
        options: OPTIONS.iter().map(OptionRow::documented).collect(),
        ws: ROUTE_OPTIONS.iter().map(OptionRow::documented).collect(),
        per_message_deflate: DEFLATE_OPTIONS.iter().map(OptionRow::documented).collect(),
        message_rate: MESSAGE_RATE_OPTIONS.iter().map(OptionRow::documented).collect(),
        tls: TLS_OPTIONS.iter().map(OptionRow::documented).collect(),
        cluster: CLUSTER_OPTIONS.iter().map(OptionRow::documented).collect(),
    }
}

/// A number as JavaScript writes it.
fn in_javascript(number: f64) -> String {
    if number.is_infinite() { "Infinity".to_owned() } else { number.to_string() }
}

impl OptionRow {
    fn documented(&self) -> DocumentedOption {
        let (kind, default) = match &self.accepts {
            Accepts::Number(Number { default: Some(default), .. }) => {
                ("number", in_javascript(*default))
            }
            Accepts::Number(number) => ("number", number.derived.unwrap_or("undefined").to_owned()),
            Accepts::Flag => ("boolean", "false".to_owned()),
            Accepts::OneOf(words) => ("string", format!("'{}'", words[0])),
            Accepts::Other { kind, default, .. } => (*kind, (*default).to_owned()),
        };
        let number = match &self.accepts {
            Accepts::Number(number) => Some(number),
            _ => None,
        };
        DocumentedOption {
            name: self.name,
            kind,
            unit: number.map(|number| number.unit).filter(|unit| !unit.is_empty()),
            default,
            accepted: self.accepts.to_string(),
            range: number.map(|number| vec![number.from, number.to]),
            infinity: number.is_some_and(|number| number.infinity),
            meaning: self.meaning,
            section: self.section,
        }
    }
}
