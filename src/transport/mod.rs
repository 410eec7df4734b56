//! How bytes of a connection get in and out: over a descriptor taken over from Node ([`adopted`]),
//! or through a stream that JavaScript pumps ([`bridge`]). Nothing here knows what a frame is.

#[cfg(unix)]
pub mod adopted;
pub mod bridge;

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;

#[cfg(unix)]
use adopted::Adopted;
use bridge::Bridge;

/// Bytes in, bytes out, without blocking. Owned by an I/O thread.
#[derive(Debug)]
pub enum Transport {
    /// The kernel's socket.
    #[cfg(unix)]
    Adopted(Adopted),
    /// A stream of JavaScript's.
    Bridged(Rc<Bridge>),
}

/// Readiness as it was when it was waited for.
pub enum Ready<'a> {
    /// Remembered until a system call has said that it is over.
    #[cfg(unix)]
    Adopted(adopted::ReadyGuard<'a>),
    /// Looked up whenever it is asked for, so there is nothing to be forgotten.
    Bridged(std::marker::PhantomData<&'a ()>),
}

impl Ready<'_> {
    /// The transport has nothing more to read, or takes nothing more, for now.
    pub fn clear(&mut self) {
        match self {
            #[cfg(unix)]
            Self::Adopted(guard) => guard.clear_ready(),
            Self::Bridged(_) => {}
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
            Self::Adopted(adopted) => Ok(Ready::Adopted(adopted.readable().await?)),
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
            Self::Bridged(bridge) => bridge.read(buffer),
        }
    }

    /// Writes as much as fits and returns how many bytes that was. `ends` says that our side is
    /// shut down next, where all of them fit.
    ///
    /// # Errors
    /// `WouldBlock` where nothing fits; otherwise the connection is lost.
    pub fn write(&self, slices: &[IoSlice<'_>], ends: bool) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::Adopted(adopted) => adopted.write(slices, ends),
            Self::Bridged(bridge) => bridge.write(slices),
        }
    }

    /// The bridge, where JavaScript pumps the bytes.
    pub fn bridge(&self) -> Option<&Bridge> {
        match self {
            #[cfg(unix)]
            Self::Adopted(_) => None,
            Self::Bridged(bridge) => Some(bridge),
        }
    }

    /// Ends one direction or both. A reader that waits sees the end of the stream.
    pub fn shut_down(&self, how: Shutdown) {
        match self {
            #[cfg(unix)]
            Self::Adopted(adopted) => adopted.shut_down(how),
            Self::Bridged(bridge) => bridge.shut_down(how),
        }
    }
}
