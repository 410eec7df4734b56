//! The connections that broadcasts leave by: one to each master, and none waits for another.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Instant;

use redis::{Pipeline, Value};

use super::super::publications::Publication;
use super::link::{Address, LOST, Link, described, described_answer};
use super::subscribing::is_about_the_place;
use super::{Backoff, Driver, LONGEST_WAIT, PerMaster};

/// Broadcasts and bytes that leave together. The next leave once these have been answered, so this is
/// also what is lost with a connection.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 256 << 10;

/// Keeps one connection to each master.
pub(super) async fn run(driver: Rc<Driver>) {
    PerMaster::default().keep(&driver, keep_publishing).await;
}

async fn keep_publishing(driver: Rc<Driver>, master: Address) {
    let mut backoff = Backoff::new();
    // Since when nothing can be published here that could before.
    let mut away: Option<Instant> = None;
    loop {
        let reason = match Link::connect(&driver, &master, None).await {
            Ok(link) => {
                if let Some(since) = away.take() {
                    // Others are not back yet: who waits to be connected waits about as long as it has
                    // tried.
                    tokio::time::sleep(since.elapsed().min(LONGEST_WAIT)).await;
                }
                let connected = Membership::of(&driver.speaks, &master);
                driver.look();
                let reason = publish(&driver, &master, link, &mut backoff).await;
                drop(connected);
                away = Some(Instant::now());
                format!("{master}: {reason}")
            }
            Err(reason) => reason,
        };
        driver.failed(reason);
        backoff.wait().await;
    }
}

/// Being in a set, as long as this lives.
pub(super) struct Membership<'a> {
    set: &'a RefCell<HashSet<Address>>,
    address: Address,
}

impl<'a> Membership<'a> {
    pub fn of(set: &'a RefCell<HashSet<Address>>, address: &Address) -> Self {
        set.borrow_mut().insert(address.clone());
        Self { set, address: address.clone() }
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.set.borrow_mut().remove(&self.address);
    }
}

/// Publishes what waits, as long as the connection lasts. Returns why it does not.
async fn publish(
    driver: &Driver,
    master: &Address,
    mut link: Link,
    backoff: &mut Backoff,
) -> String {
    let node = &driver.node;
    let mut published = driver.published.subscribe();
    let mut changes = driver.topology_changed.subscribe();
    loop {
        // It may have been lost while it waited for other nodes: what waits is kept for the next one.
        if link.is_closed() {
            return LOST.to_owned();
        }
        let serves = |partition| driver.topology.borrow().master_of(partition) == Some(master);
        let batch = node.take_publications(serves, BATCH, BATCH_BYTES);
        if batch.is_empty() {
            driver.progressed.notify_one();
            tokio::select! {
                Ok(()) = published.changed() => {}
                Ok(()) = changes.changed() => {}
                reason = link.ended(false) => return reason,
            }
            continue;
        }
        match send(driver, &mut link, Batch::new(driver, batch)).await {
            Ok(()) => backoff.succeeded(),
            Err(reason) => return reason,
        }
    }
}

/// Broadcasts on their way. Unless they are taken back from here, nobody knows whether they have got
/// there: also where the server is none any more.
struct Batch<'a> {
    driver: &'a Driver,
    publications: Vec<Publication>,
}

impl<'a> Batch<'a> {
    fn new(driver: &'a Driver, publications: Vec<Publication>) -> Self {
        driver.on_their_way.set(driver.on_their_way.get() + 1);
        Self { driver, publications }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.driver.on_their_way.set(self.driver.on_their_way.get() - 1);
        self.driver.node.lost(&self.publications);
        self.driver.progressed.notify_one();
    }
}

/// Sends a batch, and waits for the answers. What the server has not taken is put back.
async fn send(driver: &Driver, link: &mut Link, mut batch: Batch<'_>) -> Result<(), String> {
    let node = &driver.node;
    let count = batch.publications.len();
    let pipeline = commands(driver, &batch.publications);
    let mut connection = link.connection.clone();
    link.asks();
    let answers = tokio::select! {
        answers = connection.send_packed_commands(&pipeline, 0, count) => {
            answers.map_err(described)
        }
        reason = link.lost() => Err(reason),
    };
    let answers = answers?;
    let (mut sent, mut unsent, mut failure) = (Vec::with_capacity(count), Vec::new(), None);
    for (publication, answer) in std::mem::take(&mut batch.publications).into_iter().zip(answers) {
        match answer {
            Value::Int(_) => sent.push(publication),
            Value::ServerError(error) if is_about_the_place(error.code()) => {
                failure = Some(error.code().to_owned());
                unsent.push(publication);
            }
            Value::ServerError(error) => {
                node.publication_refused(publication, &described_answer(&error));
            }
            _ => {
                failure = Some("it does not answer as Redis does".to_owned());
                node.lost(&[publication]);
            }
        }
    }
    node.sent(&sent);
    node.unsent(unsent);
    failure.map_or(Ok(()), Err)
}

fn commands(driver: &Driver, publications: &[Publication]) -> Pipeline {
    let name = if driver.options.is_cluster { "SPUBLISH" } else { "PUBLISH" };
    let mut pipeline = Pipeline::with_capacity(publications.len());
    for publication in publications {
        pipeline.cmd(name).arg(driver.channel(&publication.channel)).arg(&publication.bytes[..]);
    }
    pipeline
}
