//! Reads and checks `WebSocketPluginOptions` and the options of `ws`, which [`super::option_table`] lists.
//!
//! `undefined` always means the default, which for a route is what the plugin has. Everything else that
//! does not fit is refused when the plugin is constructed, or the route added, with an error that names the option, the value and what is accepted; so
//! is what is no option.

use std::rc::Rc;
use std::time::Duration;

use napi::bindgen_prelude::*;
use napi::{Env, JsValue, ValueType};

use super::describe::{Intrinsics, describe};
use super::option_names::nearest;
use super::option_table::{
    Accepts, DEFLATE_OPTIONS, MESSAGE_RATE_OPTIONS, OPTIONS, OptionRow, PROXY_PROTOCOL_OPTIONS,
    ROUTE_OPTIONS,
};
use super::rules::{RouteOptions, Rules};
use crate::exchange::Settings;
use crate::handshake::{
    DeflateOptions, OriginRules, RegExpSupport, RouteError, RouteTable, Subnet, SubnetError,
    SubprotocolRule, TrustedProxies, offered_protocols, shown,
};
use crate::session::{Limits, MessageRate, Overflow, RatePolicy};

/// Options after checking.
pub(super) struct Options {
    pub settings: Settings,
    /// Paths that are accepted even where no handler is registered.
    pub paths: RouteTable,
    /// What holds for connections whose route says nothing else.
    pub rules: Rules,
    /// Indices of `allowOrigins` whose RegExp has to run in JavaScript.
    pub regexps_for_javascript: Vec<u32>,
    /// `None` is no limit.
    pub max_connections: Option<u32>,
    /// Likewise.
    pub max_connections_per_ip: Option<u32>,
    pub trusted_proxies: TrustedProxies,
    /// Whose connections begin with a PROXY header; empty for everybody's, `None` for nobody's.
    pub load_balancers: Option<Vec<Subnet>>,
    pub handshake_timeout_ms: u32,
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

/// The share of the process's memory that connections may have it keep, unless the option says
/// otherwise.
const SHARE_OF_MEMORY: f64 = 0.25;

impl Bad {
    fn throw(self, env: &Env) -> Error {
        match self {
            Self::Type(message) => pending(env.throw_type_error(&message, None)),
            Self::Range(message) => pending(env.throw_range_error(&message, None)),
            Self::Napi(error) => error,
        }
    }
}

type Checked<T> = std::result::Result<T, Bad>;

impl Options {
    /// Reads `value`, which may be `undefined`. `memory` is what the process may use, in bytes.
    ///
    /// # Errors
    /// A pending `TypeError` or `RangeError`.
    pub fn read(env: &Env, value: Unknown<'_>, memory: f64) -> Result<Self> {
        Self::check(env, value, memory).map_err(|bad| bad.throw(env))
    }

    fn check(env: &Env, value: Unknown<'_>, memory: f64) -> Checked<Self> {
        let reader = Reader::new(env, "WebSocketPlugin", &OPTIONS, value)?;
        // In the order of the table: of several faults the first is named.
        let paths = reader.paths()?;
        let heartbeat = reader.count("heartbeatMs")? as u32;
        let pong_timeout = reader.duration("pongTimeoutMs")?;
        let max_connections = reader.limit("maxConnections")?;
        let max_connections_per_ip = reader.limit("maxConnectionsPerIp")?;
        let trusted_proxies = reader.trusted_proxies()?;
        let max_message_size = reader.count("maxMessageSize")? as u32;
        let message_rate = reader.message_rate()?;
        let (origins, regexps_for_javascript) = reader.origins()?;
        reader.check_function("verifyClient")?;
        let debug = reader.flag("debug")?;
        let handshake_timeout = reader.duration("handshakeTimeoutMs")?;
        let close_timeout = reader.duration("closeTimeoutMs")?;
        let max_backpressure = reader.count("maxBackpressure")? as usize;
        let overflow = match reader.one_of("backpressurePolicy")? {
            "drop" => Overflow::Drop,
            _ => Overflow::Close,
        };
        let max_buffered_bytes =
            reader.number("maxBufferedBytes")?.unwrap_or(memory * SHARE_OF_MEMORY) as usize;
        let io_threads = reader.count("ioThreads")? as u32;
        let protocols = reader.protocols()?;
        let deflate = reader.deflate()?;
        let load_balancers = reader.load_balancers()?;
        let max_rooms_per_connection = reader.limit("maxRoomsPerConnection")?;
        let max_room_name_length = reader.limit("maxRoomNameLength")?;
        reader.refuse_unknown()?;
        Ok(Self {
            settings: Settings {
                io_threads,
                close_timeout,
                max_buffered_bytes,
                limits: Limits {
                    max_backpressure,
                    overflow,
                    pong_timeout: pong_timeout.as_millis() as u64,
                },
            },
            paths,
            rules: Rules {
                heartbeat,
                max_message_size,
                message_rate,
                origins: Rc::new(origins),
                protocols: Rc::new(protocols),
                deflate,
            },
            regexps_for_javascript,
            max_connections,
            max_connections_per_ip,
            trusted_proxies,
            load_balancers,
            max_rooms_per_connection,
            max_room_name_length,
            handshake_timeout_ms: handshake_timeout.as_millis() as u32,
            debug,
        })
    }
}

impl RouteOptions {
    /// Reads the options of a route, which may be `undefined`: `None`, as nothing is said there.
    ///
    /// # Errors
    /// A pending `TypeError` or `RangeError`.
    pub fn read(env: &Env, value: Unknown<'_>) -> Result<Option<Self>> {
        Self::check(env, value).map_err(|bad| bad.throw(env))
    }

    fn check(env: &Env, value: Unknown<'_>) -> Checked<Option<Self>> {
        let reader = Reader::new(env, "ws", &ROUTE_OPTIONS, value)?;
        let heartbeat = reader.number("heartbeatMs")?.map(|millis| millis as u32);
        let max_connections = reader.given("maxConnections", |reader, name| {
            Ok(reader
                .number(name)?
                .filter(|limit| *limit != f64::INFINITY)
                .map(|limit| limit as u32))
        })?;
        let max_message_size = reader.number("maxMessageSize")?.map(|bytes| bytes as u32);
        let message_rate = reader.message_rate()?;
        let origins = reader.given("allowOrigins", |reader, _| reader.origins())?;
        reader.check_function("verifyClient")?;
        let protocols = reader.given("protocols", |reader, _| reader.protocols())?;
        let deflate = reader.given("perMessageDeflate", |reader, _| reader.deflate())?;
        reader.check_functions("use")?;
        reader.refuse_unknown()?;
        let (origins, regexps_for_javascript) = origins.unzip();
        let options = Self {
            heartbeat,
            max_connections,
            max_message_size,
            message_rate,
            origins,
            regexps_for_javascript: regexps_for_javascript.unwrap_or_default(),
            protocols,
            deflate,
        };
        Ok(reader.options.is_some().then_some(options))
    }
}

#[cfg(unix)]
impl Options {
    /// Time limit of a TLS handshake, and of the upgrade after it.
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.handshake_timeout_ms))
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
    /// What they are given to, at the start of each error.
    given_to: &'static str,
    /// What stands before an option's name in an error: empty, or the option it belongs to.
    prefix: &'static str,
    /// The options that there are.
    table: &'static [OptionRow],
}

impl<'env> Reader<'env> {
    fn new(
        env: &Env,
        given_to: &'static str,
        table: &'static [OptionRow],
        value: Unknown<'env>,
    ) -> Checked<Self> {
        let options = match value.get_type()? {
            ValueType::Undefined => None,
            ValueType::Object if !value.is_array()? => Some(value.coerce_to_object()?),
            _ => {
                return Err(Bad::Type(format!(
                    "{given_to}: options must be an object, got {}",
                    describe(env, value)
                )));
            }
        };
        Ok(Self { env: *env, options, given_to, prefix: "", table })
    }

    /// The row of an option, which has to be in the table.
    fn row(&self, name: &str) -> &'static OptionRow {
        self.table.iter().find(|row| row.name == name).expect("only options of the table are read")
    }

    /// The option's value, or `None` for `undefined`.
    fn get(&self, row: &OptionRow) -> Checked<Option<Unknown<'env>>> {
        match &self.options {
            None => Ok(None),
            Some(options) => Ok(options.get(row.name)?),
        }
    }

    /// Refuses everything that is not in the table, also what is inherited, unless from
    /// `Object.prototype`.
    fn refuse_unknown(&self) -> Checked<()> {
        let Some(options) = &self.options else { return Ok(()) };
        let intrinsics = Intrinsics::new(&self.env)?;
        let mut level = Some(options.to_unknown());
        while let Some(object) = level {
            for key in intrinsics.own_keys(object)? {
                let is_known = self.table.iter().any(|row| row.name == key);
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
        let known: Vec<&str> = self.table.iter().map(|row| row.name).collect();
        let hint = match nearest(key, &known) {
            Some(nearest) => format!("did you mean \"{prefix}{nearest}\"?"),
            None => {
                let all: Vec<String> =
                    known.iter().map(|known| format!("\"{prefix}{known}\"")).collect();
                format!("accepted are {}", all.join(", "))
            }
        };
        let name = shown(&format!("{prefix}{key}"));
        Bad::Type(format!("{}: unknown option {name}; {hint}", self.given_to))
    }

    fn wrong_type(&self, row: &OptionRow, value: Unknown<'_>) -> Bad {
        self.wrong(row, &describe(&self.env, value))
    }

    /// As [`Self::wrong_type`], for an element of an array.
    fn wrong_element(&self, row: &OptionRow, element: Option<Unknown<'_>>, index: usize) -> Bad {
        let got = element.map_or("undefined".into(), |value| describe(&self.env, value));
        self.wrong(row, &format!("{got} at index {index}"))
    }

    fn wrong(&self, row: &OptionRow, got: &str) -> Bad {
        Bad::Type(self.message(row, got))
    }

    fn message(&self, row: &OptionRow, got: &str) -> String {
        let Self { given_to, prefix, .. } = self;
        let (name, accepted) = (row.name, &row.accepts);
        format!("{given_to}: option \"{prefix}{name}\" must be {accepted}, got {got}")
    }

    fn check_function(&self, name: &str) -> Checked<()> {
        let row = self.row(name);
        match self.get(row)? {
            Some(value) if value.get_type()? != ValueType::Function => {
                Err(self.wrong_type(row, value))
            }
            _ => Ok(()),
        }
    }

    fn check_functions(&self, name: &str) -> Checked<()> {
        let row = self.row(name);
        let Some(value) = self.get(row)? else { return Ok(()) };
        if !value.is_array()? {
            return Err(self.wrong_type(row, value));
        }
        for (index, element) in self.elements(value)?.into_iter().enumerate() {
            match element {
                Some(function) if function.get_type()? == ValueType::Function => {}
                _ => return Err(self.wrong_element(row, element, index)),
            }
        }
        Ok(())
    }

    /// What `read` makes of an option, or `None` where it is not given.
    fn given<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Checked<T>,
    ) -> Checked<Option<T>> {
        match self.get(self.row(name))? {
            None => Ok(None),
            Some(_) => read(self, name).map(Some),
        }
    }

    /// A number, or the default, where there is one.
    fn number(&self, name: &str) -> Checked<Option<f64>> {
        let row = self.row(name);
        let Accepts::Number(accepted) = &row.accepts else {
            unreachable!("{name} is a number in the table")
        };
        let Some(value) = self.get(row)? else { return Ok(accepted.default) };
        if value.get_type()? != ValueType::Number {
            return Err(self.wrong_type(row, value));
        }
        let number = value.coerce_to_number()?.get_double()?;
        let fits = (accepted.from..=accepted.to).contains(&number) && number.fract() == 0.0;
        if fits || (accepted.infinity && number == f64::INFINITY) {
            Ok(Some(number))
        } else {
            Err(Bad::Range(self.message(row, &describe(&self.env, value))))
        }
    }

    /// A number that has a default. `Infinity` is more than any integer can be.
    fn count(&self, name: &str) -> Checked<f64> {
        Ok(self.number(name)?.expect("the table has a default"))
    }

    fn duration(&self, name: &str) -> Checked<Duration> {
        Ok(Duration::from_millis(self.count(name)? as u64))
    }

    /// A limit; `Infinity` is none.
    fn limit(&self, name: &str) -> Checked<Option<u32>> {
        let limit = self.count(name)?;
        Ok((limit != f64::INFINITY).then_some(limit as u32))
    }

    fn flag(&self, name: &str) -> Checked<bool> {
        let row = self.row(name);
        match self.get(row)? {
            None => Ok(false),
            Some(value) if value.get_type()? == ValueType::Boolean => Ok(value.coerce_to_bool()?),
            Some(value) => Err(self.wrong_type(row, value)),
        }
    }

    /// One of the texts of the table, or the first by default.
    fn one_of(&self, name: &str) -> Checked<&'static str> {
        let row = self.row(name);
        let Accepts::OneOf(texts) = row.accepts else {
            unreachable!("{name} is one of some texts in the table")
        };
        let Some(value) = self.get(row)? else { return Ok(texts[0]) };
        let given = text(value)?;
        let known = texts.iter().find(|known| given.as_deref() == Some(**known));
        known.copied().ok_or_else(|| self.wrong_type(row, value))
    }

    /// As Express knows it.
    fn trusted_proxies(&self) -> Checked<TrustedProxies> {
        let row = self.row("trustProxy");
        let Some(value) = self.get(row)? else { return Ok(TrustedProxies::Nobody) };
        match value.get_type()? {
            ValueType::Boolean if value.coerce_to_bool()? => Ok(TrustedProxies::Everybody),
            ValueType::Boolean => Ok(TrustedProxies::Nobody),
            ValueType::Number => {
                let hops = value.coerce_to_number()?.get_double()?;
                if !(0.0..=f64::from(u32::MAX)).contains(&hops) || hops.fract() != 0.0 {
                    return Err(Bad::Range(self.message(row, &describe(&self.env, value))));
                }
                let hops = hops as u32;
                Ok(if hops == 0 { TrustedProxies::Nobody } else { TrustedProxies::Hops(hops) })
            }
            _ => self.subnets("trustProxy").map(TrustedProxies::Networks),
        }
    }

    /// Whose connections begin with a PROXY header.
    fn load_balancers(&self) -> Checked<Option<Vec<Subnet>>> {
        let row = self.row("proxyProtocol");
        let Some(value) = self.get(row)? else { return Ok(None) };
        let options = match value.get_type()? {
            ValueType::Boolean => return Ok(value.coerce_to_bool()?.then(Vec::new)),
            ValueType::Object if !value.is_array()? => Some(value.coerce_to_object()?),
            _ => return Err(self.wrong_type(row, value)),
        };
        let (prefix, table) = ("proxyProtocol.", &PROXY_PROTOCOL_OPTIONS[..]);
        let own = Reader { env: self.env, given_to: self.given_to, options, prefix, table };
        let trusted = own.subnets("trusted")?;
        own.refuse_unknown()?;
        let row = own.row("trusted");
        match own.get(row)? {
            // By mistake, everybody would be trusted.
            Some(value) if trusted.is_empty() => Err(own.wrong_type(row, value)),
            _ => Ok(Some(trusted)),
        }
    }

    /// Addresses, subnets and their names, in a string or an array.
    fn subnets(&self, name: &str) -> Checked<Vec<Subnet>> {
        let row = self.row(name);
        let Some(value) = self.get(row)? else { return Ok(Vec::new()) };
        let wrong = |SubnetError(entry)| {
            Bad::Type(self.message(row, &format!("{}, which is none", shown(&entry))))
        };
        if let Some(list) = text(value)? {
            return Subnet::read_list(&list).map_err(wrong);
        }
        if value.get_type()? != ValueType::Object || !value.is_array()? {
            return Err(self.wrong_type(row, value));
        }
        let mut all = Vec::new();
        for (index, element) in self.elements(value)?.into_iter().enumerate() {
            match element.map(text).transpose()?.flatten() {
                Some(entry) => all.extend(Subnet::read_list(&entry).map_err(wrong)?),
                None => return Err(self.wrong_element(row, element, index)),
            }
        }
        Ok(all)
    }

    fn message_rate(&self) -> Checked<Option<MessageRate>> {
        let row = self.row("messageRate");
        let Some(value) = self.get(row)? else { return Ok(None) };
        let options = match value.get_type()? {
            ValueType::Object if !value.is_array()? => Some(value.coerce_to_object()?),
            _ => return Err(self.wrong_type(row, value)),
        };
        let (prefix, table) = ("messageRate.", &MESSAGE_RATE_OPTIONS[..]);
        let own = Reader { env: self.env, given_to: self.given_to, options, prefix, table };
        let per_second = own.number("perSecond")?;
        let burst = own.number("burst")?;
        let policy = match own.one_of("policy")? {
            "drop" => RatePolicy::Drop,
            "pause" => RatePolicy::Pause,
            _ => RatePolicy::Close,
        };
        own.refuse_unknown()?;
        let Some(per_second) = per_second else {
            return Err(own.wrong(own.row("perSecond"), "undefined"));
        };
        let burst = burst.unwrap_or(per_second) as u32;
        Ok(Some(MessageRate { per_second: per_second as u32, burst, policy }))
    }

    fn deflate(&self) -> Checked<Option<DeflateOptions>> {
        let row = self.row("perMessageDeflate");
        let Some(value) = self.get(row)? else { return Ok(None) };
        let options = match value.get_type()? {
            ValueType::Boolean if value.coerce_to_bool()? => None,
            ValueType::Boolean => return Ok(None),
            ValueType::Object if !value.is_array()? => Some(value.coerce_to_object()?),
            _ => return Err(self.wrong_type(row, value)),
        };
        let prefix = "perMessageDeflate.";
        let given_to = self.given_to;
        let own = Reader { env: self.env, options, given_to, prefix, table: &DEFLATE_OPTIONS };
        let threshold = own.count("threshold")? as usize;
        let level = own.count("level")? as u32;
        let server_no_context_takeover = own.flag("serverNoContextTakeover")?;
        let client_no_context_takeover = own.flag("clientNoContextTakeover")?;
        let server_max_window_bits = own.count("serverMaxWindowBits")? as u8;
        let client_max_window_bits = own.number("clientMaxWindowBits")?.map(|bits| bits as u8);
        own.refuse_unknown()?;
        Ok(Some(DeflateOptions {
            threshold,
            level,
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        }))
    }

    fn protocols(&self) -> Checked<SubprotocolRule> {
        let row = self.row("protocols");
        let Some(value) = self.get(row)? else { return Ok(SubprotocolRule::First) };
        if value.get_type()? == ValueType::Function {
            return Ok(SubprotocolRule::Application);
        }
        if !value.is_array()? {
            return Err(self.wrong_type(row, value));
        }
        let mut names: Vec<String> = Vec::new();
        for (index, element) in self.elements(value)?.into_iter().enumerate() {
            // One rule for what the server names and what a client may offer.
            let is_name =
                |name: &String| offered_protocols(name).is_ok_and(|read| read == [name.as_str()]);
            match element.map(text).transpose()?.flatten().filter(is_name) {
                Some(name) if names.contains(&name) => {
                    return Err(self.wrong(row, &format!("{} twice", shown(&name))));
                }
                Some(name) => names.push(name),
                None => return Err(self.wrong_element(row, element, index)),
            }
        }
        if names.is_empty() {
            return Err(self.wrong_type(row, value));
        }
        Ok(SubprotocolRule::Preferred(names))
    }

    /// The elements of an array option.
    fn elements(&self, array: Unknown<'env>) -> Checked<Vec<Option<Unknown<'env>>>> {
        let array = array.coerce_to_object()?;
        let len = array.get_array_length()?;
        (0..len).map(|index| Ok(array.get(&index.to_string())?)).collect()
    }

    fn paths(&self) -> Checked<RouteTable> {
        let row = self.row("path");
        let mut table = RouteTable::default();
        let mut insert = |pattern: &str| match table.insert(pattern, 0) {
            // Twice the same path does no harm here, where no handler is lost.
            Ok(()) | Err(RouteError::Taken { .. }) => Ok(()),
            Err(error) => Err(Bad::Type(format!("WebSocketPlugin: option \"path\": {error}"))),
        };
        let Some(value) = self.get(row)? else {
            insert("/ws")?;
            return Ok(table);
        };
        if let Some(pattern) = text(value)? {
            insert(&pattern)?;
        } else if value.is_array()? {
            let elements = self.elements(value)?;
            if elements.is_empty() {
                return Err(self.wrong_type(row, value));
            }
            for (index, element) in elements.into_iter().enumerate() {
                match element.map(text).transpose()?.flatten() {
                    Some(pattern) => insert(&pattern)?,
                    None => return Err(self.wrong_element(row, element, index)),
                }
            }
        } else {
            return Err(self.wrong_type(row, value));
        }
        Ok(table)
    }

    fn origins(&self) -> Checked<(OriginRules, Vec<u32>)> {
        let row = self.row("allowOrigins");
        let mut rules = OriginRules::default();
        let mut for_javascript = Vec::new();
        let Some(value) = self.get(row)? else { return Ok((rules, for_javascript)) };
        if !value.is_array()? {
            return Err(self.wrong_type(row, value));
        }
        for (index, element) in self.elements(value)?.into_iter().enumerate() {
            let wrong = || self.wrong_element(row, element, index);
            let element = element.ok_or_else(wrong)?;
            if let Some(pattern) = text(element)? {
                rules.add_text(&pattern).map_err(|error| {
                    Bad::Type(format!("{}: option \"allowOrigins\": {error}", self.given_to))
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
