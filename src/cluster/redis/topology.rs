//! Which server has which channels.
//!
//! A single server has all of them. Of a Redis Cluster each master has some slots, and a partition of
//! channels lies in one slot, by what stands in braces in their names.

use std::rc::Rc;
use std::time::Duration;

use redis::{Value, cmd};

use super::super::names::PARTITIONS;
use super::link::{Address, Link, described, described_answer};
use super::{Backoff, Driver, RedisOptions};

/// How often a cluster is asked for it although nothing has failed: a slot may move without a word.
const RELOAD: Duration = Duration::from_secs(10);

const SLOTS: u16 = 16_384;

/// Who has which channels.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    masters: Vec<Address>,
    /// The master of each partition of a cluster. Empty for a single server.
    by_partition: Vec<Option<usize>>,
}

impl Topology {
    /// What is known before anybody has been asked.
    pub fn new(options: &RedisOptions) -> Self {
        let masters = if options.is_cluster { Vec::new() } else { options.seeds.clone() };
        Self { masters, by_partition: Vec::new() }
    }

    /// The servers that have channels.
    pub fn masters(&self) -> &[Address] {
        &self.masters
    }

    /// The server that has a partition, if that is known.
    pub fn master_of(&self, partition: u16) -> Option<&Address> {
        match self.by_partition.get(partition as usize) {
            Some(index) => index.map(|index| &self.masters[index]),
            None => self.masters.first(),
        }
    }

    /// Reads the answer to `CLUSTER SLOTS`. Where a node does not know how it is reached, `asked` is.
    fn read(slots: &Value, asked: &Address) -> Option<Self> {
        let Value::Array(ranges) = slots else { return None };
        let mut owners: Vec<(u16, u16, Address)> = Vec::new();
        for range in ranges {
            let Value::Array(range) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else {
                return None;
            };
            let [host, Value::Int(port), ..] = &master[..] else { return None };
            let host = match (host, asked) {
                (Value::BulkString(host), _) if !host.is_empty() && host != b"?" => {
                    String::from_utf8(host.clone()).ok()?
                }
                (Value::SimpleString(host), _) if !host.is_empty() && host != "?" => host.clone(),
                (_, Address::Tcp(host, _)) => host.clone(),
                (_, Address::Unix(_)) => return None,
            };
            let address = Address::Tcp(host, u16::try_from(*port).ok()?);
            owners.push((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, address));
        }
        let mut topology = Self::default();
        for partition in 0..PARTITIONS {
            let slot = slot_of(partition);
            let owner = owners.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
            let index = owner.map(|(_, _, address)| {
                let known = topology.masters.iter().position(|each| each == address);
                known.unwrap_or_else(|| {
                    topology.masters.push(address.clone());
                    topology.masters.len() - 1
                })
            });
            topology.by_partition.push(index);
        }
        (!topology.masters.is_empty()).then_some(topology)
    }
}

/// The slot of a partition: CRC-16 (XMODEM) of what stands in braces, as the Redis Cluster
/// specification has it.
fn slot_of(partition: u16) -> u16 {
    let crc = partition.to_string().bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % SLOTS
}

/// Keeps the topology of a cluster up to date.
pub(super) async fn watch(driver: Rc<Driver>) {
    if !driver.options.is_cluster {
        return std::future::pending().await;
    }
    let mut backoff = Backoff::new();
    loop {
        match load(&driver).await {
            Ok(topology) => {
                backoff.succeeded();
                if *driver.topology.borrow() != topology {
                    *driver.topology.borrow_mut() = topology;
                    driver.topology_changed.send_modify(|count| *count += 1);
                }
                tokio::select! {
                    () = tokio::time::sleep(RELOAD) => {}
                    // Who asks has just failed, and others may follow.
                    () = driver.topology_wanted.notified() => backoff.wait().await,
                }
            }
            Err(reason) => {
                driver.node.down(reason);
                backoff.wait().await;
            }
        }
    }
}

/// Asks one after the other of all servers that are known.
async fn load(driver: &Driver) -> Result<Topology, String> {
    let mut servers = driver.topology.borrow().masters().to_vec();
    servers.extend(driver.options.seeds.iter().cloned());
    let mut reason = String::new();
    for server in servers {
        let asked = async {
            let mut link = Link::connect(driver, &server, None).await?;
            let mut connection = link.connection.clone();
            let slots = cmd("CLUSTER").arg("SLOTS").to_owned();
            tokio::select! {
                answer = connection.send_packed_command(&slots) => answer.map_err(described),
                reason = link.lost() => Err(reason),
            }
        };
        match asked.await {
            Ok(Value::ServerError(error)) => {
                reason = format!("{server}: {}", described_answer(&error));
            }
            Ok(slots) => match Topology::read(&slots, &server) {
                Some(topology) => return Ok(topology),
                None => reason = format!("{server}: has no slots to tell of"),
            },
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: &str, port: i64) -> Value {
        let node = vec![Value::BulkString(host.into()), Value::Int(port)];
        Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(node)])
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // As `CLUSTER KEYSLOT 0` and so on say.
        assert_eq!([0, 1, 17, 255].map(slot_of), [13907, 9842, 12304, 14163]);
    }

    #[test]
    fn each_partition_has_the_master_of_its_slot() {
        let asked = Address::Tcp("seed".into(), 7000);
        let slots = Value::Array(vec![range(0, 9999, "", 7001), range(10_000, 16_383, "b", 7002)]);
        let topology = Topology::read(&slots, &asked).unwrap();
        assert_eq!(topology.master_of(1), Some(&Address::Tcp("seed".into(), 7001)));
        assert_eq!(topology.master_of(0), Some(&Address::Tcp("b".into(), 7002)));
        assert_eq!(topology.masters().len(), 2);
    }

    #[test]
    fn a_slot_without_a_master_is_nobody_s() {
        let asked = Address::Tcp("seed".into(), 7000);
        let topology = Topology::read(&Value::Array(vec![range(0, 9999, "a", 1)]), &asked).unwrap();
        assert_eq!((topology.master_of(0), topology.masters().len()), (None, 1));
        assert_eq!(Topology::read(&Value::Array(vec![]), &asked), None);
        assert_eq!(Topology::read(&Value::Nil, &asked), None);
    }
}
