//! Reads and checks `WebSocketPluginOptions`.
//!
//! `undefined` always means the default. Everything else that does not fit is refused when the
//! plugin is constructed, with an error that names the option, the value and what is accepted.

use std::ops::RangeInclusive;
use std::time::Duration;

use napi::bindgen_prelude::*;
use napi::{Env, JsValue, ValueType};

use crate::engine::{Overflow, Settings};
use crate::handshake::{DeflateOptions, OriginRules, RegExpSupport, RouteTable, offered_protocols};

/// Longest timer that Node and the engine agree on, in milliseconds.
const MAX_MS: f64 = i32::MAX as f64;

/// Longest JavaScript string on 64-bit platforms, in characters; a longer message could not be
/// delivered as text.
const MAX_MESSAGE: f64 = 536_870_888.0;

/// Options after checking.
pub(super) struct Options {
    pub settings: Settings,
    /// Paths that are accepted even where no handler is registered.
    pub paths: RouteTable,
    pub origins: OriginRules,
    /// Indices of `allowOrigins` whose RegExp has to run in JavaScript.
    pub regexps_for_javascript: Vec<u32>,
    /// `None` is no limit.
    pub max_connections: Option<u32>,
    pub handshake_timeout_ms: u32,
    pub protocols: Protocols,
    /// `None` is no compression.
    pub deflate: Option<DeflateOptions>,
    pub max_rooms_per_connection: Option<u32>,
    pub max_room_name_length: Option<u32>,
    pub debug: bool,
}

/// How a subprotocol is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protocols {
    /// The option is absent: the client's first choice.
    Any,
    /// The first of these that the client offers.
    Preferred(Vec<String>),
    /// A function of the application's.
    Function,
}

/// What kind of error a bad option is.
enum Bad {
    Type(String),
    Range(String),
    Napi(Error),
}

impl From<Error> for Bad {
    fn from(error: Error) -> Self {
        Self::Napi(error)
    }
}

/// More threads than this cannot be fed by one JavaScript thread on any machine there is.
const MAX_IO_THREADS: f64 = 64.0;

type Checked<T> = std::result::Result<T, Bad>;

impl Options {
    /// Reads `value`, which may be `undefined`.
    ///
    /// # Errors
    /// A pending `TypeError` or `RangeError`.
    pub fn read(env: &Env, value: Unknown<'_>) -> Result<Self> {
        Self::check(value).map_err(|bad| match bad {
            Bad::Type(message) => pending(env.throw_type_error(&message, None)),
            Bad::Range(message) => pending(env.throw_range_error(&message, None)),
            Bad::Napi(error) => error,
        })
    }

    fn check(value: Unknown<'_>) -> Checked<Self> {
        let reader = Reader::new(value)?;
        let (origins, regexps_for_javascript) = reader.origins()?;
        let deflate = reader.deflate()?;
        let verify_client = reader.get("verifyClient")?;
        if let Some(value) = verify_client
            && value.get_type()? != ValueType::Function
        {
            return Err(reader.wrong_type("verifyClient", "a function", value));
        }
        Ok(Self {
            settings: Settings {
                io_threads: reader
                    .number("ioThreads", 1.0..=MAX_IO_THREADS, false, "threads")?
                    .map_or(1, |threads| threads as u32),
                max_message_size: reader.bytes("maxMessageSize", 1_048_576.0)?,
                heartbeat: reader.duration("heartbeatMs", 30_000.0, 0.0)?,
                pong_timeout: reader.duration("pongTimeoutMs", 45_000.0, 0.0)?,
                close_timeout: reader.duration("closeTimeoutMs", 5_000.0, 1.0)?,
                max_backpressure: reader
                    .number("maxBackpressure", 1.0..=9_007_199_254_740_991.0, true, "bytes")?
                    .map_or(16 << 20, |bytes| bytes as usize),
                overflow: reader.overflow()?,
                deflate_threshold: deflate.unwrap_or_default().threshold,
                deflate_level: deflate.unwrap_or_default().level,
            },
            paths: reader.paths()?,
            origins,
            regexps_for_javascript,
            max_connections: reader.limit("maxConnections", 0.0, "connections", 10_000)?,
            protocols: reader.protocols()?,
            deflate,
            max_rooms_per_connection: reader.limit(
                "maxRoomsPerConnection",
                1.0,
                "rooms",
                10_000,
            )?,
            max_room_name_length: reader.limit("maxRoomNameLength", 1.0, "UTF-16 units", 65_536)?,
            handshake_timeout_ms: reader.duration("handshakeTimeoutMs", 10_000.0, 1.0)?.as_millis()
                as u32,
            debug: reader.flag("debug")?,
        })
    }
}

/// The status for an error that JavaScript already has.
pub(super) fn pending(thrown: Result<()>) -> Error {
    match thrown {
        Ok(()) => Error::new(Status::PendingException, String::new()),
        Err(error) => error,
    }
}

struct Reader<'env> {
    /// `None` where no options were given.
    options: Option<Object<'env>>,
    /// What stands before an option's name in an error: empty, or the option it belongs to.
    prefix: &'static str,
}

impl<'env> Reader<'env> {
    fn new(value: Unknown<'env>) -> Checked<Self> {
        match value.get_type()? {
            ValueType::Undefined => Ok(Self { options: None, prefix: "" }),
            ValueType::Object if !value.is_array()? => {
                Ok(Self { options: Some(value.coerce_to_object()?), prefix: "" })
            }
            _ => Err(Bad::Type(format!(
                "WebSocketPlugin: options must be an object, got {}",
                describe(value)
            ))),
        }
    }

    /// The option `name`, or `None` for `undefined`.
    fn get(&self, name: &str) -> Checked<Option<Unknown<'env>>> {
        match &self.options {
            None => Ok(None),
            Some(options) => Ok(options.get(name)?),
        }
    }

    fn wrong_type(&self, name: &str, accepted: &str, value: Unknown<'_>) -> Bad {
        Bad::Type(format!(
            "WebSocketPlugin: option \"{}{name}\" must be {accepted}, got {}",
            self.prefix,
            describe(value)
        ))
    }

    /// A whole number within `range`, or `Infinity` where that is allowed.
    fn number(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
        infinity: bool,
        unit: &str,
    ) -> Checked<Option<f64>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let accepted = format!(
            "a whole number of {unit} from {} to {}{}",
            range.start(),
            range.end(),
            if infinity { " or Infinity" } else { "" }
        );
        if value.get_type()? != ValueType::Number {
            return Err(self.wrong_type(name, &accepted, value));
        }
        let number = value.coerce_to_number()?.get_double()?;
        let fits = range.contains(&number) && number.fract() == 0.0;
        if fits || (infinity && number == f64::INFINITY) {
            Ok(Some(number))
        } else {
            Err(Bad::Range(format!(
                "WebSocketPlugin: option \"{}{name}\" must be {accepted}, got {}",
                self.prefix,
                describe(value)
            )))
        }
    }

    fn duration(&self, name: &str, default: f64, least: f64) -> Checked<Duration> {
        let number = self.number(name, least..=MAX_MS, false, "milliseconds")?;
        Ok(Duration::from_millis(number.unwrap_or(default) as u64))
    }

    fn bytes(&self, name: &str, default: f64) -> Checked<u64> {
        Ok(self.number(name, 1.0..=MAX_MESSAGE, false, "bytes")?.unwrap_or(default) as u64)
    }

    /// A limit with a default; `Infinity` is none.
    fn limit(&self, name: &str, least: f64, unit: &str, default: u32) -> Checked<Option<u32>> {
        Ok(match self.number(name, least..=4_294_967_295.0, true, unit)? {
            None => Some(default),
            Some(f64::INFINITY) => None,
            Some(limit) => Some(limit as u32),
        })
    }

    fn flag(&self, name: &str) -> Checked<bool> {
        match self.get(name)? {
            None => Ok(false),
            Some(value) if value.get_type()? == ValueType::Boolean => Ok(value.coerce_to_bool()?),
            Some(value) => Err(self.wrong_type(name, "a boolean", value)),
        }
    }

    fn deflate(&self) -> Checked<Option<DeflateOptions>> {
        const NAME: &str = "perMessageDeflate";
        let Some(value) = self.get(NAME)? else { return Ok(None) };
        match value.get_type()? {
            ValueType::Boolean => {
                return Ok(value.coerce_to_bool()?.then(DeflateOptions::default));
            }
            ValueType::Object if !value.is_array()? => {}
            _ => return Err(self.wrong_type(NAME, "a boolean or an object", value)),
        }
        let own = Reader { options: Some(value.coerce_to_object()?), prefix: "perMessageDeflate." };
        let default = DeflateOptions::default();
        let threshold = own.number("threshold", 0.0..=MAX_MESSAGE, false, "bytes")?;
        let level = own.number("level", 0.0..=9.0, false, "steps")?;
        let server_bits = own.number("serverMaxWindowBits", 9.0..=15.0, false, "bits")?;
        let client_bits = own.number("clientMaxWindowBits", 9.0..=15.0, false, "bits")?;
        // Known from `ws`. Here all compression runs on the I/O thread, so it limits nothing.
        own.number("concurrency", 1.0..=MAX_MS, true, "tasks")?;
        Ok(Some(DeflateOptions {
            threshold: threshold.map_or(default.threshold, |bytes| bytes as usize),
            level: level.map_or(default.level, |level| level as u32),
            server_no_context_takeover: own.flag("serverNoContextTakeover")?,
            client_no_context_takeover: own.flag("clientNoContextTakeover")?,
            server_max_window_bits: server_bits
                .map_or(default.server_max_window_bits, |bits| bits as u8),
            client_max_window_bits: client_bits.map(|bits| bits as u8),
        }))
    }

    fn protocols(&self) -> Checked<Protocols> {
        const NAME: &str = "protocols";
        const ACCEPTED: &str =
            "a function or a non-empty array of distinct subprotocol names (HTTP tokens)";
        let Some(value) = self.get(NAME)? else { return Ok(Protocols::Any) };
        if value.get_type()? == ValueType::Function {
            return Ok(Protocols::Function);
        }
        if !value.is_array()? {
            return Err(self.wrong_type(NAME, ACCEPTED, value));
        }
        let mut names = Vec::new();
        for element in self.elements(value)? {
            match element.map(text).transpose()?.flatten() {
                Some(name) => names.push(name),
                None => return Err(self.wrong_type(NAME, ACCEPTED, element.unwrap_or(value))),
            }
        }
        // One rule for what the server names and what a client may offer.
        match offered_protocols(&names.join(",")) {
            Ok(read) if read.len() == names.len() => Ok(Protocols::Preferred(names)),
            _ => Err(Bad::Type(format!(
                "WebSocketPlugin: option \"{NAME}\" must be {ACCEPTED}, got {names:?}"
            ))),
        }
    }

    fn overflow(&self) -> Checked<Overflow> {
        let Some(value) = self.get("backpressurePolicy")? else { return Ok(Overflow::Close) };
        match text(value)?.as_deref() {
            Some("close") => Ok(Overflow::Close),
            Some("drop") => Ok(Overflow::Drop),
            _ => Err(self.wrong_type("backpressurePolicy", "'close' or 'drop'", value)),
        }
    }

    /// The elements of an array option.
    fn elements(&self, array: Unknown<'env>) -> Checked<Vec<Option<Unknown<'env>>>> {
        let array = array.coerce_to_object()?;
        let len = array.get_array_length()?;
        (0..len).map(|index| Ok(array.get(&index.to_string())?)).collect()
    }

    fn paths(&self) -> Checked<RouteTable> {
        const ACCEPTED: &str = "a path such as '/ws' or a non-empty array of paths";
        let mut table = RouteTable::default();
        let mut insert = |pattern: &str| match table.insert(pattern, 0) {
            Ok(()) | Err(crate::handshake::RouteError::Taken { .. }) => Ok(()),
            Err(error) => Err(Bad::Type(format!("WebSocketPlugin: option \"path\": {error}"))),
        };
        let Some(value) = self.get("path")? else {
            insert("/ws")?;
            return Ok(table);
        };
        if let Some(pattern) = text(value)? {
            insert(&pattern)?;
        } else if value.is_array()? {
            let elements = self.elements(value)?;
            if elements.is_empty() {
                return Err(self.wrong_type("path", ACCEPTED, value));
            }
            for element in elements {
                match element.map(text).transpose()?.flatten() {
                    Some(pattern) => insert(&pattern)?,
                    None => {
                        return Err(self.wrong_type("path", ACCEPTED, element.unwrap_or(value)));
                    }
                }
            }
        } else {
            return Err(self.wrong_type("path", ACCEPTED, value));
        }
        Ok(table)
    }

    fn origins(&self) -> Checked<(OriginRules, Vec<u32>)> {
        const ACCEPTED: &str = "an array of strings and regular expressions";
        let mut rules = OriginRules::default();
        let mut for_javascript = Vec::new();
        let Some(value) = self.get("allowOrigins")? else { return Ok((rules, for_javascript)) };
        if !value.is_array()? {
            return Err(self.wrong_type("allowOrigins", ACCEPTED, value));
        }
        for (index, element) in self.elements(value)?.into_iter().enumerate() {
            let Some(element) = element else {
                return Err(Bad::Type(format!(
                    "WebSocketPlugin: option \"allowOrigins\" must be {ACCEPTED}, got undefined \
                     at index {index}"
                )));
            };
            if let Some(pattern) = text(element)? {
                rules.add_text(&pattern).map_err(|error| {
                    Bad::Type(format!("WebSocketPlugin: option \"allowOrigins\": {error}"))
                })?;
            } else if let Some((source, flags)) = regexp(element)? {
                if rules.add_regexp(&source, &flags) == RegExpSupport::NeedsJavaScript {
                    for_javascript.push(index as u32);
                }
            } else {
                return Err(self.wrong_type("allowOrigins", ACCEPTED, element));
            }
        }
        Ok((rules, for_javascript))
    }
}

/// The text of a string value.
fn text(value: Unknown<'_>) -> Checked<Option<String>> {
    Ok(match value.get_type()? {
        ValueType::String => Some(value.coerce_to_string()?.into_utf8()?.into_owned()?),
        _ => None,
    })
}

/// Source and flags of a RegExp, told by its shape: `instanceof` fails for one from another realm,
/// as test runners make them.
fn regexp(value: Unknown<'_>) -> Checked<Option<(String, String)>> {
    if value.get_type()? != ValueType::Object {
        return Ok(None);
    }
    let object = value.coerce_to_object()?;
    let test: Option<Unknown<'_>> = object.get("test")?;
    let is_function = match test {
        Some(test) => test.get_type()? == ValueType::Function,
        None => false,
    };
    let source: Option<Unknown<'_>> = object.get("source")?;
    let flags: Option<Unknown<'_>> = object.get("flags")?;
    match (is_function, source, flags) {
        (true, Some(source), Some(flags)) => Ok(text(source)?.zip(text(flags)?)),
        _ => Ok(None),
    }
}

/// A value in words for an error message.
fn describe(value: Unknown<'_>) -> String {
    let kind = value.get_type().unwrap_or(ValueType::Unknown);
    let coerced = || value.coerce_to_string()?.into_utf8()?.into_owned();
    match kind {
        ValueType::Undefined => "undefined".into(),
        ValueType::Null => "null".into(),
        ValueType::String => format!("{:?}", coerced().unwrap_or_default()),
        ValueType::Number | ValueType::Boolean => coerced().unwrap_or_default(),
        ValueType::Function => "a function".into(),
        ValueType::Object if value.is_array().unwrap_or(false) => "an array".into(),
        ValueType::Object => "an object".into(),
        other => format!("a {}", format!("{other:?}").to_lowercase()),
    }
}
