//! Other nodes, as the facade has them: a node, and its driver where that is Redis.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use uuid::Uuid;

use super::waker::Waker;
use crate::cluster::node::{Event, State, Stats};
use crate::cluster::redis::{Address, Credentials, Redis, RedisOptions};
use crate::cluster::{Node, NodeOptions};

/// Where a server is: a host and a port, or a path.
#[napi(object, object_to_js = false)]
pub struct BrokerAddress {
    /// Name or address of the host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Of a unix socket.
    pub path: Option<String>,
}

/// TLS with the broker, in DER.
#[napi(object, object_to_js = false)]
pub struct BrokerTls {
    /// Who may have issued its certificate.
    pub authorities: Vec<Uint8Array>,
    /// The certificate chain of this client; empty for none.
    pub chain: Vec<Uint8Array>,
    /// Its private key in PKCS #8.
    pub key: Option<Uint8Array>,
    /// The host name in the broker's certificate.
    pub server_name: Option<String>,
}

/// How to reach Redis. The facade has checked it.
#[napi(object, object_to_js = false)]
pub struct BrokerSettings {
    /// The server, or some nodes of a cluster.
    pub addresses: Vec<BrokerAddress>,
    /// It is a Redis Cluster.
    pub is_cluster: bool,
    /// Where TLS is spoken.
    pub tls: Option<BrokerTls>,
    /// Stands before the names of channels.
    pub prefix: String,
    /// Longest silence of the broker, in milliseconds.
    pub ping_timeout_ms: u32,
    /// Who logs in.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
}

/// Something that the application is told.
#[napi(object, object_from_js = false)]
pub struct ClusterEvent {
    /// `up`, `down`, `gap`, `refused` or `closed`.
    pub kind: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// Of a gap: whose messages they are.
    pub node: Option<String>,
    /// Of a gap: in which room.
    pub room: Option<Utf16String>,
    /// Of a gap: how many.
    pub missed: Option<f64>,
}

/// What `getStats` says of the cluster.
#[napi(object)]
pub struct ClusterStats {
    /// `connecting`, `up`, `down` or `closed`.
    pub state: String,
    /// This node.
    pub node_id: String,
    /// Other nodes.
    pub nodes: u32,
    /// Messages that the broker has taken.
    pub published: f64,
    /// Messages of others that have come.
    pub received: f64,
    /// Those that members here were sent.
    pub delivered: f64,
    /// Messages that were dropped.
    pub dropped: f64,
    /// What could not be read.
    pub ignored: f64,
    /// Messages of others that are known to be missing.
    pub missed: f64,
    /// Holes that were told of.
    pub gaps: f64,
    /// Channels that are subscribed to.
    pub subscriptions: u32,
    /// Channels that the broker refuses.
    pub refused: u32,
    /// Times that a lost connection was made again.
    pub reconnects: f64,
    /// Bytes of the messages that the broker has taken.
    pub bytes_published: f64,
    /// Bytes of the messages that have come.
    pub bytes_received: f64,
    /// Bytes that wait for the broker.
    pub waiting_bytes: f64,
    /// For how long the oldest of them has, in milliseconds.
    pub oldest_waiting_ms: f64,
}

/// What is to be asked of an adapter.
#[napi(object, object_from_js = false)]
pub struct ClusterRequest {
    /// To subscribe, or to unsubscribe.
    pub subscribes: bool,
    /// The channels.
    pub channels: Vec<String>,
}

/// This server's place in a cluster, from its beginning to its end.
#[napi]
pub struct ClusterNode {
    pub(super) node: Arc<Node>,
    waker: Waker,
    /// The driver for Redis, while there is one.
    redis: Rc<RefCell<Option<Redis>>>,
}

#[napi]
impl ClusterNode {
    /// A node of this name, a UUID. `on_wake` is called whenever `events` has some.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        id: String,
        is_sharded: bool,
        one_channel: bool,
        publish_buffer: f64,
        on_wake: Function<'_, (), ()>,
    ) -> Result<Self> {
        let id = Uuid::parse_str(&id)
            .map_err(|error| Error::new(Status::InvalidArg, error.to_string()))?;
        // What it tells is rare, so a threadsafe function will do.
        let waker = Waker::new(&env, &on_wake, false)?;
        let wake = waker.clone();
        let options = NodeOptions {
            id: id.into_bytes(),
            one_channel,
            is_sharded,
            publish_buffer: publish_buffer as usize,
        };
        let node = Arc::new(Node::new(options, Box::new(move || wake.wake())));
        Ok(Self { node, waker, redis: Rc::default() })
    }

    /// Starts the driver for Redis. Where that throws, the node is closed.
    #[napi]
    pub fn start_redis(&self, env: Env, settings: BrokerSettings) -> Result<()> {
        let (options, credentials) = match read(settings) {
            Ok(read) => read,
            Err(error) => {
                self.node.closed();
                self.waker.release();
                return Err(error);
            }
        };
        let waker = self.waker.clone();
        let started =
            Redis::start(self.node.clone(), options, credentials, move || waker.release());
        match started {
            Ok(redis) => {
                *self.redis.borrow_mut() = Some(redis);
                env.add_env_cleanup_hook(Rc::downgrade(&self.redis), |redis| {
                    if let Some(redis) = redis.upgrade() {
                        drop(redis.take());
                    }
                })?;
                Ok(())
            }
            Err(error) => {
                self.waker.release();
                Err(Error::from_reason(format!("the cluster's thread did not start: {error}")))
            }
        }
    }

    /// Connections that are made from now on log in so.
    #[napi]
    pub fn set_credentials(&self, username: Option<String>, password: Option<String>) {
        if let Some(redis) = &*self.redis.borrow() {
            redis.set_credentials(Credentials { username, password });
        }
    }

    /// Ends the driver for Redis, once what waits has left or after so many milliseconds. The event
    /// `closed` follows, and keeps the process alive until then.
    #[napi]
    pub fn stop_redis(&self, env: Env, limit_ms: u32) -> Result<()> {
        if let Some(redis) = &*self.redis.borrow() {
            self.waker.keep_alive(&env, true)?;
            redis.stop(Duration::from_millis(u64::from(limit_ms)));
        }
        Ok(())
    }

    /// What has been published since the last time is to leave.
    #[napi]
    pub fn flush(&self) {
        self.node.call_driver();
    }

    /// What there is to be told, in its order.
    #[napi]
    pub fn events(&self) -> Vec<ClusterEvent> {
        self.node.take_events().into_iter().map(ClusterEvent::from).collect()
    }

    /// Numbers.
    #[napi]
    pub fn stats(&self) -> ClusterStats {
        let stats = self.node.stats();
        ClusterStats::new(shown(self.node.id()), &stats)
    }

    // What the driver of an adapter does, which is the facade.

    /// The adapter is up, and subscribed to nothing.
    #[napi]
    pub fn begin_session(&self) {
        self.node.begin_session(|_| true);
    }

    /// What is to be subscribed to or left next.
    #[napi]
    pub fn next_request(&self) -> Option<ClusterRequest> {
        let request = self.node.next_request(|_| true)?;
        let channels = request.channels.iter().map(|channel| channel.token()).collect();
        Some(ClusterRequest { subscribes: request.subscribes, channels })
    }

    /// The adapter has done that for one channel.
    #[napi]
    pub fn request_done(&self, subscribes: bool, channel: String) {
        if let Some(channel) = self.node.channel_of(&channel) {
            self.node.request_done(subscribes, channel);
        }
    }

    /// The adapter could not.
    #[napi]
    pub fn request_refused(&self, subscribes: bool, channel: String, reason: String) {
        if let Some(channel) = self.node.channel_of(&channel) {
            self.node.request_refused(subscribes, channel, &reason);
        }
    }

    /// Whether all that is to be subscribed to has been asked for and answered.
    #[napi]
    pub fn is_settled(&self) -> bool {
        self.node.is_settled()
    }

    /// Whether something waits to be published.
    #[napi]
    pub fn has_published_all(&self) -> bool {
        self.node.has_published_all()
    }

    /// Takes the next message to be published, with its channel before it, and whether it is a
    /// broadcast, and no heartbeat; `null` where there is none.
    #[napi(ts_return_type = "[channel: string, message: Buffer, isBroadcast: boolean] | null")]
    pub fn take_publication<'env>(&self, env: &'env Env) -> Result<Option<Array<'env>>> {
        let Some(publication) = self.node.take_publications(|_| true, 1, usize::MAX).pop() else {
            return Ok(None);
        };
        self.node.sent(std::slice::from_ref(&publication));
        let mut taken = env.create_array(3)?;
        taken.set(0, publication.channel.token())?;
        taken.set(2, publication.is_message())?;
        taken.set(1, Buffer::from(publication.bytes))?;
        Ok(Some(taken))
    }

    /// A message that was taken could not be published.
    #[napi]
    pub fn publication_lost(&self) {
        self.node.lost_one();
    }

    /// A message has come in a channel.
    #[napi]
    pub fn received(&self, channel: String, message: &[u8]) {
        self.node.received_by_token(&channel, message);
    }

    /// Messages come and go.
    #[napi]
    pub fn up(&self) {
        self.node.up();
    }

    /// They do not.
    #[napi]
    pub fn down(&self, reason: String) {
        self.node.down(reason);
    }

    /// To be called every second; `is_up` is whether messages come and go.
    #[napi]
    pub fn tick(&self, is_up: bool) {
        self.node.tick(is_up);
        if is_up {
            self.node.beat(false);
        }
    }

    /// This node says nothing after what has been published by now.
    #[napi]
    pub fn say_goodbye(&self) {
        self.node.beat(true);
    }

    /// The adapter has been closed.
    #[napi]
    pub fn closed(&self) {
        self.node.closed();
        self.waker.release();
    }
}

impl From<Event> for ClusterEvent {
    fn from(event: Event) -> Self {
        let plain = |kind| Self { kind, reason: None, node: None, room: None, missed: None };
        match event {
            Event::Up => plain("up"),
            Event::Down(reason) => Self { reason: Some(reason), ..plain("down") },
            Event::Refused(reason) => Self { reason: Some(reason), ..plain("refused") },
            Event::Closed => plain("closed"),
            Event::Gap { node, room, missed } => Self {
                node: Some(shown(node)),
                room: room.map(|name| Utf16String::from(name.to_vec())),
                missed: missed.map(|count| count as f64),
                ..plain("gap")
            },
        }
    }
}

impl ClusterStats {
    fn new(node_id: String, stats: &Stats) -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            state: match stats.state {
                State::Connecting => "connecting",
                State::Up => "up",
                State::Down => "down",
                State::Closed => "closed",
            }
            .into(),
            node_id,
            nodes: count(stats.nodes),
            published: stats.published as f64,
            received: stats.received as f64,
            delivered: stats.delivered as f64,
            dropped: stats.dropped as f64,
            ignored: stats.ignored as f64,
            missed: stats.missed as f64,
            gaps: stats.gaps as f64,
            subscriptions: count(stats.subscriptions),
            refused: count(stats.refused),
            reconnects: stats.reconnects as f64,
            bytes_published: stats.bytes_published as f64,
            bytes_received: stats.bytes_received as f64,
            waiting_bytes: stats.waiting_bytes as f64,
            oldest_waiting_ms: stats.oldest_waiting.as_millis() as f64,
        }
    }
}

fn shown(id: [u8; 16]) -> String {
    Uuid::from_bytes(id).to_string()
}

fn read(settings: BrokerSettings) -> Result<(RedisOptions, Credentials)> {
    let address = |each: BrokerAddress| match each {
        BrokerAddress { path: Some(path), .. } => Address::Unix(PathBuf::from(path)),
        BrokerAddress { host, port, .. } => {
            Address::Tcp(host.unwrap_or_default(), port.unwrap_or_default())
        }
    };
    let options = RedisOptions {
        seeds: settings.addresses.into_iter().map(address).collect(),
        is_cluster: settings.is_cluster,
        tls: settings.tls.map(tls).transpose()?,
        prefix: settings.prefix,
        ping_timeout: Duration::from_millis(u64::from(settings.ping_timeout_ms)),
    };
    Ok((options, Credentials { username: settings.username, password: settings.password }))
}

#[cfg(unix)]
fn tls(settings: BrokerTls) -> Result<crate::cluster::redis::Tls> {
    let der = |each: Vec<Uint8Array>| each.iter().map(|der| der.to_vec()).collect();
    let (roots, chain) = (der(settings.authorities), der(settings.chain));
    let key = settings.key.map(|key| key.to_vec());
    let config = crate::tls::client::client(roots, chain, key).map_err(|error| {
        Error::new(
            Status::InvalidArg,
            format!("WebSocketPlugin: option \"cluster.tls\" cannot be used: {error}"),
        )
    })?;
    Ok(crate::cluster::redis::Tls { config: Arc::new(config), server_name: settings.server_name })
}

#[cfg(not(unix))]
fn tls(_settings: BrokerTls) -> Result<crate::cluster::redis::Tls> {
    Err(Error::from_reason("TLS with a broker cannot be spoken on this platform"))
}
