//! `metrics()`: everything that is counted, as OpenMetrics text.
//!
//! Most of it is what `getStats` tells. What only metrics have is counted in a [`Tally`], and, where
//! messages flow, by [`histograms`](crate::exchange::histograms).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use napi::bindgen_prelude::*;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::cluster::ClusterStats;
use super::plugin::{NativePlugin, PluginStats};
use crate::engine::Engine;
use crate::exchange::histograms::{SIZE_BOUNDS, SizeTotals, TIME_BOUNDS, Times};
use crate::handshake::RejectReason;

/// Stands before the name of each metric.
const PREFIX: &str = "nextrush_websocket";

/// Close codes that are counted one by one: those of the protocol (RFC 6455 §7.4.1 and later ones).
const PROTOCOL_CODES: std::ops::RangeInclusive<u32> = 1000..=1015;

/// Labels of all others: a peer may choose any, and each label is kept for ever by whoever scrapes.
const OTHER_CODES: [&str; 3] = ["other", "3000-3999", "4000-4999"];

/// What is counted for metrics alone. Belongs to the JavaScript thread, as the plugin does.
#[derive(Default)]
pub(super) struct Tally {
    accepted: Cell<u64>,
    /// By close code: those of the protocol first, then [`OTHER_CODES`].
    closed: RefCell<[u64; 16 + OTHER_CODES.len()]>,
    /// From the arrival of a request until it had become a connection.
    upgrades: RefCell<Times>,
    /// What engines before the current one have counted.
    earlier_sizes: Cell<[SizeTotals; 2]>,
    earlier_waits: RefCell<Times>,
}

impl Tally {
    /// A request has become a connection, `time` after it came.
    pub fn accepted(&self, time: Duration) {
        self.accepted.set(self.accepted.get() + 1);
        self.upgrades.borrow_mut().add(time);
    }

    /// The end of a connection has been told, with this code.
    pub fn closed(&self, code: u32) {
        let index = match code {
            1000..=1015 => code - PROTOCOL_CODES.start(),
            3000..=3999 => 17,
            4000..=4999 => 18,
            _ => 16,
        };
        self.closed.borrow_mut()[index as usize] += 1;
    }

    /// An engine is over.
    pub fn keep(&self, engine: &Engine) {
        self.earlier_sizes.set(self.sizes(Some(engine)));
        *self.earlier_waits.borrow_mut() += &engine.waits();
    }

    fn sizes(&self, engine: Option<&Engine>) -> [SizeTotals; 2] {
        let [received, sent] = self.earlier_sizes.get();
        let [more_received, more_sent] = engine.map(Engine::sizes).unwrap_or_default();
        [received + more_received, sent + more_sent]
    }

    fn waits(&self, engine: Option<&Engine>) -> Times {
        let mut waits = self.earlier_waits.borrow().clone();
        if let Some(engine) = engine {
            waits += &engine.waits();
        }
        waits
    }

    fn closed_by_code(&self) -> Vec<(String, u64)> {
        let others = OTHER_CODES.map(str::to_owned);
        let labels = PROTOCOL_CODES.map(|code| code.to_string()).chain(others);
        let counts = *self.closed.borrow();
        // Codes that never occur are left out: there are many.
        labels.zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// Everything that is counted of a plugin, as OpenMetrics text. `cluster` is what `getStats` says of the
/// cluster, where there is one.
pub(super) fn text_of(plugin: &NativePlugin, cluster: Option<ClusterStats>) -> Result<String> {
    let mut metrics = Metrics(Registry::with_prefix(PREFIX));
    metrics.plugin(plugin);
    if let Some(cluster) = cluster {
        metrics.cluster(cluster);
    }
    let mut text = String::new();
    text::encode(&mut text, &metrics.0)
        .map_err(|error| Error::from_reason(format!("metrics: {error}")))?;
    Ok(text)
}

struct Metrics(Registry);

impl Metrics {
    fn plugin(&mut self, plugin: &NativePlugin) {
        let PluginStats {
            total_connections,
            room_count,
            handlers,
            messages_received,
            messages_sent,
            bytes_received,
            bytes_sent,
            dropped_messages,
            rate_limited,
            refused_proxy_headers,
            buffered_amount,
            backpressured_connections,
            closing_connections,
            memory,
            transports,
        } = plugin.stats();
        let tally = &plugin.tally;

        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        self.0.register("plugin", "The package", Info::new(version));
        let healthy = u32::from(plugin.is_healthy() && !plugin.is_shutting_down());
        self.gauge("healthy", "Whether connections are accepted: 1 or 0", healthy);

        self.gauge("connections", "Open connections", total_connections);
        self.gauge(
            "connections_backpressured",
            "Connections whose peer reads more slowly than it is written to",
            backpressured_connections,
        );
        self.gauge(
            "connections_closing",
            "Connections whose end has been told and whose descriptor is still open",
            closing_connections,
        );
        self.labelled(
            "transport_connections",
            "Open connections by the way their bytes take",
            MetricType::Gauge,
            "transport",
            vec![
                ("adopted".into(), transports.adopted.into()),
                ("bridged".into(), transports.bridged.into()),
            ],
        );
        self.counter("connections_accepted", "Connections accepted", tally.accepted.get());
        self.labelled(
            "connections_closed",
            "Connections that have ended, by close code",
            MetricType::Counter,
            "code",
            tally.closed_by_code(),
        );
        self.counter(
            "connections_shed",
            "Connections closed because of maxBufferedBytes",
            memory.shed as u64,
        );
        let rejected = plugin.rejected();
        self.labelled(
            "upgrades_rejected",
            "Upgrade requests refused, by reason",
            MetricType::Counter,
            "reason",
            RejectReason::ALL
                .map(|reason| (reason.name().into(), rejected[reason as usize].into()))
                .to_vec(),
        );
        self.counter(
            "proxy_headers_refused",
            "Connections that did not begin with a PROXY header",
            refused_proxy_headers.into(),
        );
        self.times(
            "upgrade_duration",
            "Time from the arrival of a request until it was a connection",
            tally.upgrades.borrow().clone(),
        );
        self.gauge("rooms", "Rooms with members", room_count);
        self.gauge("routes", "Routes added with ws", handlers);

        self.counter("messages_received", "Messages received", messages_received as u64);
        self.counter("messages_sent", "Messages sent, by recipient", messages_sent as u64);
        self.counter(
            "messages_dropped",
            "Messages not sent: beyond maxBackpressure, or volatile and would have had to wait",
            dropped_messages as u64,
        );
        self.labelled(
            "rate_limited",
            "What messageRate has done: connections closed, messages dropped, pauses begun",
            MetricType::Counter,
            "action",
            vec![
                ("closed".into(), rate_limited.closed as u64),
                ("dropped".into(), rate_limited.dropped as u64),
                ("paused".into(), rate_limited.paused as u64),
            ],
        );
        self.bytes_counted("received", "Payload bytes received, inflated", bytes_received);
        self.bytes_counted("sent", "Bytes of frames sent, compressed", bytes_sent);
        self.bytes("buffered", "Bytes queued for all connections", buffered_amount);
        self.bytes("memory_used", "Bytes kept for all connections", memory.used);
        if memory.limit.is_finite() {
            self.bytes("memory_limit", "The option maxBufferedBytes", memory.limit);
        }
        let [received, sent] = plugin
            .with_engine(|engine| tally.sizes(Some(engine)))
            .unwrap_or_else(|| tally.sizes(None));
        self.sizes("received_message_size", "Payloads of messages received", received);
        self.sizes("sent_message_size", "Payloads of messages sent, before compression", sent);
        let waits = plugin
            .with_engine(|engine| tally.waits(Some(engine)))
            .unwrap_or_else(|| tally.waits(None));
        self.times("event_wait", "Time that events waited for the JavaScript thread", waits);
    }

    fn cluster(&mut self, cluster: ClusterStats) {
        let ClusterStats {
            state,
            node_id,
            nodes,
            published,
            received,
            delivered,
            dropped,
            ignored,
            missed,
            gaps,
            subscriptions,
            refused,
            reconnects,
            bytes_published,
            bytes_received,
            waiting_bytes,
            oldest_waiting_ms,
        } = cluster;
        let node = vec![("node_id", node_id)];
        self.0.register("cluster", "This server in the cluster", Info::new(node));
        let states = ["connecting", "up", "down", "closed"]
            .map(|each| (each.to_owned(), u64::from(each == state)));
        self.labelled(
            "cluster_state",
            "State of the cluster: 1 for the one it is in",
            MetricType::Gauge,
            "state",
            states.to_vec(),
        );
        self.gauge("cluster_nodes", "Other servers", nodes);
        self.gauge("cluster_subscriptions", "Channels subscribed to", subscriptions);
        self.gauge("cluster_channels_refused", "Channels that the broker refuses", refused);
        for (name, help, count) in [
            ("cluster_messages_published", "Broadcasts handed to the broker", published),
            ("cluster_messages_received", "Broadcasts of other servers", received),
            ("cluster_messages_delivered", "Those that members here were sent", delivered),
            ("cluster_messages_dropped", "Broadcasts dropped", dropped),
            ("cluster_messages_ignored", "Messages that could not be read", ignored),
            ("cluster_messages_missed", "Broadcasts known to be missing", missed),
            ("cluster_gaps", "Events cluster:gap", gaps),
            ("cluster_reconnects", "Lost connections made again", reconnects),
        ] {
            self.counter(name, help, count as u64);
        }
        self.bytes_counted("cluster_published", "Bytes published", bytes_published);
        self.bytes_counted("cluster_received", "Bytes received", bytes_received);
        self.bytes("cluster_waiting", "Bytes that wait for the broker", waiting_bytes);
        self.0.register_with_unit(
            "cluster_oldest_waiting",
            "For how long the oldest of them has waited",
            Unit::Seconds,
            ConstGauge::new(oldest_waiting_ms / 1000.0),
        );
    }

    fn gauge(&mut self, name: &str, help: &str, value: u32) {
        self.0.register(name, help, ConstGauge::new(value));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstCounter::new(value));
    }

    fn bytes(&mut self, name: &str, help: &str, bytes: f64) {
        self.0.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(bytes as u64));
    }

    fn bytes_counted(&mut self, name: &str, help: &str, bytes: f64) {
        self.0.register_with_unit(name, help, Unit::Bytes, ConstCounter::new(bytes as u64));
    }

    fn labelled(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        label: &'static str,
        values: Vec<(String, u64)>,
    ) {
        let is_counter = matches!(kind, MetricType::Counter);
        self.0.register(name, help, Labelled { is_counter, label, values });
    }

    fn sizes(&mut self, name: &str, help: &str, SizeTotals { counts, bytes }: SizeTotals) {
        let bounds = SIZE_BOUNDS.iter().map(|bound| *bound as f64);
        let histogram = Histogram::new(bounds, &counts, bytes as f64);
        self.0.register_with_unit(name, help, Unit::Bytes, histogram);
    }

    fn times(&mut self, name: &str, help: &str, Times { counts, sum }: Times) {
        let bounds = TIME_BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
        let histogram = Histogram::new(bounds, &counts, sum.as_secs_f64());
        self.0.register_with_unit(name, help, Unit::Seconds, histogram);
    }
}

/// Counters or gauges that one label tells apart.
#[derive(Debug)]
struct Labelled {
    is_counter: bool,
    label: &'static str,
    values: Vec<(String, u64)>,
}

impl EncodeMetric for Labelled {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (of, value) in &self.values {
            let labels = [(self.label, of.as_str())];
            let mut encoder = encoder.encode_family(&labels)?;
            if self.is_counter {
                encoder.encode_counter::<NoLabelSet, _, u64>(value, None)?;
            } else {
                encoder.encode_gauge(value)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        if self.is_counter { MetricType::Counter } else { MetricType::Gauge }
    }
}

/// A histogram as it has been counted.
#[derive(Debug)]
struct Histogram {
    /// The end of each bucket, and how many are in it.
    buckets: Vec<(f64, u64)>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: impl Iterator<Item = f64>, counts: &[u64], sum: f64) -> Self {
        let bounds = bounds.chain(std::iter::once(f64::INFINITY));
        Self { buckets: bounds.zip(counts.iter().copied()).collect(), sum }
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = self.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
