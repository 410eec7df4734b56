//! A connection whose descriptor is taken over from Node, and which speaks TLS.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::adopted::{Adopted, ReadyGuard};
use crate::tls::config::TlsConfig;
use crate::tls::session::{Facts, MAX_PARTIAL, RECORD_BYTES, TlsSession, encrypted_len};

/// Bytes of records read at a time.
const READ_BYTES: usize = 256 << 10;

/// Bytes of plaintext that are encrypted before they are written. What the socket does not take of
/// them is kept as records.
const WRITE_BYTES: usize = 64 << 10;

// They fit into the buffer for records.
const _: () = assert!(encrypted_len(WRITE_BYTES) <= MAX_PARTIAL + READ_BYTES);

/// Bytes of answers in TLS that a client may have waiting and not read: a server's part of a handshake
/// has up to some tens of kilobytes, if its certificate chain is long.
const MAX_ANSWERS: usize = 64 << 10;

/// Buffers that all connections of an I/O thread share. Owned by that thread, and used by one
/// connection at a time, within one call.
#[derive(Debug)]
pub struct TlsBuffers(RefCell<Buffers>);

#[derive(Debug)]
struct Buffers {
    /// Records, on their way in or out.
    records: Box<[u8]>,
    /// Pieces of plaintext that go into the same records.
    gathered: Vec<u8>,
}

impl Default for TlsBuffers {
    fn default() -> Self {
        let records = vec![0; MAX_PARTIAL + READ_BYTES].into_boxed_slice();
        Self(RefCell::new(Buffers { records, gathered: Vec::new() }))
    }
}

/// A socket, and TLS on it. Owned by an I/O thread.
#[derive(Debug)]
pub struct Secured {
    socket: Adopted,
    state: RefCell<State>,
    buffers: Rc<TlsBuffers>,
}

#[derive(Debug)]
struct State {
    session: TlsSession,
    /// What has come of a record that is not whole.
    partial: Vec<u8>,
    /// Plaintext that nobody has read yet.
    plain: Vec<u8>,
    /// Records that the socket has not taken.
    outgoing: Vec<u8>,
    /// How many bytes of them answer what the client asked for in TLS.
    answers: usize,
    /// Bytes of records that the socket has taken, in all.
    sent: u64,
    /// The last read has left nothing in the socket.
    emptied: bool,
    /// The client has ended its side, with a word of TLS or without.
    ended: bool,
    /// The last byte of what was written has been encrypted, and is said to be written once
    /// `outgoing` has left: so who writes has something to wait for until then.
    owes_a_byte: bool,
    /// Nothing is written any more but `outgoing`.
    shut: bool,
    /// Our side of the socket ends behind `outgoing`.
    end_is_due: bool,
    /// The client has broken the protocol, or the socket has failed.
    failed: bool,
    /// How much was kept when that was asked last.
    counted: usize,
}

/// Readiness as it was when it was waited for.
pub struct SecuredReady<'a> {
    /// `None` where something had been read that nobody has taken.
    guard: Option<ReadyGuard<'a>>,
    /// Whose socket may have been read in part only, so that it is still ready.
    read_from: Option<&'a Secured>,
}

impl SecuredReady<'_> {
    /// There is nothing more to read, or no more room, for now. Returns `false` where there may be more
    /// to read after all: records that have been read are not as long as their plaintext.
    pub fn clear(&mut self) -> bool {
        let is_over = self.read_from.is_none_or(|secured| secured.state.borrow().emptied);
        if let Some(guard) = &mut self.guard
            && is_over
        {
            guard.clear_ready();
        }
        is_over
    }
}

impl Secured {
    /// TLS on a socket on which a client is about to begin.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub fn new(socket: Adopted, config: &TlsConfig, buffers: Rc<TlsBuffers>) -> io::Result<Self> {
        let session = TlsSession::new(config).map_err(io::Error::other)?;
        let state = State {
            session,
            partial: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            answers: 0,
            sent: 0,
            emptied: false,
            ended: false,
            owes_a_byte: false,
            shut: false,
            end_is_due: false,
            failed: false,
            counted: 0,
        };
        Ok(Self { socket, state: RefCell::new(state), buffers })
    }

    /// Whether the handshake is over.
    pub fn is_established(&self) -> bool {
        self.state.borrow().session.is_established()
    }

    /// Whether nothing more will be read.
    pub fn is_at_end(&self) -> bool {
        let state = self.state.borrow();
        state.ended && state.plain.is_empty()
    }

    /// What is known of the client, once the handshake is over; to be asked once.
    pub fn facts(&self, config: &TlsConfig) -> Option<Facts> {
        self.state.borrow_mut().session.facts(config)
    }

    /// How many bytes are kept.
    pub fn kept(&self) -> usize {
        let State { partial, plain, outgoing, .. } = &*self.state.borrow();
        partial.capacity() + plain.capacity() + outgoing.capacity()
    }

    /// How many bytes were kept when this was asked last, and how many are now.
    pub fn recount(&self) -> (usize, usize) {
        let now = self.kept();
        (std::mem::replace(&mut self.state.borrow_mut().counted, now), now)
    }

    /// Waits until there is something to be read, be it the end of the stream.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn readable(&self) -> io::Result<SecuredReady<'_>> {
        std::future::poll_fn(|context| self.poll_readable(context)).await
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<SecuredReady<'_>>> {
        let guard =
            if self.has_input() { None } else { Some(ready!(self.socket.poll_readable(context))?) };
        Poll::Ready(Ok(SecuredReady { guard, read_from: Some(self) }))
    }

    fn has_input(&self) -> bool {
        let state = self.state.borrow();
        !state.plain.is_empty() || state.ended || state.failed
    }

    /// Waits until there is room for something to be written.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn writable(&self) -> io::Result<SecuredReady<'_>> {
        Ok(SecuredReady { guard: Some(self.socket.writable().await?), read_from: None })
    }

    /// Reads and decrypts what is there into `buffer`; zero bytes are the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` where no plaintext is there yet; `InvalidData` where the client breaks the
    /// protocol; otherwise the connection is lost.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let records = &mut self.buffers.0.borrow_mut().records;
        self.state.borrow_mut().read(&self.socket, records, buffer)
    }

    /// Puts plaintext back that has been read last and could not be used.
    pub fn unread(&self, bytes: &[u8]) {
        self.state.borrow_mut().plain.splice(..0, bytes.iter().copied());
    }

    /// Encrypts and writes as much as fits, and returns how many bytes that was.
    ///
    /// # Errors
    /// `WouldBlock` where nothing fits; otherwise the connection is lost.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffers = &mut *self.buffers.0.borrow_mut();
        self.state.borrow_mut().write(&self.socket, buffers, slices)
    }

    /// Encrypts all of `plain` and writes what the socket takes of it. The rest goes out by
    /// [`Self::flush`].
    ///
    /// # Errors
    /// Where the connection is lost.
    pub fn send(&self, plain: &[u8]) -> io::Result<()> {
        let buffers = &mut *self.buffers.0.borrow_mut();
        let state = &mut *self.state.borrow_mut();
        for chunk in plain.chunks(WRITE_BYTES) {
            state.send(&self.socket, &mut buffers.records, chunk)?;
        }
        Ok(())
    }

    /// Writes records that wait, as far as the socket takes them. Returns whether none waits any more.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub fn flush(&self) -> io::Result<bool> {
        self.state.borrow_mut().flush(&self.socket)
    }

    /// Waits until all records have left that wait.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn drain(&self) -> io::Result<()> {
        while !self.flush()? {
            let mut room = self.writable().await?;
            if !self.flush()? {
                room.clear();
            }
        }
        Ok(())
    }

    /// How many bytes of records the socket has taken: more where the client reads.
    pub fn sent(&self) -> u64 {
        self.state.borrow().sent
    }

    /// Whether the client has broken the protocol, or the socket has failed.
    pub fn has_failed(&self) -> bool {
        self.state.borrow().failed
    }

    /// After a failure: waits for the client's end of stream. To close the descriptor with unread bytes
    /// would reset the connection, and could destroy the alert on its way.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn see_off(&self) -> io::Result<()> {
        self.socket.shut_down(Shutdown::Write);
        loop {
            let mut ready = self.socket.readable().await?;
            match self.socket.read(&mut self.buffers.0.borrow_mut().records) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends one direction or both; what nobody has read is dropped where that is one of them. Our side
    /// ends behind the records that wait, which [`Self::drain`] waits for, unless both are to end.
    pub fn shut_down(&self, how: Shutdown) {
        let state = &mut *self.state.borrow_mut();
        if how != Shutdown::Read && !state.shut {
            state.shut = true;
            if !state.failed {
                state.end_is_due = how == Shutdown::Write;
                state.session.close(&mut state.outgoing);
                let _ = state.flush(&self.socket);
            }
        }
        if how != Shutdown::Write {
            state.ended = true;
            state.plain = Vec::new();
            state.partial = Vec::new();
        }
        if how == Shutdown::Both {
            state.outgoing = Vec::new();
        }
        if how != Shutdown::Write || state.failed {
            self.socket.shut_down(how);
        }
    }
}

impl State {
    fn read(
        &mut self,
        socket: &Adopted,
        records: &mut [u8],
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if !self.plain.is_empty() {
            return Ok(self.take_plain(buffer));
        }
        if self.failed {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.ended {
            return Ok(0);
        }
        let kept = self.partial.len();
        records[..kept].copy_from_slice(&self.partial);
        // At least a record: less would leave it waiting. What does not fit into `buffer` is little.
        let most = buffer.len().clamp(RECORD_BYTES, READ_BYTES);
        let count = match socket.read(&mut records[kept..kept + most]) {
            Ok(count) => count,
            Err(error) => {
                self.emptied = error.kind() == io::ErrorKind::WouldBlock;
                return Err(error);
            }
        };
        self.emptied = count < most;
        if count == 0 {
            // Without a word of TLS before it. WebSocket and HTTP have ways of their own to tell
            // whether everything has come.
            self.ended = true;
            return Ok(0);
        }
        let records = &mut records[..kept + count];
        let Self { session, plain: rest, outgoing, .. } = self;
        let mut filled = 0;
        let mut take = |plain: &[u8]| {
            let fits = plain.len().min(buffer.len() - filled);
            buffer[filled..filled + fits].copy_from_slice(&plain[..fits]);
            filled += fits;
            rest.extend_from_slice(&plain[fits..]);
        };
        let waited = outgoing.len();
        let received = session.receive(records, &mut take, outgoing);
        self.answers += outgoing.len() - waited;
        self.ended |= self.session.peer_has_closed();
        match received {
            Ok(used) if records.len() - used <= MAX_PARTIAL => {
                // An idle connection holds no buffer.
                self.partial = records[used..].to_vec();
            }
            received => {
                self.failed = true;
                let _ = self.flush(socket);
                let reason = received.err().map_or("too long a message".into(), |e| e.to_string());
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
        if !self.outgoing.is_empty() {
            self.flush(socket)?;
            // What a client asks for and does not read must not pile up.
            if self.answers > MAX_ANSWERS {
                self.failed = true;
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if filled == 0 && !self.ended { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(filled) }
    }

    fn take_plain(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.plain.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        if self.plain.is_empty() {
            self.plain = Vec::new();
        }
        count
    }

    fn write(
        &mut self,
        socket: &Adopted,
        buffers: &mut Buffers,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.shut || self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut written = usize::from(std::mem::take(&mut self.owes_a_byte));
        let mut skip = written;
        let mut slices = slices.iter().map(|slice| {
            let cut = skip.min(slice.len());
            skip -= cut;
            &slice[cut..]
        });
        let mut next: &[u8] = &[];
        loop {
            let chunk = gather(&mut buffers.gathered, &mut next, &mut slices);
            if chunk.is_empty() {
                return Ok(written);
            }
            self.send(socket, &mut buffers.records, chunk)?;
            written += chunk.len();
            if !self.outgoing.is_empty() {
                // To take less than everything means that the socket takes no more for now.
                self.owes_a_byte = true;
                return Ok(written - 1);
            }
        }
    }

    /// Encrypts up to [`WRITE_BYTES`] and sends what the socket takes.
    fn send(&mut self, socket: &Adopted, records: &mut [u8], plain: &[u8]) -> io::Result<()> {
        let len = self.session.encrypt(plain, records)?;
        let records = &records[..len];
        let sent = if self.outgoing.is_empty() { write_once(socket, records)? } else { 0 };
        self.sent += sent as u64;
        if sent < len {
            self.outgoing.extend_from_slice(&records[sent..]);
        }
        Ok(())
    }

    fn flush(&mut self, socket: &Adopted) -> io::Result<bool> {
        let mut sent = 0;
        let result = loop {
            let rest = &self.outgoing[sent..];
            if rest.is_empty() {
                break Ok(true);
            }
            match write_once(socket, rest) {
                Ok(0) => break Ok(false),
                Ok(count) => sent += count,
                Err(error) => break Err(error),
            }
        };
        self.sent += sent as u64;
        if sent < self.outgoing.len() {
            self.outgoing.drain(..sent);
            return result;
        }
        self.outgoing = Vec::new();
        self.answers = 0;
        if std::mem::take(&mut self.end_is_due) {
            socket.shut_down(Shutdown::Write);
        }
        result
    }
}

/// Writes what the socket takes, which may be nothing.
fn write_once(socket: &Adopted, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(&[IoSlice::new(bytes)], false) {
            Ok(count) => return Ok(count),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(0),
                _ => return Err(error),
            },
        }
    }
}

/// The next bytes to be encrypted, at most [`WRITE_BYTES`]: of a long or a single slice as they are,
/// of short ones together. They never end behind the first byte of a slice: its last byte is said to be
/// unwritten where the socket takes no more, and what has not begun may yet be dropped.
fn gather<'g, 's: 'g>(
    gathered: &'g mut Vec<u8>,
    next: &mut &'s [u8],
    slices: &mut impl ExactSizeIterator<Item = &'s [u8]>,
) -> &'g [u8] {
    gathered.clear();
    loop {
        while next.is_empty() {
            match slices.next() {
                Some(slice) => *next = slice,
                None => return gathered,
            }
        }
        let room = WRITE_BYTES - gathered.len();
        if room == 1 && next.len() > 1 {
            return gathered;
        }
        let (part, rest) = next.split_at(next.len().min(room));
        *next = rest;
        if gathered.is_empty() && (part.len() == WRITE_BYTES || slices.len() == 0) {
            return part;
        }
        gathered.extend_from_slice(part);
        if gathered.len() == WRITE_BYTES {
            return gathered;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustls::ClientConnection;
    use rustls::version::TLS13;

    use super::*;
    use crate::tls::testing::{client, server_config};

    /// A client on the other end of a socket that takes very little at a time.
    struct Client {
        tls: ClientConnection,
        stream: UnixStream,
        /// Plaintext that has come.
        heard: Vec<u8>,
        /// The server has said that nothing more comes.
        told_of_end: bool,
        /// The stream has ended.
        ended: bool,
    }

    impl Client {
        /// Reads up to `most` bytes of records, and writes what there is to say. Returns how many.
        fn read(&mut self, most: usize) -> usize {
            while self.tls.wants_write() {
                self.tls.write_tls(&mut self.stream).unwrap();
            }
            let mut records = vec![0; most];
            let count = match self.stream.read(&mut records) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return 0,
                Err(error) => panic!("{error}"),
            };
            self.ended |= count == 0;
            let mut records = &records[..count];
            while !records.is_empty() {
                self.tls.read_tls(&mut records).unwrap();
                let state = self.tls.process_new_packets().unwrap();
                self.told_of_end |= state.peer_has_closed();
                let _ = self.tls.reader().read_to_end(&mut self.heard);
            }
            count
        }
    }

    /// Both ends after their handshake.
    fn pair() -> (Secured, Client) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(ours.as_fd(), 4096).unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let config = server_config();
        let socket = Adopted::watch(std::sync::Arc::new(ours.into())).unwrap();
        let secured = Secured::new(socket, &config, Rc::default()).unwrap();
        let (heard, tls) = (Vec::new(), client(&TLS13));
        let mut client = Client { tls, stream: theirs, heard, told_of_end: false, ended: false };
        while client.tls.is_handshaking() || !secured.is_established() {
            client.read(1 << 20);
            let read = secured.read(&mut [0; 1000]);
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            secured.flush().unwrap();
        }
        while !secured.flush().unwrap() {
            client.read(1 << 20);
        }
        (secured, client)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(test);
    }

    /// Writes as a session does. Returns `true` if the socket takes no more.
    fn write(secured: &Secured, queue: &mut Vec<Vec<u8>>, written: &mut usize) -> bool {
        while !queue.is_empty() {
            let mut slices: Vec<_> = queue.iter().map(|piece| IoSlice::new(piece)).collect();
            slices[0].advance(*written);
            let asked: usize = slices.iter().map(|slice| slice.len()).sum();
            let mut count = match secured.write(&slices) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => panic!("{error}"),
            };
            let blocked = count < asked;
            count += *written;
            while queue.first().is_some_and(|piece| piece.len() <= count) {
                count -= queue.remove(0).len();
            }
            *written = count;
            if blocked {
                return true;
            }
        }
        false
    }

    #[test]
    fn what_has_not_begun_may_be_dropped_while_the_socket_takes_nothing() {
        run(async {
            let chunk = WRITE_BYTES;
            for first in [2, 100, chunk - 2, chunk - 1, chunk, chunk + 1, 2 * chunk - 1, 2 * chunk]
            {
                for second in [2, 3, 1000, chunk - 1, chunk, 3 * chunk] {
                    let (secured, mut client) = pair();
                    let pieces: Vec<_> = [first, second, 2, second]
                        .iter()
                        .enumerate()
                        .map(|(index, len)| vec![index as u8; *len])
                        .collect();
                    let (mut queue, mut written) = (pieces.clone(), 0);
                    write(&secured, &mut queue, &mut written);
                    let begun = pieces.len() - queue.len() + usize::from(written > 0);
                    queue.truncate(usize::from(written > 0));
                    queue.push(vec![255; 4]);
                    while write(&secured, &mut queue, &mut written) || !secured.flush().unwrap() {
                        client.read(1 << 20);
                    }
                    while client.read(1 << 20) > 0 {}
                    let mut expected = pieces[..begun].concat();
                    expected.extend_from_slice(&[255; 4]);
                    assert!(client.heard == expected, "{first} and {second} bytes");
                }
            }
        });
    }

    #[test]
    fn our_side_ends_behind_what_waits() {
        run(async {
            let (secured, mut client) = pair();
            secured.send(&[7; 50_000]).unwrap();
            secured.shut_down(Shutdown::Write);
            assert!(!secured.flush().unwrap());
            while !client.ended {
                client.read(1000);
                secured.flush().unwrap();
            }
            assert_eq!(client.heard, [7; 50_000]);
            assert!(client.told_of_end);
            assert!(secured.write(&[IoSlice::new(b"late")]).is_err());
        });
    }

    #[test]
    fn a_buffer_may_be_shorter_than_what_comes_in_a_record() {
        run(async {
            let (secured, mut client) = pair();
            client.tls.writer().write_all(&[7; 10_000]).unwrap();
            client.read(0);
            let (mut buffer, mut received) = ([0; 300], 0);
            while received < 10_000 {
                let mut ready = secured.readable().await.unwrap();
                match secured.read(&mut buffer) {
                    Ok(count) => received += count,
                    Err(_) => _ = ready.clear(),
                }
            }
            assert_eq!(received, 10_000);
            secured.unread(b"once more");
            assert_eq!(secured.read(&mut buffer).unwrap(), 9);
            assert_eq!(secured.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        });
    }
}
