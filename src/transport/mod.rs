//! How bytes of a connection get in and out: over a descriptor taken over from Node, as they are
//! ([`adopted`]) or encrypted ([`secured`]), or through a stream that JavaScript pumps ([`bridge`]).
//! Nothing here knows what a frame is.

#[cfg(unix)]
pub mod adopted;
pub mod bridge;
#[cfg(unix)]
pub mod secured;

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;

#[cfg(unix)]
use adopted::Adopted;
use bridge::Bridge;
#[cfg(unix)]
use secured::Secured;

/// Bytes in, bytes out, without blocking. Owned by an I/O thread.
#[derive(Debug)]
pub enum Transport {
    /// The kernel's socket.
    #[cfg(unix)]
    Adopted(Adopted),
    /// The same, with TLS on it.
    #[cfg(unix)]
    Secured(Rc<Secured>),
    /// A stream of JavaScript's.
    Bridged(Rc<Bridge>),
}

/// Readiness as it was when it was waited for.
pub enum Ready<'a> {
    /// Remembered until a system call has said that it is over.
    #[cfg(unix)]
    Adopted(adopted::ReadyGuard<'a>),
    /// The same, below TLS.
    #[cfg(unix)]
    Secured(secured::SecuredReady<'a>),
    /// Looked up whenever it is asked for, so there is nothing to be forgotten.
    Bridged(std::marker::PhantomData<&'a ()>),
}

impl Ready<'_> {
    /// The transport has nothing more to read, or takes nothing more, for now. Returns `false` where
    /// there may be more after all.
    pub fn clear(&mut self) -> bool {
        match self {
            #[cfg(unix)]
            Self::Adopted(guard) => {
                guard.clear_ready();
                true
            }
            #[cfg(unix)]
            Self::Secured(ready) => ready.clear(),
            Self::Bridged(_) => true,
        }
    }
}

impl Transport {
    /// Waits until there is something to be read, be it the end of the stream.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn readable(&self) -> io::Result<Ready<'_>> {
        match self {
            #[cfg(unix)]
            Self::Adopted(adopted) => adopted.readable().await.map(Ready::Adopted),
            #[cfg(unix)]
            Self::Secured(secured) => secured.readable().await.map(Ready::Secured),
            Self::Bridged(bridge) => {
                // Boxed, as its room would be kept for each descriptor that rests.
                Box::pin(bridge.readable()).await;
                Ok(Ready::Bridged(std::marker::PhantomData))
            }
        }
    }

    /// Waits until there is room for something to be written.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn writable(&self) -> io::Result<Ready<'_>> {
        match self {
            #[cfg(unix)]
            Self::Adopted(adopted) => Ok(Ready::Adopted(adopted.writable().await?)),
            #[cfg(unix)]
            Self::Secured(secured) => Ok(Ready::Secured(secured.writable().await?)),
            Self::Bridged(bridge) => {
                bridge.writable().await;
                Ok(Ready::Bridged(std::marker::PhantomData))
            }
        }
    }

    /// Reads what is there into `buffer`; zero bytes are the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there yet; otherwise the connection is lost.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::Adopted(adopted) => adopted.read(buffer),
            #[cfg(unix)]
            Self::Secured(secured) => secured.read(buffer),
            Self::Bridged(bridge) => bridge.read(buffer),
        }
    }

    /// Writes as much as fits and returns how many bytes that was. `ends` says that our side is
    /// shut down next, where all of them fit.
    ///
    /// # Errors
    /// `WouldBlock` where nothing fits; otherwise the connection is lost.
    #[cfg_attr(not(unix), expect(unused_variables, reason = "no descriptors"))]
    pub fn write(&self, slices: &[IoSlice<'_>], ends: bool) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::Adopted(adopted) => adopted.write(slices, ends),
            #[cfg(unix)]
            Self::Secured(secured) => secured.write(slices),
            Self::Bridged(bridge) => bridge.write(slices),
        }
    }

    /// The bridge, where JavaScript pumps the bytes.
    pub fn bridge(&self) -> Option<&Bridge> {
        match self {
            #[cfg(unix)]
            Self::Adopted(_) | Self::Secured(_) => None,
            Self::Bridged(bridge) => Some(bridge),
        }
    }

    /// Whether nothing but frames comes: TLS has a word of its own for the end, which a descriptor that is
    /// closed by then would answer with a reset.
    pub fn is_bare(&self) -> bool {
        match self {
            #[cfg(unix)]
            Self::Adopted(_) => true,
            #[cfg(unix)]
            Self::Secured(_) => false,
            Self::Bridged(_) => false,
        }
    }

    /// How many connections could be written to in the time that this one takes, where nothing has to be
    /// encrypted. More than the ratio of the costs, as what waits meanwhile is HTTP, which waits for this
    /// thread twice.
    pub fn write_cost(&self) -> usize {
        match self {
            #[cfg(unix)]
            Self::Secured(_) => 8,
            #[cfg(unix)]
            Self::Adopted(_) => 1,
            Self::Bridged(_) => 1,
        }
    }

    /// How many bytes are kept beside the session.
    pub fn kept(&self) -> usize {
        match self {
            #[cfg(unix)]
            Self::Adopted(_) => 0,
            #[cfg(unix)]
            Self::Secured(secured) => secured.kept(),
            Self::Bridged(bridge) => bridge.waiting(),
        }
    }

    /// How many bytes were kept beside the session when this was asked last, and how many are now.
    pub fn recount(&self) -> (usize, usize) {
        match self {
            #[cfg(unix)]
            Self::Adopted(_) => (0, 0),
            #[cfg(unix)]
            Self::Secured(secured) => secured.recount(),
            Self::Bridged(bridge) => bridge.recount(),
        }
    }

    /// Waits until what was given to [`Self::write`] before [`Self::shut_down`], and the end of TLS
    /// behind it, have gone as far as the kernel.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn drain(&self) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Self::Secured(secured) => secured.drain().await,
            _ => Ok(()),
        }
    }

    /// Ends one direction or both. A reader that waits sees the end of the stream.
    pub fn shut_down(&self, how: Shutdown) {
        match self {
            #[cfg(unix)]
            Self::Adopted(adopted) => adopted.shut_down(how),
            #[cfg(unix)]
            Self::Secured(secured) => secured.shut_down(how),
            Self::Bridged(bridge) => bridge.shut_down(how),
        }
    }
}
