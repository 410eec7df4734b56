//! Reads and checks `WebSocketPluginOptions`.
//!
//! `undefined` always means the default. Everything else that does not fit is refused when the
//! plugin is constructed, with an error that names the option, the value and what is accepted; so
//! is what is no option.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use napi::bindgen_prelude::*;
use napi::{Env, JsValue, ValueType};

use super::describe::{Intrinsics, describe};
use super::option_names::nearest;
use crate::engine::{Overflow, Settings};
use crate::handshake::{
    DeflateOptions, OriginRules, RegExpSupport, RouteError, RouteTable, SubprotocolRule,
    offered_protocols, shown,
};

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
    pub protocols: SubprotocolRule,
    /// `None` is no compression.
    pub deflate: Option<DeflateOptions>,
    pub max_rooms_per_connection: Option<u32>,
    pub max_room_name_length: Option<u32>,
    pub debug: bool,
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
        Self::check(env, value).map_err(|bad| match bad {
            Bad::Type(message) => pending(env.throw_type_error(&message, None)),
            Bad::Range(message) => pending(env.throw_range_error(&message, None)),
            Bad::Napi(error) => error,
        })
    }

    fn check(env: &Env, value: Unknown<'_>) -> Checked<Self> {
        let reader = Reader::new(env, value)?;
        // In the order of the documentation, which is the order in which they are listed.
        let paths = reader.paths()?;
        let heartbeat = reader.duration("heartbeatMs", 30_000.0, 0.0)?;
        let pong_timeout = reader.duration("pongTimeoutMs", 45_000.0, 0.0)?;
        let max_connections = reader.limit("maxConnections", 0.0, "connections", 10_000)?;
        let max_message_size = reader.bytes("maxMessageSize", 1_048_576.0)?;
        let (origins, regexps_for_javascript) = reader.origins()?;
        reader.check_function("verifyClient")?;
        let debug = reader.flag("debug")?;
        let handshake_timeout = reader.duration("handshakeTimeoutMs", 10_000.0, 1.0)?;
        let close_timeout = reader.duration("closeTimeoutMs", 5_000.0, 1.0)?;
        let max_backpressure = reader
            .number("maxBackpressure", 1.0..=9_007_199_254_740_991.0, true, "bytes")?
            .map_or(16 << 20, |bytes| bytes as usize);
        let overflow = reader.overflow()?;
        let io_threads = reader
            .number("ioThreads", 1.0..=MAX_IO_THREADS, false, "threads")?
            .map_or(1, |threads| threads as u32);
        let max_rooms_per_connection =
            reader.limit("maxRoomsPerConnection", 1.0, "rooms", 10_000)?;
        let max_room_name_length =
            reader.limit("maxRoomNameLength", 1.0, "UTF-16 units", 65_536)?;
        let deflate = reader.deflate()?;
        let protocols = reader.protocols()?;
        reader.refuse_unknown()?;
        Ok(Self {
            settings: Settings {
                io_threads,
                max_message_size,
                heartbeat,
                pong_timeout,
                close_timeout,
                max_backpressure,
                overflow,
                deflate_threshold: deflate.unwrap_or_default().threshold,
                deflate_level: deflate.unwrap_or_default().level,
            },
            paths,
            origins,
            regexps_for_javascript,
            max_connections,
            protocols,
            deflate,
            max_rooms_per_connection,
            max_room_name_length,
            handshake_timeout_ms: handshake_timeout.as_millis() as u32,
            debug,
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
    env: Env,
    /// `None` where no options were given.
    options: Option<Object<'env>>,
    /// What stands before an option's name in an error: empty, or the option it belongs to.
    prefix: &'static str,
    /// The options that were asked for.
    known: RefCell<Vec<&'static str>>,
}

impl<'env> Reader<'env> {
    fn new(env: &Env, value: Unknown<'env>) -> Checked<Self> {
        let options = match value.get_type()? {
            ValueType::Undefined => None,
            ValueType::Object if !value.is_array()? => Some(value.coerce_to_object()?),
            _ => {
                return Err(Bad::Type(format!(
                    "WebSocketPlugin: options must be an object, got {}",
                    describe(env, value)
                )));
            }
        };
        Ok(Self { env: *env, options, prefix: "", known: RefCell::default() })
    }

    /// The option `name`, or `None` for `undefined`.
    fn get(&self, name: &'static str) -> Checked<Option<Unknown<'env>>> {
        self.known.borrow_mut().push(name);
        match &self.options {
            None => Ok(None),
            Some(options) => Ok(options.get(name)?),
        }
    }

    /// Refuses everything that was not asked for, also what is inherited, unless from
    /// `Object.prototype`. To be called after everything has been.
    fn refuse_unknown(&self) -> Checked<()> {
        let Some(options) = &self.options else { return Ok(()) };
        let intrinsics = Intrinsics::new(&self.env)?;
        let known = self.known.borrow();
        let mut level = Some(options.to_unknown());
        while let Some(object) = level {
            for key in intrinsics.own_keys(object)? {
                let is_known = known.iter().any(|known| *known == key);
                let is_given = || -> Result<bool> {
                    let value = intrinsics.property(options.to_unknown(), &key)?;
                    Ok(value.get_type()? != ValueType::Undefined)
                };
                if !is_known && is_given()? {
                    return Err(self.unknown(&key));
                }
            }
            level = match intrinsics.prototype(object)? {
                Some(prototype) if intrinsics.is_object_prototype(prototype)? => None,
                prototype => prototype,
            };
        }
        Ok(())
    }

    fn unknown(&self, key: &str) -> Bad {
        let prefix = self.prefix;
        let known = self.known.borrow();
        let hint = match nearest(key, &known) {
            Some(nearest) => format!("did you mean \"{prefix}{nearest}\"?"),
            None => {
                let all: Vec<String> =
                    known.iter().map(|known| format!("\"{prefix}{known}\"")).collect();
                format!("accepted are {}", all.join(", "))
            }
        };
        let name = shown(&format!("{prefix}{key}"));
        Bad::Type(format!("WebSocketPlugin: unknown option {name}; {hint}"))
    }

    fn wrong_type(&self, name: &str, accepted: &str, value: Unknown<'_>) -> Bad {
        self.wrong(name, accepted, &describe(&self.env, value))
    }

    /// As [`Self::wrong_type`], for an element of an array.
    fn wrong_element(
        &self,
        name: &str,
        accepted: &str,
        element: Option<Unknown<'_>>,
        index: usize,
    ) -> Bad {
        let got = element.map_or("undefined".into(), |value| describe(&self.env, value));
        self.wrong(name, accepted, &format!("{got} at index {index}"))
    }

    fn wrong(&self, name: &str, accepted: &str, got: &str) -> Bad {
        let prefix = self.prefix;
        Bad::Type(format!(
            "WebSocketPlugin: option \"{prefix}{name}\" must be {accepted}, got {got}"
        ))
    }

    fn check_function(&self, name: &'static str) -> Checked<()> {
        match self.get(name)? {
            Some(value) if value.get_type()? != ValueType::Function => {
                Err(self.wrong_type(name, "a function", value))
            }
            _ => Ok(()),
        }
    }

    /// A whole number of `unit`, if it has one, within `range`, or `Infinity` where that is allowed.
    fn number(
        &self,
        name: &'static str,
        range: RangeInclusive<f64>,
        infinity: bool,
        unit: &str,
    ) -> Checked<Option<f64>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let of = if unit.is_empty() { "" } else { " of " };
        let accepted = format!(
            "a whole number{of}{unit} from {} to {}{}",
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
                describe(&self.env, value)
            )))
        }
    }

    fn duration(&self, name: &'static str, default: f64, least: f64) -> Checked<Duration> {
        let number = self.number(name, least..=MAX_MS, false, "milliseconds")?;
        Ok(Duration::from_millis(number.unwrap_or(default) as u64))
    }

    fn bytes(&self, name: &'static str, default: f64) -> Checked<u64> {
        Ok(self.number(name, 1.0..=MAX_MESSAGE, false, "bytes")?.unwrap_or(default) as u64)
    }

    /// A limit with a default; `Infinity` is none.
    fn limit(
        &self,
        name: &'static str,
        least: f64,
        unit: &str,
        default: u32,
    ) -> Checked<Option<u32>> {
        Ok(match self.number(name, least..=4_294_967_295.0, true, unit)? {
            None => Some(default),
            Some(f64::INFINITY) => None,
            Some(limit) => Some(limit as u32),
        })
    }

    fn flag(&self, name: &'static str) -> Checked<bool> {
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
        let own = Reader {
            env: self.env,
            options: Some(value.coerce_to_object()?),
            prefix: "perMessageDeflate.",
            known: RefCell::default(),
        };
        let default = DeflateOptions::default();
        let threshold = own.number("threshold", 0.0..=MAX_MESSAGE, false, "bytes")?;
        let level = own.number("level", 0.0..=9.0, false, "")?;
        let server_bits = own.number("serverMaxWindowBits", 9.0..=15.0, false, "bits")?;
        let client_bits = own.number("clientMaxWindowBits", 9.0..=15.0, false, "bits")?;
        // Known from `ws`. Here all compression runs on the I/O thread, so it limits nothing.
        own.number("concurrency", 1.0..=MAX_MS, true, "tasks")?;
        let server_no_context_takeover = own.flag("serverNoContextTakeover")?;
        let client_no_context_takeover = own.flag("clientNoContextTakeover")?;
        own.refuse_unknown()?;
        Ok(Some(DeflateOptions {
            threshold: threshold.map_or(default.threshold, |bytes| bytes as usize),
            level: level.map_or(default.level, |level| level as u32),
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits: server_bits
                .map_or(default.server_max_window_bits, |bits| bits as u8),
            client_max_window_bits: client_bits.map(|bits| bits as u8),
        }))
    }

    fn protocols(&self) -> Checked<SubprotocolRule> {
        const NAME: &str = "protocols";
        const ACCEPTED: &str =
            "a function or a non-empty array of distinct subprotocol names (HTTP tokens)";
        let Some(value) = self.get(NAME)? else { return Ok(SubprotocolRule::First) };
        if value.get_type()? == ValueType::Function {
            return Ok(SubprotocolRule::Application);
        }
        if !value.is_array()? {
            return Err(self.wrong_type(NAME, ACCEPTED, value));
        }
        let mut names: Vec<String> = Vec::new();
        for (index, element) in self.elements(value)?.into_iter().enumerate() {
            // One rule for what the server names and what a client may offer.
            let is_name =
                |name: &String| offered_protocols(name).is_ok_and(|read| read == [name.as_str()]);
            match element.map(text).transpose()?.flatten().filter(is_name) {
                Some(name) if names.contains(&name) => {
                    let got = format!("{} twice", shown(&name));
                    return Err(self.wrong(NAME, ACCEPTED, &got));
                }
                Some(name) => names.push(name),
                None => return Err(self.wrong_element(NAME, ACCEPTED, element, index)),
            }
        }
        if names.is_empty() {
            return Err(self.wrong_type(NAME, ACCEPTED, value));
        }
        Ok(SubprotocolRule::Preferred(names))
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
            // Twice the same path does no harm here, where no handler is lost.
            Ok(()) | Err(RouteError::Taken { .. }) => Ok(()),
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
            for (index, element) in elements.into_iter().enumerate() {
                match element.map(text).transpose()?.flatten() {
                    Some(pattern) => insert(&pattern)?,
                    None => return Err(self.wrong_element("path", ACCEPTED, element, index)),
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
            let wrong = || self.wrong_element("allowOrigins", ACCEPTED, element, index);
            let element = element.ok_or_else(wrong)?;
            if let Some(pattern) = text(element)? {
                rules.add_text(&pattern).map_err(|error| {
                    Bad::Type(format!("WebSocketPlugin: option \"allowOrigins\": {error}"))
                })?;
            } else if let Some((source, flags)) = regexp(element)? {
                if rules.add_regexp(&source, &flags) == RegExpSupport::NeedsJavaScript {
                    for_javascript.push(index as u32);
                }
            } else {
                return Err(wrong());
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
