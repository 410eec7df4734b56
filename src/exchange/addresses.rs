//! How many connections come from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections by the network that they come from. Bounded by the number of connections.
#[derive(Debug)]
pub struct Addresses {
    /// Most connections from one network.
    limit: u32,
    /// JavaScript thread: places that are taken. I/O threads: places that are given back. The lock is
    /// held for one access. Hashed with a secret, as a client may choose among many addresses.
    taken: Mutex<HashMap<Network, Taken>>,
}

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    /// The first 64 bits: whoever has one address of such a network has all of them.
    V6(u64),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        // What is mapped is how a socket for both kinds shows IPv4.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Debug, Default)]
struct Taken {
    /// Requests that have been admitted, and connections that have a descriptor or a stream.
    all: u32,
    /// Those of them that only wait for the peer's end of stream.
    lingering: u32,
}

/// A place among those of an address, from the admission of a request until the descriptor of its
/// connection is closed. Given back when the last owner lets go of it.
#[derive(Debug)]
pub struct AddressPlace {
    addresses: Arc<Addresses>,
    network: Network,
    /// I/O thread.
    lingers: AtomicBool,
}

impl Addresses {
    /// Allows so many connections from one address.
    pub fn new(limit: u32) -> Self {
        Self { limit, taken: Mutex::default() }
    }

    /// JavaScript thread: a place for a client with this address, if there is one left. Those who only
    /// wait for the end of their peer are in nobody's way, so that a client that comes back at once is
    /// let in; but no more of them than there may be others.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Arc<AddressPlace>> {
        let network = address.into();
        let mut taken = self.lock();
        let (all, lingering) =
            taken.get(&network).map_or((0, 0), |taken| (taken.all, taken.lingering));
        if all - lingering.min(self.limit) >= self.limit {
            return None;
        }
        taken.entry(network).or_default().all += 1;
        let lingers = AtomicBool::new(false);
        Some(Arc::new(AddressPlace { addresses: self.clone(), network, lingers }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressPlace {
    /// I/O thread: the connection waits for nothing but its peer, or does so no more.
    pub fn set_lingers(&self, lingers: bool) {
        if self.lingers.swap(lingers, Relaxed) == lingers {
            return;
        }
        if let Some(taken) = self.addresses.lock().get_mut(&self.network) {
            if lingers {
                taken.lingering += 1;
            } else {
                taken.lingering -= 1;
            }
        }
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut all = self.addresses.lock();
        if let Some(taken) = all.get_mut(&self.network) {
            taken.all -= 1;
            taken.lingering -= u32::from(self.lingers.load(Relaxed));
            if taken.all == 0 {
                all.remove(&self.network);
                // Behind a flood, what it needed is given back.
                if all.capacity() > 1024 && all.len() < all.capacity() / 4 {
                    all.shrink_to_fit();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(addresses: &Arc<Addresses>, address: &str) -> Option<Arc<AddressPlace>> {
        addresses.take(address.parse().unwrap())
    }

    #[test]
    fn each_address_has_so_many_places_and_gets_them_back() {
        let addresses = Arc::new(Addresses::new(2));
        let one = take(&addresses, "192.0.2.1").unwrap();
        let two = take(&addresses, "192.0.2.1").unwrap();
        assert!(take(&addresses, "192.0.2.1").is_none());
        let other = take(&addresses, "192.0.2.2").unwrap();
        let shared = one.clone();
        drop(one);
        assert!(take(&addresses, "192.0.2.1").is_none());
        drop(shared);
        let again = take(&addresses, "192.0.2.1").unwrap();
        drop((two, other, again));
        assert!(addresses.lock().is_empty());
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_what_is_mapped_as_ipv4() {
        let addresses = Arc::new(Addresses::new(1));
        let _one = take(&addresses, "2001:db8:0:1::1").unwrap();
        assert!(take(&addresses, "2001:db8:0:1:ffff::2").is_none());
        let _other = take(&addresses, "2001:db8:0:2::1").unwrap();
        let _mapped = take(&addresses, "::ffff:192.0.2.1").unwrap();
        assert!(take(&addresses, "192.0.2.1").is_none());
        assert!(take(&addresses, "::ffff:192.0.2.2").is_some());
    }

    #[test]
    fn who_only_waits_for_its_peer_is_in_nobodys_way_but_not_without_end() {
        let addresses = Arc::new(Addresses::new(1));
        let first = take(&addresses, "192.0.2.1").unwrap();
        first.set_lingers(true);
        first.set_lingers(true);
        let second = take(&addresses, "192.0.2.1").unwrap();
        assert!(take(&addresses, "192.0.2.1").is_none());
        second.set_lingers(true);
        // Two that wait, where one may be there.
        assert!(take(&addresses, "192.0.2.1").is_none());
        first.set_lingers(false);
        assert!(take(&addresses, "192.0.2.1").is_none());
        drop(first);
        drop(second);
        assert!(addresses.lock().is_empty());
    }
}
