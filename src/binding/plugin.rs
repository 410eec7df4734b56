//! The class behind `WebSocketPlugin`: options, routes, admission, connections, rooms, statistics.
//!
//! The facade calls it a few times per connection; what runs per message is in [`super::hot`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::*;
use napi::{Env, JsString, JsValue};
use napi_derive::napi;
use rustc_hash::FxHashMap;

use super::capacity::{Capacity, Room};
use super::cluster::{ClusterNode, ClusterStats};
use super::hot::{EngineHandle, text_frame};
use super::metrics::{self, Tally};
use super::options::{Options, pending};
use super::rules::{RouteOptions, RouteRules, Rules};
use super::waker::Waker;
use crate::cluster::Node;
use crate::cluster::node::Members;
use crate::engine::rooms::RoomName;
use crate::engine::{Engine, Welcome};
#[cfg(unix)]
use crate::exchange::oplog::Pumped;
use crate::exchange::oplog::{Except, Source};
use crate::exchange::{AddressPlace, Addresses, ConnectionId, Generations, PublicIds, Totals};
use crate::handshake::{
    Content, Handshake, OriginVerdict, PatternError, Pending, RejectReason, Rejection, RouteError,
    RouteTable, SubprotocolRule, TrustedProxies, UpgradeRequest, address_of, normalised, origin,
    shape_of,
};
use crate::protocol::{CloseFrame, Opcode, encode_frame, payload_of};
#[cfg(unix)]
use crate::transport::adopted;

/// Longest Origin that is shown to a RegExp of JavaScript's own, whose matching may take more than
/// linear time. Longer than any that a browser sends (a host name has at most 253 characters).
const MAX_ORIGIN_FOR_JAVASCRIPT: usize = 512;

/// Native half of `WebSocketPlugin`. Lives on the JavaScript thread of one environment.
#[napi(js_name = "WebSocketPlugin")]
pub struct NativePlugin {
    pub(super) options: Options,
    /// Handlers registered with `ws`, by pattern.
    routes: RefCell<RouteTable>,
    /// What was said for those of them that have options of their own.
    route_rules: RefCell<FxHashMap<u32, Rc<RouteRules>>>,
    /// Admitted requests that have not become connections.
    handshakes: RefCell<Pending>,
    /// What is known of the clients of those of them, where something is. Usually empty.
    clients: RefCell<FxHashMap<u64, Client>>,
    /// Connections that did not begin with their PROXY header.
    pub(super) refused_headers: Cell<u32>,
    /// Counts connections by address, where there is a limit.
    addresses: Option<Arc<Addresses>>,
    /// Counts all of them, and the connections.
    pub(super) capacity: Capacity,
    /// Something else than open connections keeps the process alive.
    pub(super) kept_alive: Cell<bool>,
    shutting_down: Cell<bool>,
    /// By [`RejectReason`].
    rejected: RefCell<[u32; RejectReason::ALL.len()]>,
    /// What only `metrics` tells.
    pub(super) tally: Tally,
    /// Made by the first connection.
    pub(super) engine: RefCell<Option<Rc<EngineHandle>>>,
    /// One for all engines of the plugin, because handles on connections outlive an engine.
    generations: Generations,
    /// What users call the connections.
    public_ids: PublicIds,
    /// What engines before the current one have counted.
    earlier: Cell<Totals>,
    /// This server's place in a cluster, while it has one.
    cluster: RefCell<Option<Arc<Node>>>,
}

/// What is known of a client from the admission of its request on.
#[derive(Clone, Default)]
struct Client {
    /// Its place among those of its address.
    place: Option<Arc<AddressPlace>>,
    /// Its address, where a proxy said it.
    address: Option<IpAddr>,
}

/// Why an upgrade request is refused, with the HTTP response that says so.
#[napi(object)]
pub struct UpgradeRejection {
    /// Key in the statistics.
    pub reason: String,
    /// English sentence, also the body of the response.
    pub message: String,
    /// HTTP status of the response.
    pub status: u16,
    /// The whole HTTP response.
    pub response: Buffer,
}

/// How a request is refused, where that is not as it goes with the reason.
#[derive(Default)]
#[napi(object, object_to_js = false)]
pub struct RefusalAnswer {
    /// Instead of the reason's own.
    pub status: Option<f64>,
    /// What stands behind `status`.
    pub phrase: Option<String>,
    /// That of the request: by default the one of every request that has been admitted, GET.
    pub method: Option<String>,
    /// Names and values of header fields in turn.
    pub headers: Option<Vec<String>>,
    /// Instead of the message. It counts only with `headers` and `content_type`.
    pub body: Option<Uint8Array>,
    /// What `body` is, unless `headers` says so.
    pub content_type: Option<String>,
}

/// What became of `ws`.
#[napi(object, object_from_js = false)]
pub struct AddedRoute {
    /// Of the route, counted from 0.
    pub number: u32,
    /// Where the route has `allowOrigins`: indices of those whose RegExp the facade has to run.
    pub regexps: Option<Vec<u32>>,
}

/// A descriptor that has the plaintext of a connection over TLS.
#[napi(object, object_to_js = false)]
pub struct PumpedDescriptor {
    /// Node's end.
    pub fd: i32,
    /// The key of the pump that has the other end.
    pub pump: u32,
}

/// What `getStats` returns.
#[napi(object)]
pub struct PluginStats {
    /// Open connections.
    pub total_connections: u32,
    /// Rooms that have members.
    pub room_count: u32,
    /// Registered `ws` routes.
    pub handlers: u32,
    /// Data messages received.
    pub messages_received: f64,
    /// Data messages sent; a broadcast counts once per recipient.
    pub messages_sent: f64,
    /// Payload bytes received.
    pub bytes_received: f64,
    /// Frame bytes sent.
    pub bytes_sent: f64,
    /// Messages dropped because of backpressure.
    pub dropped_messages: f64,
    /// What has become of peers that sent more messages than they may.
    pub rate_limited: RateLimitedStats,
    /// Connections that were refused because they did not begin with a PROXY header.
    pub refused_proxy_headers: u32,
    /// Bytes queued for all connections together.
    pub buffered_amount: f64,
    /// Connections whose peer reads more slowly than it is written to, at this moment.
    pub backpressured_connections: u32,
    /// Connections whose end has been told, and which still have a descriptor or a stream.
    pub closing_connections: u32,
    /// What is kept for all connections together.
    pub memory: MemoryStats,
    /// How the bytes of the open connections get in and out.
    pub transports: TransportStats,
}

/// What `messageRate` has done.
#[napi(object)]
pub struct RateLimitedStats {
    /// Connections that were closed.
    pub closed: f64,
    /// Messages that were dropped.
    pub dropped: f64,
    /// How often a connection was not read for a while.
    pub paused: f64,
}

/// What is kept for all connections together, in bytes.
#[napi(object)]
pub struct MemoryStats {
    /// Kept now: unfinished messages, bytes that wait to be parsed, and queues.
    pub used: f64,
    /// Most that may be kept: `maxBufferedBytes`.
    pub limit: f64,
    /// Connections that were ended because of that limit.
    pub shed: f64,
}

/// Open connections by transport.
#[napi(object)]
pub struct TransportStats {
    /// Taken over from Node.
    pub adopted: u32,
    /// Pumped by the facade.
    pub bridged: u32,
}

#[napi]
impl NativePlugin {
    /// Checks the options. Throws a TypeError or RangeError that names the option at fault. `memory`
    /// is what the process may use, in bytes, where that is known.
    #[napi(constructor)]
    pub fn new(env: Env, options: Unknown<'_>, memory: Option<f64>) -> Result<Self> {
        let options = Options::read(&env, options, memory.unwrap_or(f64::INFINITY))?;
        let limit = options.max_connections_per_ip;
        Ok(Self {
            addresses: limit.map(|limit| Arc::new(Addresses::new(limit))),
            clients: RefCell::default(),
            refused_headers: Cell::new(0),
            capacity: Capacity::new(options.max_connections),
            options,
            routes: RefCell::default(),
            route_rules: RefCell::default(),
            handshakes: RefCell::default(),
            kept_alive: Cell::new(false),
            shutting_down: Cell::new(false),
            rejected: RefCell::new([0; RejectReason::ALL.len()]),
            tally: Tally::default(),
            engine: RefCell::new(None),
            generations: Generations::default(),
            public_ids: PublicIds::random(),
            earlier: Cell::default(),
            cluster: RefCell::default(),
        })
    }

    /// Time limit of the handshake in milliseconds.
    #[napi(getter)]
    pub fn handshake_timeout_ms(&self) -> u32 {
        self.options.handshake_timeout_ms
    }

    /// Time limit for the answer to a close frame in milliseconds.
    #[napi(getter)]
    pub fn close_timeout_ms(&self) -> u32 {
        self.options.settings.close_timeout.as_millis() as u32
    }

    /// Whether decisions are logged.
    #[napi(getter)]
    pub fn debug(&self) -> bool {
        self.options.debug
    }

    /// Whether `admit` has to know the address of a client.
    #[napi(getter)]
    pub fn asks_for_address(&self) -> bool {
        self.addresses.is_some() || self.trusts_proxies()
    }

    /// Whether proxies are believed which address a client has.
    #[napi(getter)]
    pub fn trusts_proxies(&self) -> bool {
        self.options.trusted_proxies != TrustedProxies::Nobody
    }

    /// The address of the client of a request, by the address that its socket has, if any, and its
    /// `X-Forwarded-For`. `null` where it has none.
    #[napi]
    pub fn client_address(
        &self,
        peer: Option<String>,
        forwarded: Option<String>,
    ) -> Option<String> {
        let peer = peer.as_deref().and_then(address_of);
        let client = self.options.trusted_proxies.client_of(peer, forwarded.as_deref());
        client.map(|address| address.to_string())
    }

    /// Indices of `allowOrigins` whose RegExp the facade has to run.
    #[napi(getter)]
    pub fn regexps_for_javascript(&self) -> Vec<u32> {
        self.options.regexps_for_javascript.clone()
    }

    /// Registers a route for `ws`, with options of its own or `undefined`. Throws a TypeError or
    /// RangeError that says what is wrong with the options or the pattern, or an Error where an earlier
    /// route has the same shape.
    #[napi]
    pub fn ws(&self, env: Env, path: String, options: Unknown<'_>) -> Result<AddedRoute> {
        // Runs getters of the application's, which may add routes.
        let options = RouteOptions::read(&env, options)?;
        let number = self.routes.borrow().count() as u32;
        match self.routes.borrow_mut().insert(&path, number) {
            Ok(()) => {}
            Err(RouteError::Pattern(error)) => return Err(invalid_pattern(&env, &error)),
            Err(taken @ RouteError::Taken { .. }) => {
                return Err(pending(env.throw_error(&format!("ws: {taken}"), None)));
            }
        }
        let Some(mut options) = options else { return Ok(AddedRoute { number, regexps: None }) };
        let regexps = std::mem::take(&mut options.regexps_for_javascript);
        let regexps = options.origins.is_some().then_some(regexps);
        let rules = RouteRules::new(options, &self.options.rules);
        if let (Some(capacity), Some(all)) = (&rules.capacity, self.capacity.ledger()) {
            capacity.start(all.part());
        }
        self.route_rules.borrow_mut().insert(number, Rc::new(rules));
        Ok(AddedRoute { number, regexps })
    }

    /// What was said for a route, if that has options of its own.
    fn route_rules(&self, route: Option<u32>) -> Option<Rc<RouteRules>> {
        self.route_rules.borrow().get(&route?).cloned()
    }

    /// How specifically this plugin serves a path, by a route or a `path` option: a text that sorts
    /// before that of a plugin with a less specific pattern. `null` where it does not, or the path
    /// cannot be read.
    #[napi]
    pub fn serves(&self, url: String) -> Option<String> {
        let routes = self.routes.borrow();
        let ranks = [routes.rank(&url), self.options.paths.rank(&url)];
        ranks.into_iter().filter_map(|rank| rank.ok().flatten()).min().map(str::to_owned)
    }

    /// A request target in the form that is routed, to be handed on as `req.url`: `/path` or
    /// `/path?query`. `null` where it cannot be read; such a request is answered with 400.
    #[napi]
    pub fn normalised(&self, url: String) -> Option<String> {
        normalised(&url).ok().map(Into::into)
    }

    /// The shape of a pattern, which is equal for patterns of the same paths: `/chat/:` for
    /// `/chat/:room/`. Throws as `ws` does.
    #[napi]
    pub fn shape_of(&self, env: Env, pattern: String) -> Result<String> {
        shape_of(&pattern).map_err(|error| invalid_pattern(&env, &error))
    }

    /// The shapes of all routes and `path` options, each once.
    #[napi]
    pub fn shapes(&self) -> Vec<String> {
        let routes = self.routes.borrow();
        let all: BTreeSet<&str> = routes.shapes().chain(self.options.paths.shapes()).collect();
        all.into_iter().map(str::to_owned).collect()
    }

    /// `Some(Some(route))` for a route, `Some(None)` for a path without a handler.
    fn find(&self, url: &str) -> std::result::Result<Option<Option<u32>>, Rejection> {
        if let Some(route) = self.routes.borrow().lookup(url)? {
            return Ok(Some(Some(route)));
        }
        Ok(self.options.paths.lookup(url)?.map(|_| None))
    }

    /// Decides on an upgrade request as far as that needs no user code: path, request, origin and
    /// limit, in this order. Returns the number of a handshake, which counts against the limit until
    /// it is withdrawn, or its connection ends.
    ///
    /// `head` has, line by line: the method, the HTTP version as `1.1`, and for each of
    /// `constants().requestHeaders` nothing where it is missing, or `=` and its value. It is one text, as
    /// each value that is fetched from JavaScript costs some 100 ns. `hosts` counts the header lines
    /// `Host`, of which Node only keeps the first. `by_regexp` tells whether a RegExp that only
    /// JavaScript can run matches an origin, on the route of this number. Where `asksForAddress`, `peer`
    /// is the address that the request's socket has, if any, and `forwarded` its `X-Forwarded-For`.
    #[napi]
    pub fn admit(
        &self,
        url: String,
        head: String,
        hosts: u32,
        by_regexp: Function<'_, FnArgs<(String, Option<u32>)>, bool>,
        peer: Option<String>,
        forwarded: Option<String>,
    ) -> Result<Either<f64, UpgradeRejection>> {
        let Some(request) = UpgradeRequest::from_lines(&head, hosts) else {
            // User code has put a line break into a header: no client can.
            let message = "a header of the request has a line break";
            let rejection = Rejection::new(RejectReason::BadRequest, message);
            return Ok(Either::B(self.count_rejection(&rejection, "GET")));
        };
        let peer = peer.as_deref().and_then(address_of);
        let client = self.options.trusted_proxies.client_of(peer, forwarded.as_deref());
        let mut known = Client { place: None, address: client.filter(|_| client != peer) };
        Ok(match self.decide(&url, &request, &by_regexp, client, &mut known)? {
            Ok(handshake) => {
                let number = self.add(handshake);
                if known.place.is_some() || known.address.is_some() {
                    self.clients.borrow_mut().insert(number, known);
                }
                Either::A(number as f64)
            }
            Err(rejection) => Either::B(self.count_rejection(&rejection, request.method)),
        })
    }

    fn decide(
        &self,
        url: &str,
        request: &UpgradeRequest<'_>,
        by_regexp: &Function<'_, FnArgs<(String, Option<u32>)>, bool>,
        client: Option<IpAddr>,
        known: &mut Client,
    ) -> Result<std::result::Result<Handshake, Rejection>> {
        let reject = |reason, message: &str| Ok(Err(Rejection::new(reason, message)));
        let route = match self.find(url) {
            Ok(Some(route)) => route,
            Ok(None) => return reject(RejectReason::Path, "no WebSocket is served at this path"),
            Err(rejection) => return Ok(Err(rejection)),
        };
        let own = self.route_rules(route);
        let rules = own.as_ref().map_or(&self.options.rules, |own| &own.rules);
        let handshake = match Handshake::read(request, route, rules.deflate.as_ref()) {
            Ok(handshake) => handshake,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let by_regexp = |origin| by_regexp.call(FnArgs::from((origin, route)));
        if !allows(rules, request.origin, by_regexp)? {
            return Ok(Err(origin::refusal(request.origin)));
        }
        if self.shutting_down.get() {
            return reject(RejectReason::ShuttingDown, "the server is shutting down");
        }
        match self.find_place(client) {
            Ok(place) => known.place = place,
            Err(message) => return reject(RejectReason::Address, message),
        }
        let own = own.as_ref().and_then(|own| own.capacity.as_ref());
        match self.has_room(own) {
            Ok(()) => Ok(Ok(handshake)),
            Err(message) => reject(RejectReason::Limit, message),
        }
    }

    /// Takes a place among those of a client's address. Who has none is not counted.
    fn find_place(
        &self,
        client: Option<IpAddr>,
    ) -> std::result::Result<Option<Arc<AddressPlace>>, &'static str> {
        let Some((addresses, client)) = self.addresses.as_ref().zip(client) else {
            return Ok(None);
        };
        addresses.take(client).map(Some).ok_or(
            "too many WebSocket connections from this address: maxConnectionsPerIp is reached",
        )
    }

    fn add(&self, handshake: Handshake) -> u64 {
        self.capacity.admit();
        self.on_route(handshake.route(), Capacity::admit);
        self.handshakes.borrow_mut().add(handshake)
    }

    /// Has the limit of a route count, if it has one of its own.
    fn on_route(&self, route: Option<u32>, count: impl FnOnce(&Capacity)) {
        if let Some(own) = self.route_rules(route)
            && let Some(capacity) = &own.capacity
        {
            count(capacity);
        }
    }

    /// Whether `maxConnections` allows one more, the plugin's and that of the route. Otherwise says which.
    fn has_room(&self, of_route: Option<&Capacity>) -> std::result::Result<(), &'static str> {
        let on_route = of_route.map_or(Room::Free, Capacity::room);
        let asked = match (self.capacity.room(), on_route) {
            (Room::Full, _) => {
                return Err("too many WebSocket connections: maxConnections is reached");
            }
            (_, Room::Full) => {
                return Err(
                    "too many WebSocket connections on this route: its maxConnections is reached",
                );
            }
            (Room::Free, Room::Free) => return Ok(()),
            // Who leaves the route makes room in the plugin as well.
            (_, Room::OnRequest) => of_route.and_then(Capacity::ledger),
            (Room::OnRequest, Room::Free) => self.capacity.ledger(),
        };
        if let Some(ledger) = asked {
            self.with_engine(|engine| engine.make_room(&ledger));
        }
        Ok(())
    }

    /// Counts a rejection that the facade decided on and returns its response. `reason` is one of
    /// `constants().rejectReasons`. Throws a RangeError where the status of `answer` is none that ends a
    /// request.
    #[napi]
    pub fn reject(
        &self,
        env: Env,
        reason: u32,
        message: String,
        answer: Option<RefusalAnswer>,
    ) -> Result<UpgradeRejection> {
        let reason = *RejectReason::ALL
            .get(reason as usize)
            .ok_or_else(|| Error::new(Status::InvalidArg, format!("no such reason: {reason}")))?;
        let RefusalAnswer { status, phrase, method, headers, body, content_type } =
            answer.unwrap_or_default();
        let method = method.as_deref().unwrap_or("GET");
        let mut rejection = Rejection::new(reason, message);
        if let Some(headers) = headers {
            let headers =
                headers.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            let content = body
                .zip(content_type)
                .map(|(body, media_type)| Content { media_type, bytes: body.to_vec() });
            rejection = rejection.with_own(headers, content);
        }
        let Some(status) = status else { return Ok(self.count_rejection(&rejection, method)) };
        // What is no u16 becomes 0, which no status is.
        let whole = if status.fract() == 0.0 { status as u16 } else { 0 };
        match rejection.with_status(whole, phrase.as_deref()) {
            Some(rejection) => Ok(self.count_rejection(&rejection, method)),
            None => {
                let message =
                    format!("reject: status must be a whole number from 200 to 599, got {status}");
                Err(pending(env.throw_range_error(&message, None)))
            }
        }
    }

    fn count_rejection(&self, rejection: &Rejection, method: &str) -> UpgradeRejection {
        let count = &mut self.rejected.borrow_mut()[rejection.reason() as usize];
        *count = count.saturating_add(1);
        UpgradeRejection {
            reason: rejection.reason().name().into(),
            message: rejection.message().into(),
            status: rejection.status(),
            response: rejection.response(method).into(),
        }
    }

    /// The subprotocols that a handshake offers, in the client's order, where a function of the
    /// application chooses. Where none does, `adopt` knows by itself.
    #[napi]
    pub fn protocol_choices(&self, handshake: f64) -> Vec<String> {
        let handshakes = self.handshakes.borrow();
        let Some(handshake) = handshakes.get(handshake as u64) else { return Vec::new() };
        handshake
            .protocol_choices(&SubprotocolRule::Application)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// The number of the route that a handshake is for, if its path has one.
    #[napi]
    pub fn route_of(&self, handshake: f64) -> Option<u32> {
        self.handshakes.borrow().get(handshake as u64)?.route()
    }

    /// A handshake did not become a connection, and its place is free. Does nothing where it did, or
    /// has been withdrawn before.
    #[napi]
    pub fn withdraw(&self, handshake: f64) {
        let withdrawn = self.handshakes.borrow_mut().take(handshake as u64);
        if let Some((handshake, _)) = withdrawn {
            self.capacity.withdraw();
            self.on_route(handshake.route(), Capacity::withdraw);
        }
        self.clients.borrow_mut().remove(&(handshake as u64));
    }

    /// Starts the engine and returns its hot functions. `on_wake` is called whenever events wait
    /// for `drain`. `has_event_loop` says that the runtime has libuv's loop, and not just its names.
    #[napi]
    pub fn start<'env>(
        &self,
        env: &'env Env,
        on_wake: Function<'_, (), ()>,
        has_event_loop: bool,
    ) -> Result<Object<'env>> {
        let waker = Waker::new(env, &on_wake, has_event_loop)?;
        let (wake, exit) = (waker.clone(), waker.clone());
        let engine = Engine::start(
            self.options.settings.clone(),
            self.generations.clone(),
            Box::new(move || wake.wake()),
            move || exit.release(),
        );
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                waker.release();
                return Err(Error::from_reason(format!("the I/O thread did not start: {error}")));
            }
        };
        let ledger = engine.ledger();
        for own in self.route_rules.borrow().values() {
            if let Some(capacity) = &own.capacity {
                capacity.start(ledger.part());
            }
        }
        self.capacity.start(ledger);
        let handle = EngineHandle::new(engine, waker);
        env.add_env_cleanup_hook(Rc::downgrade(&handle), |handle| {
            if let Some(handle) = handle.upgrade() {
                handle.shut_down();
            }
        })?;
        let functions = handle.functions(env)?;
        *self.engine.borrow_mut() = Some(handle);
        self.show_members();
        Ok(functions)
    }

    /// From now on this server is in a cluster.
    #[napi]
    pub fn join_cluster(&self, cluster: &ClusterNode) {
        *self.cluster.borrow_mut() = Some(cluster.node.clone());
        self.show_members();
        for room in self.with_engine(|engine| engine.rooms().names()).unwrap_or_default() {
            cluster.node.want(&room);
        }
    }

    /// From now on it is in none.
    #[napi]
    pub fn leave_cluster(&self) {
        if let Some(node) = self.cluster.borrow_mut().take() {
            node.set_members(None);
        }
    }

    /// Has the cluster know how to reach the members here.
    fn show_members(&self) {
        if let Some(node) = &*self.cluster.borrow() {
            let members = self.with_engine(|engine| Arc::new(engine.members()) as Arc<dyn Members>);
            node.set_members(members);
        }
    }

    /// A room has no members any more.
    fn unwant(&self, room: &[u16]) {
        if let Some(node) = &*self.cluster.borrow() {
            node.unwant(room);
        }
    }

    /// Refuses upgrades from now on, or accepts them again.
    #[napi]
    pub fn set_shutting_down(&self, shutting_down: bool) {
        self.shutting_down.set(shutting_down);
    }

    /// Ends all connections at once, without a close handshake.
    #[napi]
    pub fn terminate_all(&self) {
        self.with_engine(Engine::terminate_all);
    }

    /// Lets the I/O thread end, without waiting for it. Connections that are still open are
    /// dropped. A later `start` makes a new engine.
    #[napi]
    pub fn stop(&self, env: Env) -> Result<()> {
        let Some(handle) = self.engine.borrow_mut().take() else { return Ok(()) };
        self.show_members();
        let totals = handle.with(Engine::totals).unwrap_or_default();
        handle.with(|engine| self.tally.keep(engine));
        self.earlier.set(self.earlier.get() + totals);
        handle.with(Engine::stop);
        // The thread is joined when the hot functions are collected or the environment ends.
        handle.waker.keep_alive(&env, false)
    }

    /// Makes a connection of a handshake, which is over then: duplicates the descriptor, or makes a
    /// bridge where there is none, writes the 101 response and replays `replay`, the bytes that Node
    /// has read already. Where that throws, the handshake is as it was, unless it was over before.
    ///
    /// `address` is that of the client, where a descriptor of its does not say it.
    ///
    /// `protocol` is what a function of the application chose from the handshake's choices, and means
    /// nothing where there is no such function; `headers` alternates names and values of further
    /// response headers.
    ///
    /// Returns an array, as making an object costs three times as much: the connection's unique id;
    /// its slot in the engine, which is also the index for the facade's own table; the generation,
    /// which tells the users of a slot apart; the subprotocol, where there is one; the number of the
    /// handler, where the path has one; the key of the bridge, where the facade pumps the bytes; and
    /// how many bytes the 101 response has, which are in no count of what is buffered.
    #[napi(
        ts_return_type = "[id: string, slot: number, generation: number, protocol: string | null, route: number | null, bridge: number | null, responseBytes: number]"
    )]
    #[allow(clippy::too_many_arguments, reason = "to look one up in an object costs 100 ns")]
    pub fn adopt<'env>(
        &self,
        env: &'env Env,
        fd: Option<Either<i32, PumpedDescriptor>>,
        handshake: f64,
        protocol: Option<String>,
        headers: Vec<String>,
        replay: &[u8],
        address: Option<String>,
    ) -> Result<Array<'env>> {
        let descriptor = fd.map(descriptor).transpose()?;
        let headers: Vec<(String, String)> =
            headers.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let number = handshake as u64;
        let mut handshakes = self.handshakes.borrow_mut();
        let handshake =
            handshakes.get(number).ok_or_else(|| Error::from_reason("this handshake is over"))?;
        let route = handshake.route();
        let own = self.route_rules(route);
        let rules = own.as_ref().map_or(&self.options.rules, |own| &own.rules);
        let protocol = match &*rules.protocols {
            SubprotocolRule::Application => protocol,
            rule => handshake.protocol_choices(rule).first().map(|chosen| (*chosen).to_owned()),
        };
        let response = handshake.response(protocol.as_deref(), &headers);
        let response_bytes = response.len() as u32;
        let client = self.clients.borrow().get(&number).cloned().unwrap_or_default();
        let address = client.address.or_else(|| address_of(address.as_deref()?));
        let terms = rules.terms(handshake.deflate());
        let heartbeat = rules.heartbeat;
        let counted = own.as_ref().and_then(|own| own.capacity.as_ref()?.ledger());
        let engine = self.engine.borrow();
        let handle =
            engine.as_ref().ok_or_else(|| Error::from_reason("the engine has not been started"))?;
        let adopt = |engine: &Engine| {
            let (source, bridge) = match descriptor {
                Some(source) => (source, None),
                None => {
                    let key = engine.new_bridge();
                    (Source::Stream(key), Some(key))
                }
            };
            let (replay, address_place) = (replay.to_vec(), client.place);
            let welcome = Welcome { response, replay, terms, heartbeat, address_place };
            let counted = route.zip(counted.as_ref());
            let id = engine.adopt(source, welcome, counted)?;
            if let Some(address) = address {
                engine.set_remote_address(id, address);
            }
            Some((id, bridge))
        };
        let (id, bridge) = handle
            .with(adopt)
            .flatten()
            .ok_or_else(|| Error::from_reason("the engine takes no more connections"))?;
        // From now on it counts as a connection.
        if let Some((_, time)) = handshakes.take(number) {
            self.tally.accepted(time);
        }
        self.clients.borrow_mut().remove(&number);
        let is_first = self.capacity.open() == 0;
        self.capacity.opened();
        self.on_route(route, Capacity::opened);
        if is_first {
            handle.waker.keep_alive(env, true)?;
        }
        let mut adopted = env.create_array(7)?;
        adopted.set(0, self.public_ids.name(id, self.generations.lap()).to_string())?;
        adopted.set(1, id.slot)?;
        adopted.set(2, id.generation)?;
        adopted.set(3, protocol)?;
        adopted.set(4, route)?;
        adopted.set(5, bridge)?;
        adopted.set(6, response_bytes)?;
        Ok(adopted)
    }

    /// The connection's end has been delivered, with this code: it leaves its rooms and its slot is
    /// free. Returns the names of the rooms that this destroyed.
    #[napi]
    pub fn release(
        &self,
        env: Env,
        slot: u32,
        generation: u32,
        code: u32,
    ) -> Result<Vec<Utf16String>> {
        self.tally.closed(code);
        let id = ConnectionId { slot, generation };
        let released = self.with_engine(|engine| (engine.leave_all(id), engine.release(id)));
        let (rooms, counted) = released.unzip();
        self.on_route(counted.flatten(), Capacity::closed);
        for room in rooms.iter().flatten() {
            self.unwant(room);
        }
        self.capacity.closed();
        if self.capacity.open() == 0
            && !self.kept_alive.get()
            && let Some(handle) = &*self.engine.borrow()
        {
            handle.waker.keep_alive(&env, false)?;
        }
        Ok(to_strings(rooms))
    }

    /// Adds a connection to a room. Returns whether that created the room. Throws a RangeError
    /// where a limit is exceeded.
    #[napi]
    pub fn join(&self, env: Env, slot: u32, generation: u32, room: Utf16String) -> Result<bool> {
        let id = ConnectionId { slot, generation };
        let rooms = self.with_engine(|engine| engine.rooms_with(id, &room)).unwrap_or(0);
        let over = |limit: Option<u32>, count: usize| limit.filter(|limit| count > *limit as usize);
        let exceeded = if let Some(limit) = over(self.options.max_room_name_length, room.len()) {
            format!("maxRoomNameLength is {limit}, the name has {} UTF-16 units", room.len())
        } else if let Some(limit) = over(self.options.max_rooms_per_connection, rooms) {
            format!("maxRoomsPerConnection is {limit}, this would be room {rooms}")
        } else {
            return Ok(self.join_room(id, &room));
        };
        Err(pending(env.throw_range_error(&format!("join: option {exceeded}"), None)))
    }

    fn join_room(&self, id: ConnectionId, room: &[u16]) -> bool {
        let cluster = self.cluster.borrow();
        if cluster.is_some() {
            self.with_engine(|engine| engine.show_to_others(id));
        }
        let created = self.with_engine(|engine| engine.join(id, room)).unwrap_or(false);
        if let Some(node) = &*cluster
            && created
        {
            node.want(room);
        }
        created
    }

    /// Takes a connection out of a room. Returns whether that destroyed the room.
    #[napi]
    pub fn leave(&self, slot: u32, generation: u32, room: Utf16String) -> bool {
        let id = ConnectionId { slot, generation };
        let destroyed = self.with_engine(|engine| engine.leave(id, &room)).unwrap_or(false);
        if destroyed {
            self.unwant(&room);
        }
        destroyed
    }

    /// The slot of the connection that has this id, from when it has passed all middleware until its end has
    /// been delivered.
    #[napi]
    pub fn find_connection(&self, id: String) -> Option<u32> {
        let id = self.public_ids.find(&id)?;
        let is_ready = self.with_engine(|engine| engine.is_ready(id)).unwrap_or(false);
        is_ready.then_some(id.slot)
    }

    /// How many connections have passed all middleware.
    #[napi]
    pub fn ready_count(&self) -> u32 {
        self.with_engine(Engine::ready_count).unwrap_or(0) as u32
    }

    /// The slots of those.
    #[napi]
    pub fn ready_slots(&self) -> Uint32Array {
        Uint32Array::new(self.with_engine(Engine::ready_slots).unwrap_or_default())
    }

    /// The slots of a room's members.
    #[napi]
    pub fn members(&self, room: Utf16String) -> Uint32Array {
        let members = self.with_engine(|engine| engine.rooms().members(&room)).flatten();
        let ids = members.iter().flat_map(|members| members.iter().flatten());
        Uint32Array::new(ids.map(|id| id.slot).collect())
    }

    /// How many members a room has.
    #[napi]
    pub fn member_count(&self, room: Utf16String) -> u32 {
        self.with_engine(|engine| engine.rooms().member_count(&room)).unwrap_or(0) as u32
    }

    /// How many rooms there are.
    #[napi]
    pub fn room_count(&self) -> u32 {
        self.with_engine(|engine| engine.rooms().count()).unwrap_or(0) as u32
    }

    /// Names of the rooms, oldest first.
    #[napi]
    pub fn rooms(&self) -> Vec<Utf16String> {
        to_strings(self.with_engine(|engine| engine.rooms().names()))
    }

    /// What is behind `wsBroadcast`: sends to a room, or to everyone where `room` is absent,
    /// except one connection.
    #[napi]
    pub fn ws_broadcast(
        &self,
        env: Env,
        message: Either<JsString<'_>, Uint8Array>,
        room: Option<Utf16String>,
        except_slot: Option<u32>,
        except_generation: Option<u32>,
    ) {
        let except = match except_slot.zip(except_generation) {
            Some((slot, generation)) => Except::One(ConnectionId { slot, generation }),
            None => Except::Nobody,
        };
        match room {
            None => self.broadcast(env, message, None, except),
            Some(room) => self.broadcast(env, message, Some(&[&room]), except),
        }
    }

    /// Sends to those who are in at least one of these rooms, each named once, and nobody twice. `except`
    /// alternates slots and generations of connections that are left out.
    #[napi]
    pub fn broadcast_to_rooms(
        &self,
        env: Env,
        message: Either<JsString<'_>, Uint8Array>,
        rooms: Vec<Utf16String>,
        except: Vec<u32>,
    ) {
        let rooms: Vec<&[u16]> = rooms.iter().map(|room| &**room).collect();
        let except = except
            .chunks_exact(2)
            .map(|pair| ConnectionId { slot: pair[0], generation: pair[1] })
            .collect();
        self.broadcast(env, message, Some(&rooms), Except::all(except));
    }

    fn broadcast(
        &self,
        env: Env,
        message: Either<JsString<'_>, Uint8Array>,
        rooms: Option<&[&[u16]]>,
        except: Except,
    ) {
        let is_text = matches!(message, Either::A(_));
        let (bytes, start) = match message {
            Either::A(text) => text_frame(env.raw(), text.raw()),
            Either::B(binary) => {
                let mut frame = Vec::new();
                encode_frame(&mut frame, Opcode::Binary, &binary);
                (frame, 0)
            }
        };
        let publish = |frame: &[u8]| {
            if let Some(node) = &*self.cluster.borrow() {
                node.publish(rooms, is_text, payload_of(frame));
            }
        };
        let engine = self.engine.borrow().clone();
        match engine {
            // Nobody is connected here.
            None => publish(&bytes[start..]),
            Some(handle) => {
                handle.with(|engine| {
                    let frame = engine.own_frame(bytes, start);
                    engine.broadcast(rooms, except, frame.clone());
                    publish(&frame);
                });
            }
        }
    }

    /// Starts the close handshake. `code` and `reason` have been checked.
    #[napi]
    pub fn close(&self, slot: u32, generation: u32, code: u32, reason: String) {
        let frame = CloseFrame { code: code as u16, reason: reason.into() };
        self.with_engine(|engine| engine.close(ConnectionId { slot, generation }, frame));
    }

    /// Ends a connection at once, without a close handshake.
    #[napi]
    pub fn terminate(&self, slot: u32, generation: u32) {
        self.with_engine(|engine| engine.terminate(ConnectionId { slot, generation }));
    }

    /// Has it told when nothing waits to be written to a connection any more, if a send has said that
    /// something does.
    #[napi]
    pub fn watch_drain(&self, slot: u32, generation: u32) {
        self.with_engine(|engine| engine.watch_drain(ConnectionId { slot, generation }));
    }

    /// The facade says from now on which messages of a connection it has taken, by `took`: an event
    /// says from where on it counts, and is the first that it takes.
    #[napi]
    pub fn pace(&self, slot: u32, generation: u32) {
        self.with_engine(|engine| engine.pace(ConnectionId { slot, generation }));
    }

    /// It holds so many bytes of messages that came before that event.
    #[napi]
    pub fn holds(&self, slot: u32, generation: u32, bytes: f64) {
        let id = ConnectionId { slot, generation };
        self.with_engine(|engine| engine.holds(id, bytes as usize));
    }

    /// It has taken so many messages more.
    #[napi]
    pub fn took(&self, slot: u32, generation: u32, count: u32) {
        self.with_engine(|engine| engine.took(ConnectionId { slot, generation }, count));
    }

    /// Has it told how long answers to pings take, or no longer.
    #[napi]
    pub fn time_pongs(&self, slot: u32, generation: u32, wanted: bool) {
        self.with_engine(|engine| engine.time_pongs(ConnectionId { slot, generation }, wanted));
    }

    /// Names of the rooms that a connection is in.
    #[napi]
    pub fn rooms_of(&self, slot: u32, generation: u32) -> Vec<Utf16String> {
        let id = ConnectionId { slot, generation };
        to_strings(self.with_engine(|engine| engine.rooms_of(id)))
    }

    /// What a route names in a request target: names and values in turn.
    #[napi]
    pub fn params(&self, route: u32, url: String) -> Vec<String> {
        let params = self.routes.borrow().params(route, &url);
        params.into_iter().flat_map(|(name, value)| [name, value]).collect()
    }

    /// Sends a ping.
    #[napi]
    pub fn ping(&self, slot: u32, generation: u32) {
        self.with_engine(|engine| engine.ping(ConnectionId { slot, generation }));
    }

    /// Counts as a pong.
    #[napi]
    pub fn mark_alive(&self, slot: u32, generation: u32) {
        self.with_engine(|engine| engine.mark_alive(ConnectionId { slot, generation }));
    }

    /// Whether the connection has not ended.
    #[napi]
    pub fn is_alive(&self, slot: u32, generation: u32) -> bool {
        self.with_engine(|engine| engine.is_alive(ConnectionId { slot, generation }))
            .unwrap_or(false)
    }

    /// How many pongs, and calls of `mark_alive`, there have been.
    #[napi]
    pub fn signs_of_life(&self, slot: u32, generation: u32) -> u32 {
        self.with_engine(|engine| engine.signs_of_life(ConnectionId { slot, generation }))
            .unwrap_or(0)
    }

    /// When the last pong came, in milliseconds since 1970.
    #[napi]
    pub fn last_pong(&self, slot: u32, generation: u32) -> Option<f64> {
        self.with_engine(|engine| engine.last_pong(ConnectionId { slot, generation }))
            .flatten()
            .map(|millis| millis as f64)
    }

    /// Bytes queued for the peer.
    #[napi]
    pub fn buffered_amount(&self, slot: u32, generation: u32) -> f64 {
        self.with_engine(|engine| engine.buffered_amount(ConnectionId { slot, generation }))
            .unwrap_or(0) as f64
    }

    /// The address of the peer. `null` where it has none, or is gone.
    #[napi]
    pub fn remote_address(&self, slot: u32, generation: u32) -> Option<String> {
        self.with_engine(|engine| engine.remote_address(ConnectionId { slot, generation }))
            .flatten()
            .map(|address| address.to_string())
    }

    /// Whether connections can be served.
    #[napi]
    pub fn is_healthy(&self) -> bool {
        match &*self.engine.borrow() {
            None => true,
            Some(handle) => handle.with(Engine::is_running).unwrap_or(false),
        }
    }

    /// Rejected upgrades by [`RejectReason`].
    pub(super) fn rejected(&self) -> [u32; RejectReason::ALL.len()] {
        *self.rejected.borrow()
    }

    /// Whether upgrades are refused.
    pub(super) fn is_shutting_down(&self) -> bool {
        self.shutting_down.get()
    }

    /// Rejected upgrades by reason, always in the same order.
    #[napi]
    pub fn rejections<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let mut object = Object::new(env)?;
        let rejected = self.rejected.borrow();
        for reason in RejectReason::ALL {
            object.set(reason.name(), rejected[reason as usize])?;
        }
        Ok(object)
    }

    /// Everything that is counted, as OpenMetrics text. `cluster` is what `getStats` says of the cluster,
    /// where there is one.
    #[napi]
    pub fn metrics(&self, cluster: Option<ClusterStats>) -> Result<String> {
        metrics::text_of(self, cluster)
    }

    /// Numbers about the plugin; `rejections` has the rest, and `rooms` the names of the rooms.
    #[napi]
    pub fn stats(&self) -> PluginStats {
        let totals = self.earlier.get() + self.with_engine(Engine::totals).unwrap_or_default();
        let bridged = self.with_engine(Engine::bridged).unwrap_or(0);
        let open = self.capacity.open();
        let closing = self.capacity.living().saturating_sub(u64::from(open));
        PluginStats {
            total_connections: open,
            room_count: self.room_count(),
            handlers: self.routes.borrow().count() as u32,
            messages_received: totals.messages_received as f64,
            messages_sent: totals.messages_sent as f64,
            bytes_received: totals.bytes_received as f64,
            bytes_sent: totals.bytes_sent as f64,
            dropped_messages: totals.dropped as f64,
            rate_limited: RateLimitedStats {
                closed: totals.rate_limited.closed as f64,
                dropped: totals.rate_limited.dropped as f64,
                paused: totals.rate_limited.paused as f64,
            },
            refused_proxy_headers: self.refused_headers.get(),
            buffered_amount: self.with_engine(Engine::total_buffered_amount).unwrap_or(0) as f64,
            backpressured_connections: self.with_engine(Engine::backpressured).unwrap_or(0),
            closing_connections: u32::try_from(closing).unwrap_or(u32::MAX),
            memory: self.memory_stats(totals.shed),
            transports: TransportStats { adopted: open.saturating_sub(bridged), bridged },
        }
    }

    fn memory_stats(&self, shed: u64) -> MemoryStats {
        let used = self.with_engine(|engine| engine.memory().used()).unwrap_or(0);
        let limit = self.options.settings.max_buffered_bytes;
        MemoryStats {
            used: used as f64,
            limit: if limit == usize::MAX { f64::INFINITY } else { limit as f64 },
            shed: shed as f64,
        }
    }

    pub(super) fn with_engine<R>(&self, act: impl FnOnce(&Engine) -> R) -> Option<R> {
        self.engine.borrow().as_ref().and_then(|handle| handle.with(act))
    }
}

/// Whether `rules` let an origin in. `by_regexp` asks JavaScript.
fn allows(
    rules: &Rules,
    origin: Option<&str>,
    by_regexp: impl FnOnce(String) -> Result<bool>,
) -> Result<bool> {
    match (rules.origins.check(origin), origin) {
        (OriginVerdict::Allowed, _) => Ok(true),
        (OriginVerdict::AskJavaScript, Some(origin))
            if origin.len() <= MAX_ORIGIN_FOR_JAVASCRIPT =>
        {
            by_regexp(origin.to_owned())
        }
        _ => Ok(false),
    }
}

fn invalid_pattern(env: &Env, error: &PatternError) -> Error {
    pending(env.throw_type_error(&format!("ws: {error}"), None))
}

#[cfg(unix)]
fn descriptor(descriptor: Either<i32, PumpedDescriptor>) -> Result<Source> {
    let (fd, pump) = match descriptor {
        Either::A(fd) => (fd, None),
        Either::B(PumpedDescriptor { fd, pump }) => (fd, Some(pump)),
    };
    adopted::adopt(fd)
        .map(|socket| match pump {
            Some(key) => Source::Secured(Pumped { key, plain: socket }),
            None => Source::Descriptor(socket.into()),
        })
        .map_err(|error| Error::from_reason(format!("the socket cannot be taken: {error}")))
}

/// The facade asks for a bridge where there are no descriptors.
#[cfg(not(unix))]
fn descriptor(_descriptor: Either<i32, PumpedDescriptor>) -> Result<Source> {
    Err(Error::from_reason("descriptors cannot be taken on this platform"))
}

/// Room names as JavaScript has them.
fn to_strings(names: Option<Vec<RoomName>>) -> Vec<Utf16String> {
    names.unwrap_or_default().iter().map(|name| Utf16String::from(name.to_vec())).collect()
}
