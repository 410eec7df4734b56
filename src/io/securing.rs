//! TLS before there is a WebSocket: handshakes, and HTTP requests that Node serves.
//!
//! A client's socket comes here as Node has accepted it. Once the handshake is over, Node is given one
//! end of a pair of sockets, and a pump carries plaintext between the other end and the client. When a
//! request becomes a WebSocket connection, the pump ends and the connection goes on with what is under
//! way in both directions.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::driving::{LINGER, MAX_LINGERING};
use super::state::IoThread;
use crate::exchange::handshakes::{Client, Outcome};
use crate::exchange::inbox::What;
use crate::exchange::oplog::{Pumped, Securing};
use crate::tls::config::TlsConfig;
use crate::transport::adopted::{self, Adopted};
use crate::transport::secured::Secured;

/// Bytes of plaintext that a pump carries at a time. The pair takes some more.
const PUMP_BYTES: usize = 64 << 10;

/// Serves one connection over TLS until it becomes a WebSocket connection, if it does. Owned by the I/O
/// thread.
#[derive(Debug)]
pub(super) struct Pump {
    secured: Rc<Secured>,
    /// Our end of the pair.
    plain: Rc<Adopted>,
    /// Carries bytes. All that is under way is in the two above.
    carrier: AbortHandle,
}

impl IoThread {
    /// Speaks TLS with a client.
    pub fn secure(self: &Rc<Self>, securing: Securing) {
        let io = self.clone();
        tokio::task::spawn_local(async move {
            let Securing { key, socket, config, limit } = securing;
            let secured = match tokio::time::timeout(limit, greet(&io, socket, &config)).await {
                Ok(Ok(secured)) => Rc::new(secured),
                Ok(Err(error)) => return io.tell_outcome(key, Err(error.to_string())),
                Err(_) => {
                    return io.tell_outcome(key, Err("it was not completed in time".into()));
                }
            };
            let outcome = io.begin_pumping(key, secured, &config);
            io.tell_outcome(key, outcome);
        });
    }

    fn tell_outcome(&self, key: u32, outcome: Outcome) {
        self.common.handshakes.put(key, outcome);
        self.tell_of_pump(key, What::Secured);
    }

    fn tell_of_pump(&self, key: u32, what: What) {
        self.post_if_full();
        self.batch.borrow_mut().push_pump(key, what);
        self.batch_changed();
    }

    fn begin_pumping(
        self: &Rc<Self>,
        key: u32,
        secured: Rc<Secured>,
        config: &TlsConfig,
    ) -> Outcome {
        let failed = |error: io::Error| error.to_string();
        let facts = secured.facts(config).ok_or("it was not completed")?;
        let (ours, theirs) = adopted::pair().map_err(failed)?;
        let plain = Rc::new(Adopted::watch(ours).map_err(failed)?);
        let pumping = {
            let (io, secured, plain) = (self.clone(), secured.clone(), plain.clone());
            async move {
                let result = pump(&io, &secured, &plain).await;
                secured.shut_down(Shutdown::Both);
                io.pumps.borrow_mut().remove(&key);
                io.left.notify_one();
                if result.is_err() {
                    // To Node it would look like an end.
                    io.tell_of_pump(key, What::Lost);
                }
            }
        };
        let carrier = tokio::task::spawn_local(pumping).abort_handle();
        self.pumps.borrow_mut().insert(key, Pump { secured, plain, carrier });
        Ok(Client { plain: theirs, facts })
    }

    /// Ends a pump for a connection that goes on as a WebSocket connection. What Node has written goes
    /// to the client before anything else; what it has not read is appended to `replay`.
    pub fn take_over(&self, pumped: Pumped, replay: &mut Vec<u8>) -> io::Result<Rc<Secured>> {
        let Pumped { key, plain: theirs } = pumped;
        let pump = self.pumps.borrow_mut().remove(&key).ok_or(io::ErrorKind::NotConnected)?;
        let Pump { secured, plain: ours, carrier } = pump;
        carrier.abort();
        let mut scratch = self.scratch.borrow_mut();
        let most = scratch.len().min(PUMP_BYTES);
        let buffer = &mut scratch[..most];
        while let Ok(count @ 1..) = ours.read(buffer) {
            secured.send(&buffer[..count])?;
        }
        let theirs = Adopted::watch(theirs)?;
        while let Ok(count @ 1..) = theirs.read(buffer) {
            replay.extend_from_slice(&buffer[..count]);
        }
        Ok(secured)
    }

    /// Ends a pump in the middle of something.
    pub fn cut_off(&self, key: u32) {
        if let Some(Pump { carrier, .. }) = self.pumps.borrow_mut().remove(&key) {
            // Without a word of TLS, the client knows that what it has got is not whole.
            carrier.abort();
            self.left.notify_one();
        }
    }
}

/// The handshake.
async fn greet(io: &IoThread, socket: OwnedFd, config: &Arc<TlsConfig>) -> io::Result<Secured> {
    let socket = Adopted::watch(socket)?;
    // Who says nothing costs no more than his descriptor.
    drop(socket.readable().await?);
    let buffers = io.tls_buffers.get_or_init(Rc::default).clone();
    let secured = Secured::new(socket, config, buffers)?;
    loop {
        read_some(io, &secured).await?;
        if secured.is_established() {
            // What is left, session tickets perhaps, goes out with the first answer.
            return Ok(secured);
        }
        if secured.is_at_end() {
            return Err(io::Error::other("the client left"));
        }
        drain(&secured).await?;
    }
}

/// Waits until all records have left that are on their way.
async fn drain(secured: &Secured) -> io::Result<()> {
    while !secured.flush()? {
        let mut room = secured.writable().await?;
        if !secured.flush()? {
            room.clear();
        }
    }
    Ok(())
}

/// Waits until something has come, and decrypts it. Plaintext stays where it is.
async fn read_some(io: &IoThread, secured: &Secured) -> io::Result<()> {
    let mut ready = secured.readable().await?;
    let mut scratch = io.scratch.borrow_mut();
    match secured.read(&mut scratch[..PUMP_BYTES]) {
        Ok(count) => {
            secured.unread(&scratch[..count]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            ready.clear();
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Carries bytes until both directions have ended, or one has failed.
async fn pump(io: &IoThread, secured: &Secured, plain: &Adopted) -> io::Result<()> {
    let inbound = carry_in(io, secured, plain);
    let outbound = carry_out(io, secured, plain);
    tokio::pin!(inbound, outbound);
    tokio::select! {
        ended = &mut inbound => {
            ended?;
            outbound.await
        }
        ended = &mut outbound => {
            ended?;
            // Node has ended its side, or has gone altogether, which looks the same. The client has a
            // moment to end its own.
            if let Some(_lingering) = Lingering::begin(&io.lingering_pumps) {
                let _ = tokio::time::timeout(LINGER, inbound).await;
            }
            Ok(())
        }
    }
}

/// One of the pumps that wait for their clients to end their sides. No more than [`MAX_LINGERING`] do.
struct Lingering<'a>(&'a Cell<usize>);

impl<'a> Lingering<'a> {
    fn begin(count: &'a Cell<usize>) -> Option<Self> {
        if count.get() >= MAX_LINGERING {
            return None;
        }
        count.set(count.get() + 1);
        Some(Self(count))
    }
}

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// From the client to Node, until the client has ended its side.
async fn carry_in(io: &IoThread, secured: &Secured, plain: &Adopted) -> io::Result<()> {
    loop {
        if secured.is_at_end() {
            plain.shut_down(Shutdown::Write);
            return Ok(());
        }
        let mut ready = secured.readable().await?;
        // Nothing is read that Node does not take.
        let mut room = plain.writable().await?;
        let mut scratch = io.scratch.borrow_mut();
        match secured.read(&mut scratch[..PUMP_BYTES]) {
            Ok(count) => {
                ready.clear();
                let sent = match plain.write(&[io::IoSlice::new(&scratch[..count])]) {
                    Ok(sent) => sent,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error),
                };
                if sent < count {
                    room.clear_ready();
                    secured.unread(&scratch[sent..count]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// From Node to the client, until Node has ended its side.
async fn carry_out(io: &IoThread, secured: &Secured, plain: &Adopted) -> io::Result<()> {
    loop {
        drain(secured).await?;
        let mut ready = plain.readable().await?;
        let mut scratch = io.scratch.borrow_mut();
        match plain.read(&mut scratch[..PUMP_BYTES]) {
            Ok(0) => {
                drop(scratch);
                secured.shut_down(Shutdown::Write);
                return Ok(());
            }
            Ok(count) => {
                if count < PUMP_BYTES {
                    ready.clear_ready();
                }
                secured.send(&scratch[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
