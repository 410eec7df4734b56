//! The connections that broadcasts leave by.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::Instant;

use redis::{Pipeline, Value};
use tokio::task::JoinSet;

use super::super::node::described as described_channel;
use super::super::publications::Publication;
use super::link::{Address, Link, described};
use super::subscribing::is_about_the_place;
use super::{Backoff, Driver, LONGEST_WAIT};

/// Broadcasts and bytes that leave together. The next leave once these have been answered, so this is
/// also what is lost with a connection.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 256 << 10;

/// Publishes what waits.
pub(super) async fn run(driver: Rc<Driver>) {
    let mut links: HashMap<Address, Link> = HashMap::new();
    let mut changes = driver.topology_changed.subscribe();
    let mut backoff = Backoff::new();
    // Since when nothing can be published that could before.
    let mut away: Option<Instant> = None;
    loop {
        if let Err(reason) = connect_all(&driver, &mut links).await {
            away = away.or_else(|| fail(&driver, reason));
            backoff.wait().await;
            continue;
        }
        if let Some(since) = away.take() {
            // Others are not back yet: whoever waits to be connected waits about as long as it has tried.
            tokio::time::sleep(since.elapsed().min(LONGEST_WAIT)).await;
        }
        if !driver.can_publish.replace(!links.is_empty()) {
            driver.look();
        }
        let batch = driver.node.take_publications(BATCH, BATCH_BYTES);
        if batch.is_empty() {
            driver.progressed.notify_one();
            tokio::select! {
                () = driver.node.published.notified() => {}
                Ok(()) = changes.changed() => {}
                reason = any_lost(&mut links) => away = fail(&driver, reason),
            }
            continue;
        }
        driver.is_publishing.set(true);
        let result = publish(&driver, &mut links, batch).await;
        driver.is_publishing.set(false);
        match result {
            Ok(()) => backoff.succeeded(),
            Err(reason) => {
                away = fail(&driver, reason);
                backoff.wait().await;
            }
        }
    }
}

/// Nothing can be published for now. Returns since when, if it could before.
fn fail(driver: &Driver, reason: String) -> Option<Instant> {
    let could = driver.can_publish.replace(false);
    driver.node.down(reason);
    driver.topology_wanted.notify_one();
    could.then(Instant::now)
}

/// Has a connection to each master, and no other.
async fn connect_all(driver: &Driver, links: &mut HashMap<Address, Link>) -> Result<(), String> {
    let masters = driver.topology.borrow().masters().to_vec();
    links.retain(|address, _| masters.contains(address));
    for master in masters {
        if let Entry::Vacant(entry) = links.entry(master) {
            let link = Link::connect(driver, entry.key(), None).await?;
            entry.insert(link);
        }
    }
    Ok(())
}

/// Ends when a connection is lost that nothing is asked of; its silence is no fault.
async fn any_lost(links: &mut HashMap<Address, Link>) -> String {
    if links.is_empty() {
        std::future::pending::<()>().await;
    }
    let mut watches: Vec<_> = links.iter_mut().map(|(_, link)| Box::pin(link.closed())).collect();
    std::future::poll_fn(|cx| {
        let is_lost = watches.iter_mut().any(|watch| watch.as_mut().poll(cx).is_ready());
        if is_lost { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    drop(watches);
    let lost = links.iter().find(|(_, link)| link.is_closed());
    let reason = lost.map(|(address, _)| format!("{address}: the connection was lost"));
    links.retain(|_, link| !link.is_closed());
    reason.unwrap_or_default()
}

/// What became of the broadcasts for one master.
struct Outcome {
    address: Address,
    link: Option<Link>,
    publications: Vec<(usize, Publication)>,
    answers: Result<Vec<Value>, String>,
}

/// Publishes a batch, and waits for the answers. What a server has not taken is put back.
async fn publish(
    driver: &Driver,
    links: &mut HashMap<Address, Link>,
    batch: Vec<Publication>,
) -> Result<(), String> {
    let node = &driver.node;
    let mut unsent: Vec<(usize, Publication)> = Vec::new();
    let mut by_master: HashMap<Address, Vec<(usize, Publication)>> = HashMap::new();
    for (index, publication) in batch.into_iter().enumerate() {
        let partition = publication.channel.partition();
        let master = driver.topology.borrow().master_of(partition).cloned();
        match master.filter(|master| links.contains_key(master)) {
            Some(master) => by_master.entry(master).or_default().push((index, publication)),
            None => unsent.push((index, publication)),
        }
    }
    let mut failure = (!unsent.is_empty()).then(|| "a channel is nobody's for now".to_owned());
    let mut tasks = JoinSet::new();
    for (address, publications) in by_master {
        let Some(mut link) = links.remove(&address) else { continue };
        let pipeline = commands(driver, &publications);
        tasks.spawn_local(async move {
            link.asks();
            let mut connection = link.connection.clone();
            let answers = tokio::select! {
                answers = connection.send_packed_commands(&pipeline, 0, publications.len()) => {
                    answers.map_err(described)
                }
                reason = link.lost() => Err(reason),
            };
            let link = answers.is_ok().then_some(link);
            Outcome { address, link, publications, answers }
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        let Ok(Outcome { address, link, publications, answers }) = outcome else { continue };
        if let Some(link) = link {
            links.insert(address.clone(), link);
        }
        match answers {
            Ok(answers) => {
                let mut sent = Vec::with_capacity(publications.len());
                for ((index, publication), answer) in publications.into_iter().zip(answers) {
                    match answer {
                        Value::ServerError(error) if is_about_the_place(error.code()) => {
                            failure = Some(format!("{address}: {}", error.code()));
                            unsent.push((index, publication));
                        }
                        Value::ServerError(error) => {
                            let channel = described_channel(&publication.channel);
                            let detail = error.details().unwrap_or_default();
                            node.refused(format!(
                                "{channel} cannot be published to: {} {detail}",
                                error.code()
                            ));
                            node.lost(&[publication]);
                        }
                        _ => sent.push(publication),
                    }
                }
                node.sent(&sent);
            }
            // Nobody knows which of them have got there.
            Err(reason) => {
                let lost: Vec<_> = publications.into_iter().map(|(_, each)| each).collect();
                node.lost(&lost);
                failure = Some(format!("{address}: {reason}"));
            }
        }
    }
    unsent.sort_unstable_by_key(|(index, _)| *index);
    node.unsent(unsent.into_iter().map(|(_, publication)| publication).collect());
    failure.map_or(Ok(()), Err)
}

fn commands(driver: &Driver, publications: &[(usize, Publication)]) -> Pipeline {
    let name = if driver.options.is_cluster { "SPUBLISH" } else { "PUBLISH" };
    let mut pipeline = Pipeline::with_capacity(publications.len());
    for (_, publication) in publications {
        pipeline.cmd(name).arg(driver.channel(&publication.channel)).arg(&publication.bytes[..]);
    }
    pipeline
}
