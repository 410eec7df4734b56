//! TLS before there is a WebSocket: handshakes, and HTTP requests that Node serves.
//!
//! A client's socket comes here as Node has accepted it. Once the handshake is over, Node is given one
//! end of a pair of sockets, and a pump carries plaintext between the other end and the client. When a
//! request becomes a WebSocket connection, the pump ends and the connection goes on with what is under
//! way in both directions.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::driving::LINGER;
use super::state::IoThread;
use crate::exchange::handshakes::{Client, Failure, Outcome};
use crate::exchange::inbox::What;
use crate::exchange::oplog::{Leave, Pumped, Securing};
use crate::handshake::proxy_protocol::{self, ProxyHeader};
use crate::tls::config::TlsConfig;
use crate::transport::adopted::{self, Adopted, ReadyGuard};
use crate::transport::secured::{Secured, SecuredReady};

/// Bytes of plaintext that a pump carries at a time. The pair takes some more.
const PUMP_BYTES: usize = 64 << 10;

/// Most bytes that are kept for all handshakes of an I/O thread together: beyond it, those that keep more
/// than [`USUAL_GREETING`] end.
const MAX_GREETING_BYTES: usize = 32 << 20;

/// What any client needs for its hello, and most servers for their certificates.
const USUAL_GREETING: usize = 8 << 10;

/// Bytes of a PROXY header that are looked at at a time: more than most have.
const HEADER_BYTES: usize = 256;

/// Most connections with clients that have broken TLS which are seen off: the others are just closed.
const MAX_SEEN_OFF: usize = 1024;

/// Serves one connection over TLS until it becomes a WebSocket connection, if it does. Owned by the I/O
/// thread.
#[derive(Debug)]
pub(super) struct Pump {
    secured: Rc<Secured>,
    /// Our end of the pair.
    plain: Rc<Adopted>,
    /// Carries bytes. All that is under way is in the two above.
    carrier: AbortHandle,
    /// Tells the carrier that Node has closed its end.
    node_left: Rc<Notify>,
}

impl IoThread {
    /// Speaks TLS with a client.
    pub fn secure(self: &Rc<Self>, securing: Securing) {
        let io = self.clone();
        tokio::task::spawn_local(async move {
            let key = securing.key;
            let guard = PanicGuard { io: &io, key, is_pumping: false };
            let config = securing.config.clone();
            let (outcome, refused) = match shake_hands(&io, securing).await {
                Ok((secured, proxied)) => (io.begin_pumping(key, secured, proxied, &config), None),
                Err((failure, refused)) => (Err(failure), refused),
            };
            drop(guard);
            io.tell_outcome(key, outcome);
            if let Some(refused) = refused {
                io.see_off(&refused).await;
            }
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
        proxied: Option<SocketAddr>,
        config: &TlsConfig,
    ) -> Outcome {
        let facts = secured.facts(config).ok_or_else(|| client("it was not completed"))?;
        if let Some(reason) = facts.authorization_error
            && config.requires_certificates()
        {
            // A session that is resumed brings a certificate that was valid when it began.
            return Err(client(reason));
        }
        let (ours, theirs) = adopted::pair().map_err(own)?;
        let plain = Rc::new(Adopted::watch(ours.into()).map_err(own)?);
        let node_left = Rc::new(Notify::new());
        let carrying = carry(self.clone(), key, secured.clone(), plain.clone(), node_left.clone());
        let carrier = tokio::task::spawn_local(carrying).abort_handle();
        self.pumps.borrow_mut().insert(key, Pump { secured, plain, carrier, node_left });
        Ok(Client { plain: theirs, facts, proxied })
    }

    /// Ends a pump for a connection that goes on as a WebSocket connection. What Node has written goes
    /// to the client before anything else; what it has not read is appended to `replay`.
    pub fn take_over(&self, pumped: Pumped, replay: &mut Vec<u8>) -> io::Result<Rc<Secured>> {
        let Pumped { key, plain: theirs } = pumped;
        let pump = self.pumps.borrow_mut().remove(&key).ok_or(io::ErrorKind::NotConnected)?;
        let Pump { secured, plain: ours, carrier, .. } = pump;
        carrier.abort();
        let mut scratch = self.scratch.borrow_mut();
        let most = scratch.len().min(PUMP_BYTES);
        let buffer = &mut scratch[..most];
        while let Ok(count @ 1..) = ours.read(buffer) {
            secured.send(&buffer[..count])?;
        }
        let theirs = Adopted::watch(theirs.into())?;
        while let Ok(count @ 1..) = theirs.read(buffer) {
            replay.extend_from_slice(&buffer[..count]);
        }
        Ok(secured)
    }

    /// Node has closed its end of a pump.
    pub fn node_left(&self, key: u32, how: Leave) {
        self.common.cut_short.remove(key);
        match how {
            Leave::Done => {
                if let Some(Pump { node_left, .. }) = self.pumps.borrow().get(&key) {
                    node_left.notify_one();
                }
            }
            Leave::CutShort => {
                if let Some(Pump { carrier, .. }) = self.pumps.borrow_mut().remove(&key) {
                    // Without a word of TLS, the client knows that what it has got is not whole.
                    carrier.abort();
                    self.left.notify_one();
                    self.tell_of_pump(key, What::Ended);
                }
            }
        }
    }

    /// Has a client that has broken TLS read the alert that says so, unless it takes too long.
    async fn see_off(&self, secured: &Secured) {
        if !secured.has_failed() || self.seen_off.get() >= MAX_SEEN_OFF {
            return;
        }
        self.seen_off.set(self.seen_off.get() + 1);
        let _ = tokio::time::timeout(LINGER, secured.see_off()).await;
        self.seen_off.set(self.seen_off.get() - 1);
    }
}

/// Tokio catches a panic of a task. This sees to it that JavaScript does not wait for its news for ever.
struct PanicGuard<'a> {
    io: &'a IoThread,
    key: u32,
    /// The handshake is over.
    is_pumping: bool,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        let Self { io, key, is_pumping } = *self;
        if !std::thread::panicking() {
            return;
        }
        if is_pumping {
            io.pumps.borrow_mut().remove(&key);
            io.left.notify_one();
            io.tell_of_pump(key, What::Lost);
        } else {
            let reason = "a fault of the engine".into();
            let failure = Failure { reason, is_ours: true, lacks_header: false };
            io.tell_outcome(key, Err(failure));
        }
    }
}

/// A client with whom there is no TLS.
fn client(reason: impl ToString) -> Failure {
    Failure { reason: reason.to_string(), is_ours: false, lacks_header: false }
}

/// A client that has not begun with its PROXY header.
fn without_header(reason: &str) -> Failure {
    let reason = format!("the PROXY header is refused: {reason}");
    Failure { reason, is_ours: false, lacks_header: true }
}

/// Something that this process lacks.
fn own(error: io::Error) -> Failure {
    let reason = format!("the socket cannot be served: {error}");
    Failure { reason, is_ours: true, lacks_header: false }
}

/// The handshake, within its limit, and who the client is where a PROXY header says so. Whom it fails with
/// may have to be seen off.
async fn shake_hands(
    io: &IoThread,
    securing: Securing,
) -> Result<(Rc<Secured>, Option<SocketAddr>), (Failure, Option<Rc<Secured>>)> {
    let Securing { socket, config, expects_header, limit, .. } = securing;
    let failed = |error| (own(error), None);
    let socket = Adopted::watch(socket.into()).map_err(failed)?;
    let lacks_header = Cell::new(expects_header);
    let greeting = async {
        // Who says nothing costs no more than his descriptor.
        drop(socket.readable().await.map_err(failed)?);
        let mut proxied = None;
        if expects_header {
            proxied = take_proxy_header(&socket).await.map_err(|failure| (failure, None))?;
            lacks_header.set(false);
        }
        let buffers = io.tls_buffers.get_or_init(Rc::default).clone();
        let secured = Rc::new(Secured::new(socket, &config, buffers).map_err(failed)?);
        match greet(io, &secured).await {
            Ok(()) => Ok((secured, proxied)),
            Err(error) => Err((client(error), Some(secured))),
        }
    };
    let late = |_| {
        let failure = if lacks_header.get() {
            without_header("it has not come in time")
        } else {
            client("it was not completed in time")
        };
        Err((failure, None))
    };
    tokio::time::timeout(limit, greeting).await.unwrap_or_else(late)
}

/// Takes the PROXY header at the beginning of a connection, and no byte behind it. Returns who the client
/// is, if the header says so.
async fn take_proxy_header(socket: &Adopted) -> Result<Option<SocketAddr>, Failure> {
    let mut header = Vec::new();
    loop {
        let mut ready = socket.readable().await.map_err(own)?;
        let taken = header.len();
        header.resize(taken + HEADER_BYTES, 0);
        match socket.peek(&mut header[taken..]) {
            Ok(0) => return Err(without_header("the connection has ended")),
            Ok(count) => header.truncate(taken + count),
            Err(error) => {
                header.truncate(taken);
                match error.kind() {
                    io::ErrorKind::WouldBlock => ready.clear_ready(),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(without_header("the connection is lost")),
                }
                continue;
            }
        }
        let found = proxy_protocol::read(&header).map_err(without_header)?;
        let len = match found {
            ProxyHeader::Incomplete => header.len(),
            ProxyHeader::Complete { len, .. } => len,
        };
        // They are there.
        socket.read(&mut header[taken..len]).map_err(own)?;
        if let ProxyHeader::Complete { client, .. } = found {
            return Ok(client);
        }
    }
}

async fn greet(io: &IoThread, secured: &Secured) -> io::Result<()> {
    let keeps = Keeps { io, bytes: Cell::new(0) };
    loop {
        read_some(io, secured).await?;
        if secured.is_established() {
            // What is left, session tickets perhaps, goes out with the first answer.
            return Ok(());
        }
        if secured.is_at_end() {
            return Err(io::Error::other("the client left"));
        }
        keeps.set(secured.kept())?;
        secured.drain().await?;
    }
}

/// What one handshake keeps of what is under way.
struct Keeps<'a> {
    io: &'a IoThread,
    bytes: Cell<usize>,
}

impl Keeps<'_> {
    fn set(&self, bytes: usize) -> io::Result<()> {
        let total = &self.io.greeting_bytes;
        total.set(total.get() - self.bytes.replace(bytes) + bytes);
        if bytes > USUAL_GREETING && total.get() > MAX_GREETING_BYTES {
            return Err(io::Error::other("too much is kept for all handshakes together"));
        }
        Ok(())
    }
}

impl Drop for Keeps<'_> {
    fn drop(&mut self) {
        let _ = self.set(0);
    }
}

/// Waits until something has come, and decrypts it. Plaintext stays where it is.
async fn read_some(io: &IoThread, secured: &Secured) -> io::Result<()> {
    let mut ready = secured.readable().await?;
    if !decrypt_some(io, secured, &mut ready)? {
        // Others get their turn.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Returns `true` where everything has been read.
fn decrypt_some(
    io: &IoThread,
    secured: &Secured,
    ready: &mut SecuredReady<'_>,
) -> io::Result<bool> {
    let buffer = &mut io.scratch.borrow_mut()[..PUMP_BYTES];
    match secured.read(buffer) {
        Ok(count) => {
            secured.unread(&buffer[..count]);
            Ok(true)
        }
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(ready.clear()),
            io::ErrorKind::Interrupted => Ok(true),
            _ => Err(error),
        },
    }
}

/// A pump from its beginning to its end.
async fn carry(
    io: Rc<IoThread>,
    key: u32,
    secured: Rc<Secured>,
    plain: Rc<Adopted>,
    node_left: Rc<Notify>,
) {
    let guard = PanicGuard { io: &io, key, is_pumping: true };
    let result = pump(&io, key, &secured, &plain, &node_left).await;
    drop(guard);
    io.pumps.borrow_mut().remove(&key);
    io.left.notify_one();
    match result {
        Ok(()) => {
            secured.shut_down(Shutdown::Both);
            io.tell_of_pump(key, What::Ended);
        }
        Err(_) => {
            // To Node it would look like an end.
            io.tell_of_pump(key, What::Lost);
            io.see_off(&secured).await;
        }
    }
}

/// Carries bytes until both directions have ended, or one has failed.
async fn pump(
    io: &IoThread,
    key: u32,
    secured: &Secured,
    plain: &Adopted,
    node_left: &Notify,
) -> io::Result<()> {
    let inbound = carry_in(io, secured, plain);
    let outbound = carry_out(io, key, secured, plain);
    tokio::pin!(inbound, outbound);
    let (mut inbound_ended, mut outbound_ended, mut node_has_left) = (false, false, false);
    while !(inbound_ended && outbound_ended) {
        let sent = secured.sent();
        // Node may end its side and go on reading. Once it has gone, the client has the time to read
        // that any connection has that is being seen out, and a moment to end its own side.
        let limit = if outbound_ended { LINGER } else { io.settings().close_timeout };
        tokio::select! {
            ended = &mut inbound, if !inbound_ended => {
                ended?;
                inbound_ended = true;
            }
            ended = &mut outbound, if !outbound_ended => {
                ended?;
                outbound_ended = true;
            }
            () = node_left.notified(), if !node_has_left => node_has_left = true,
            () = tokio::time::sleep(limit), if node_has_left => {
                if outbound_ended {
                    return Ok(());
                }
                if secured.sent() == sent {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
    Ok(())
}

/// From the client to Node, until the client has ended its side.
async fn carry_in(io: &IoThread, secured: &Secured, plain: &Adopted) -> io::Result<()> {
    // Once Node takes nothing any more, what comes is thrown away: unread, it would have the end of the
    // connection be a reset, which may destroy what is on its way to the client.
    let mut is_taken = true;
    loop {
        if secured.is_at_end() {
            plain.shut_down(Shutdown::Write);
            return Ok(());
        }
        let mut ready = secured.readable().await?;
        // Nothing is read that Node does not take.
        let mut room = if is_taken { Some(plain.writable().await?) } else { None };
        if !carry_some(io, secured, plain, &mut ready, &mut room)? {
            // Others get their turn.
            tokio::task::yield_now().await;
        }
        is_taken = room.is_some();
    }
}

/// Reads once, and hands over what Node takes. `room` is taken where that is nothing any more. Returns
/// `true` where everything has been read.
fn carry_some(
    io: &IoThread,
    secured: &Secured,
    plain: &Adopted,
    ready: &mut SecuredReady<'_>,
    room: &mut Option<ReadyGuard<'_>>,
) -> io::Result<bool> {
    let buffer = &mut io.scratch.borrow_mut()[..PUMP_BYTES];
    let count = match secured.read(buffer) {
        Ok(count) => count,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(ready.clear()),
                io::ErrorKind::Interrupted => Ok(true),
                _ => Err(error),
            };
        }
    };
    let is_empty = ready.clear();
    let Some(guard) = room else { return Ok(is_empty) };
    match plain.write(&[io::IoSlice::new(&buffer[..count])], false) {
        Ok(sent) if sent == count => {}
        Ok(sent) => {
            guard.clear_ready();
            secured.unread(&buffer[sent..count]);
        }
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => {
                guard.clear_ready();
                secured.unread(&buffer[..count]);
            }
            io::ErrorKind::Interrupted => secured.unread(&buffer[..count]),
            _ => *room = None,
        },
    }
    Ok(is_empty)
}

/// From Node to the client, until Node has ended its side.
async fn carry_out(io: &IoThread, key: u32, secured: &Secured, plain: &Adopted) -> io::Result<()> {
    loop {
        secured.drain().await?;
        let mut ready = plain.readable().await?;
        let read = plain.read(&mut io.scratch.borrow_mut()[..PUMP_BYTES]);
        match read {
            Ok(count @ 1..) => {
                if count < PUMP_BYTES {
                    ready.clear_ready();
                }
                secured.send(&io.scratch.borrow()[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A reset says that Node has closed its end without having read all of what came.
            Ok(0) | Err(_) if io.common.cut_short.contains(key) => {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Ok(_) | Err(_) => {
                secured.shut_down(Shutdown::Write);
                return secured.drain().await;
            }
        }
    }
}
