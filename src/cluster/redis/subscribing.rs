//! Connections that carry subscriptions.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::SendError;
use redis::{Pipeline, PushInfo, PushKind, Value, cmd};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::super::Node;
use super::super::names::PARTITIONS;
use super::super::subscriptions::Request;
use super::link::{Address, Link, described, described_answer};
use super::publishing::Membership;
use super::{Backoff, Driver, PerMaster};

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Keeps one connection to each master.
pub(super) async fn run(driver: Rc<Driver>) {
    PerMaster::default().keep(&driver, keep_connected).await;
}

async fn keep_connected(driver: Rc<Driver>, master: Address) {
    let mut backoff = Backoff::new();
    loop {
        let reason = session(&driver, &master, &mut backoff).await;
        driver.failed(reason);
        backoff.wait().await;
    }
}

/// One connection, from its beginning to its end. Returns why it has ended.
async fn session(driver: &Rc<Driver>, master: &Address, backoff: &mut Backoff) -> String {
    let node = &driver.node;
    let pushes = Arc::new(Pushes {
        node: node.clone(),
        prefix: driver.options.prefix.clone().into_bytes(),
        is_sharded: driver.options.is_cluster,
        leaving: AtomicUsize::new(0),
        was_moved: Notify::new(),
    });
    let receiver = pushes.clone();
    let on_push = move |info: PushInfo| {
        receiver.take(info);
        Ok::<(), SendError>(())
    };
    let mut link = match Link::connect(driver, master, Some(Box::new(on_push))).await {
        Ok(link) => link,
        Err(reason) => return reason,
    };
    let serves = |partition: u16| driver.topology.borrow().master_of(partition) == Some(master);
    node.begin_session(serves);
    let mut begun: HashSet<u16> = (0..PARTITIONS).filter(|each| serves(*each)).collect();
    let mut wanted = driver.wanted.subscribe();
    let mut changes = driver.topology_changed.subscribe();
    let mut look = tokio::time::interval(LOOK);
    // Answers to requests, and to pings.
    let mut answers: JoinSet<Answer> = JoinSet::new();
    let mut pinged = false;
    let mut heard = None;
    loop {
        while let Some(request) = node.next_request(serves) {
            if !request.subscribes {
                pushes.leaving.fetch_add(request.channels.len(), Ordering::Relaxed);
            }
            if answers.is_empty() {
                // What is asked behind something unanswered is no sign of life.
                link.asks();
            }
            answers.spawn_local(ask(link.connection.clone(), commands(driver, &request), request));
        }
        if heard.is_none() && answers.is_empty() {
            heard = Some(Membership::of(&driver.hears, master));
            backoff.succeeded();
        }
        if heard.is_some() {
            driver.look();
        }
        let is_asking = !answers.is_empty();
        tokio::select! {
            Some(answer) = answers.join_next() => match answer {
                Ok(Ok(Some((request, values)))) => {
                    if let Some(reason) = settle(node, &pushes, request, values) {
                        return format!("{master}: {reason}");
                    }
                }
                Ok(Ok(None)) => pinged = false,
                Ok(Err(reason)) => return format!("{master}: {reason}"),
                Err(error) => return format!("{master}: {error}"),
            },
            reason = link.ended(is_asking) => return format!("{master}: {reason}"),
            () = pushes.was_moved.notified() => {
                return format!("{master}: a channel has moved to another server");
            }
            Ok(()) = wanted.changed() => {}
            // Partitions that this server has got since are begun at once; those that it has lost, it
            // tells of.
            Ok(()) = changes.changed() => {
                let now: HashSet<u16> = (0..PARTITIONS).filter(|each| serves(*each)).collect();
                node.begin_more(|partition| now.contains(&partition) && !begun.contains(&partition));
                begun = now;
            }
            _ = look.tick() => {
                if !pinged && link.silence() > driver.options.ping_timeout / 4 {
                    pinged = true;
                    answers.spawn_local(ping(link.connection.clone()));
                }
            }
        }
    }
}

type Connection = redis::aio::MultiplexedConnection;

/// What a server says to a request, and `None` to a ping.
type Answer = Result<Option<(Request, Vec<Value>)>, String>;

fn commands(driver: &Driver, request: &Request) -> Pipeline {
    let name = match (driver.options.is_cluster, request.subscribes) {
        (false, true) => "SUBSCRIBE",
        (false, false) => "UNSUBSCRIBE",
        (true, true) => "SSUBSCRIBE",
        (true, false) => "SUNSUBSCRIBE",
    };
    // One command for each, all on their way at once: each has an answer of its own, so that one that
    // is refused does not concern the others.
    let mut pipeline = Pipeline::with_capacity(request.channels.len());
    for channel in &request.channels {
        pipeline.cmd(name).arg(driver.channel(channel));
    }
    pipeline
}

async fn ask(mut connection: Connection, pipeline: Pipeline, request: Request) -> Answer {
    let count = request.channels.len();
    let values = connection.send_packed_commands(&pipeline, 0, count).await.map_err(described)?;
    Ok(Some((request, values)))
}

async fn ping(mut connection: Connection) -> Answer {
    connection.send_packed_command(&cmd("PING")).await.map_err(described)?;
    Ok(None)
}

/// Takes the answers to a request. Returns why the connection should end, if it should.
fn settle(node: &Node, pushes: &Pushes, request: Request, values: Vec<Value>) -> Option<String> {
    let Request { subscribes, channels } = request;
    for (channel, value) in channels.into_iter().zip(values) {
        match value {
            Value::ServerError(error) if is_about_the_place(error.code()) => {
                return Some(described_answer(&error));
            }
            Value::ServerError(error) => {
                if !subscribes {
                    // No confirmation follows.
                    pushes.leaving.fetch_sub(1, Ordering::Relaxed);
                }
                node.request_refused(subscribes, channel, &described_answer(&error));
            }
            Value::Push { .. } => node.request_done(subscribes, channel),
            _ => return Some("it does not answer as Redis does".to_owned()),
        }
    }
    None
}

/// The server is not, or not now, the one to ask.
pub(super) fn is_about_the_place(code: &str) -> bool {
    matches!(
        code,
        "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY"
    )
}

/// Takes what a connection brings unasked.
struct Pushes {
    node: Arc<Node>,
    prefix: Vec<u8>,
    is_sharded: bool,
    /// Channels that are being left, which the server confirms.
    leaving: AtomicUsize,
    /// The server has left one by itself.
    was_moved: Notify,
}

impl Pushes {
    fn take(&self, PushInfo { kind, data }: PushInfo) {
        match kind {
            PushKind::Message | PushKind::SMessage => {
                if let [Value::BulkString(channel), Value::BulkString(payload)] = &data[..] {
                    self.receive(channel, payload);
                }
            }
            PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                let left =
                    self.leaving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                        left.checked_sub(1)
                    });
                if left.is_err() {
                    self.was_moved.notify_one();
                }
            }
            _ => {}
        }
    }

    fn receive(&self, channel: &[u8], payload: &[u8]) {
        let Some(mut rest) = channel.strip_prefix(&self.prefix[..]) else { return };
        if self.is_sharded {
            let Some(end) = rest.iter().position(|byte| *byte == b'}') else { return };
            rest = &rest[end + 1..];
        }
        match rest.strip_prefix(b":room:") {
            Some(room) => self.node.received_in_room(room, payload),
            None => self.node.received_by_everyone(payload),
        }
    }
}
