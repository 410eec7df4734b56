//! The driver for Redis and Valkey, on a thread of its own.
//!
//! Connecting, logging in and the protocol (RESP3) come from the `redis` crate, as plain multiplexed
//! connections. Which channels are subscribed to, and what happens when a connection is lost, is ours.
//! One connection carries subscriptions and `PING` only, as what arrives unasked would be taken for the
//! answer to something else; broadcasts leave by another one. A Redis Cluster has one of each per master.
//!
//! Connections are made anew for ever, whatever the reason: after 50 ms at first, up to 2 s, with a
//! part left to chance so that not all nodes come at once.

mod link;
mod publishing;
mod subscribing;
mod topology;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::Node;
use super::names::Channel;
pub use link::{Address, Credentials, Tls};
use topology::Topology;

/// Between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);

/// First and longest wait before a connection is made again.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How to reach the broker.
pub struct RedisOptions {
    /// The server, or some nodes of a Redis Cluster.
    pub seeds: Vec<Address>,
    /// It is a Redis Cluster.
    pub is_cluster: bool,
    /// TLS is spoken.
    pub tls: Option<Tls>,
    /// Stands before the names of channels.
    pub prefix: String,
    /// Longest silence of the broker.
    pub ping_timeout: Duration,
}

/// The thread of a driver.
pub struct Redis {
    control: Arc<Control>,
    handle: Option<std::thread::JoinHandle<()>>,
}

/// What the JavaScript thread tells the driver.
struct Control {
    /// Who logs in at connections that are made from now on.
    credentials: Mutex<Credentials>,
    /// Time for what waits to leave, once the driver is to end.
    stop: Mutex<Option<Duration>>,
    /// Nothing is waited for.
    abandoned: AtomicBool,
    changed: Notify,
}

impl Redis {
    /// Starts the thread. `exit` is the last thing that is called on it.
    ///
    /// # Errors
    /// When the operating system has no threads or no descriptors left.
    pub fn start(
        node: Arc<Node>,
        options: RedisOptions,
        credentials: Credentials,
        exit: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let control = Arc::new(Control {
            credentials: Mutex::new(credentials),
            stop: Mutex::new(None),
            abandoned: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let (started, result) = sync_channel(1);
        let handle = {
            let control = control.clone();
            std::thread::Builder::new().name("nextrush-ws-clu".into()).spawn(move || {
                let _last = Last { node: node.clone(), exit: Some(exit) };
                let runtime = Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        let _ = started.send(Ok(()));
                        runtime.block_on(drive(node, options, control));
                        // A name that is being looked up is not waited for.
                        runtime.shutdown_background();
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            })?
        };
        let started = result.recv().unwrap_or_else(|_| Err(io::Error::other("the thread died")));
        if let Err(error) = started {
            // What it calls last may be gone once this has returned.
            let _ = handle.join();
            return Err(error);
        }
        Ok(Self { control, handle: Some(handle) })
    }

    /// Connections that are made from now on log in so.
    pub fn set_credentials(&self, credentials: Credentials) {
        *self.control.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    /// Ends the driver, once what waits has left or `limit` is over.
    pub fn stop(&self, limit: Duration) {
        *self.control.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(limit);
        self.control.changed.notify_one();
    }
}

impl Drop for Redis {
    /// Ends the thread and waits for it: it never waits for this one, so it ends at once.
    fn drop(&mut self) {
        self.control.abandoned.store(true, Ordering::Release);
        self.stop(Duration::ZERO);
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has been printed by it.
            let _ = handle.join();
        }
    }
}

/// Says that the driver has ended, also where it has panicked.
struct Last<F: FnOnce()> {
    node: Arc<Node>,
    exit: Option<F>,
}

impl<F: FnOnce()> Drop for Last<F> {
    fn drop(&mut self) {
        self.node.closed();
        if let Some(exit) = self.exit.take() {
            exit();
        }
    }
}

/// What the tasks of the driver share.
struct Driver {
    node: Arc<Node>,
    options: RedisOptions,
    control: Arc<Control>,
    /// Who serves which channels.
    topology: RefCell<Topology>,
    /// Grows with every change of it.
    topology_changed: watch::Sender<u64>,
    /// It is to be asked for again.
    topology_wanted: Notify,
    /// Grows when something is to be subscribed to.
    wanted: watch::Sender<u64>,
    /// Grows when something is to be published.
    published: watch::Sender<u64>,
    /// Masters that have a connection which carries subscriptions, and has carried all of them.
    hears: RefCell<HashSet<Address>>,
    /// Masters that broadcasts can leave by.
    speaks: RefCell<HashSet<Address>>,
    /// Batches of broadcasts that have been taken from the queue, and not been answered.
    on_their_way: Cell<usize>,
    /// News of what is published, and of connections.
    progressed: Notify,
}

/// One task for each master, which never ends by itself.
#[derive(Default)]
struct PerMaster {
    tasks: JoinSet<()>,
    handles: HashMap<Address, AbortHandle>,
}

impl PerMaster {
    /// Keeps a task for each master, until one of them has panicked.
    async fn keep<F: Future<Output = ()> + 'static>(
        mut self,
        driver: &Rc<Driver>,
        begin: impl Fn(Rc<Driver>, Address) -> F,
    ) {
        let mut changes = driver.topology_changed.subscribe();
        loop {
            let masters = driver.topology.borrow().masters().to_vec();
            self.handles.retain(|master, handle| {
                let stays = masters.contains(master);
                if !stays {
                    handle.abort();
                }
                stays
            });
            for master in masters {
                self.handles
                    .entry(master.clone())
                    .or_insert_with(|| self.tasks.spawn_local(begin(driver.clone(), master)));
            }
            loop {
                tokio::select! {
                    Ok(()) = changes.changed() => break,
                    Some(Err(error)) = self.tasks.join_next() => {
                        if error.is_panic() {
                            return;
                        }
                    }
                }
            }
        }
    }
}

impl Driver {
    fn credentials(&self) -> Credentials {
        self.control.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a set has all masters.
    fn has_all(&self, set: &RefCell<HashSet<Address>>) -> bool {
        let topology = self.topology.borrow();
        let set = set.borrow();
        !topology.masters().is_empty() && topology.masters().iter().all(|each| set.contains(each))
    }

    /// Whether a set has the master of the channel of everyone.
    fn has_everyone(&self, set: &RefCell<HashSet<Address>>) -> bool {
        let topology = self.topology.borrow();
        topology
            .master_of(Channel::Everyone.partition())
            .is_some_and(|master| set.borrow().contains(master))
    }

    /// After something got better: says so, if all is well.
    fn look(&self) {
        if self.has_all(&self.hears) && self.has_all(&self.speaks) && self.node.is_settled() {
            self.node.up();
        }
        self.progressed.notify_one();
    }

    /// A connection has failed.
    fn failed(&self, reason: String) {
        self.node.down(reason);
        self.topology_wanted.notify_one();
        self.progressed.notify_one();
    }

    /// The channel of a message on the wire.
    fn channel(&self, channel: &Channel) -> Vec<u8> {
        let mut name = self.options.prefix.clone().into_bytes();
        if self.options.is_cluster {
            // What stands in braces decides on the slot, whatever a room is called.
            name.extend_from_slice(format!(":{{{}}}", channel.partition()).as_bytes());
        }
        match channel {
            Channel::Everyone => name.extend_from_slice(b":all"),
            Channel::Room(room) => {
                name.extend_from_slice(b":room:");
                name.extend_from_slice(room);
            }
        }
        name
    }
}

async fn drive(node: Arc<Node>, options: RedisOptions, control: Arc<Control>) {
    let topology = Topology::new(&options);
    let driver = Rc::new(Driver {
        node,
        options,
        control,
        topology: RefCell::new(topology),
        topology_changed: watch::Sender::new(0),
        topology_wanted: Notify::new(),
        wanted: watch::Sender::new(0),
        published: watch::Sender::new(0),
        hears: RefCell::default(),
        speaks: RefCell::default(),
        on_their_way: Cell::new(0),
        progressed: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn_local(subscribing::run(driver.clone()));
    tasks.spawn_local(publishing::run(driver.clone()));
    tasks.spawn_local(topology::watch(driver.clone()));
    tasks.spawn_local(beat(driver.clone()));
    tasks.spawn_local(pass_on(driver.clone()));
    let limit = tokio::select! {
        limit = stopped(&driver.control) => limit,
        // None ends by itself: it has panicked, or one of its own tasks.
        _ = tasks.join_next() => {
            driver.node.down("the thread that speaks to the broker has failed".to_owned());
            driver.node.refused("the thread that speaks to the broker has failed".to_owned());
            return;
        }
    };
    if !driver.control.abandoned.load(Ordering::Acquire) {
        tokio::select! {
            () = tokio::time::sleep(limit) => {}
            () = say_the_last(&driver) => {}
            () = abandoned(&driver.control) => {}
            _ = tasks.join_next() => {}
        }
    }
}

/// How much time there is for what waits, once the driver is to end.
async fn stopped(control: &Control) -> Duration {
    loop {
        if let Some(limit) = *control.stop.lock().unwrap_or_else(PoisonError::into_inner) {
            return limit;
        }
        control.changed.notified().await;
    }
}

async fn abandoned(control: &Control) {
    while !control.abandoned.load(Ordering::Acquire) {
        control.changed.notified().await;
    }
}

/// Lets out what waits, and the news that it was all.
async fn say_the_last(driver: &Driver) {
    // Where the broker is away, it is waited for only if there is something to say.
    if !driver.has_everyone(&driver.speaks) && driver.node.waiting_messages() == 0 {
        return;
    }
    driver.node.beat(true);
    while !driver.node.has_published_all() || driver.on_their_way.get() > 0 {
        driver.progressed.notified().await;
    }
}

/// Once a second says how far this node has come, and looks for nodes that have gone.
async fn beat(driver: Rc<Driver>) {
    let mut times = tokio::time::interval(BEAT);
    times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        driver.node.tick(driver.has_everyone(&driver.hears));
        if driver.has_everyone(&driver.speaks) {
            driver.node.beat(false);
        }
    }
}

/// Tells all connections that something is to be subscribed to, or to be published.
async fn pass_on(driver: Rc<Driver>) {
    loop {
        tokio::select! {
            () = driver.node.wanted.notified() => driver.wanted.send_modify(|count| *count += 1),
            () = driver.node.published.notified() => {
                driver.published.send_modify(|count| *count += 1);
            }
        }
    }
}

/// Grows from attempt to attempt, with a part left to chance.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(FIRST_WAIT)
    }

    async fn wait(&mut self) {
        // Any number will do that is not the same for all nodes.
        let chance = uuid::Uuid::new_v4().as_u128() as u32;
        let share = 0.5 + f64::from(chance) / f64::from(u32::MAX) / 2.0;
        tokio::time::sleep(self.0.mul_f64(share)).await;
        self.0 = (2 * self.0).min(LONGEST_WAIT);
    }

    fn succeeded(&mut self) {
        self.0 = FIRST_WAIT;
    }
}
