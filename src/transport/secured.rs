//! A connection whose descriptor is taken over from Node, and which speaks TLS.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;

use super::adopted::{Adopted, ReadyGuard};
use crate::tls::config::TlsConfig;
use crate::tls::session::{Facts, MAX_PARTIAL, RECORD_BYTES, TlsSession, encrypted_len};

/// Bytes of records read at a time.
const READ_BYTES: usize = 256 << 10;

/// Bytes of plaintext that are encrypted before they are written. What the socket does not take of
/// them is kept as records.
const WRITE_BYTES: usize = 64 << 10;

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
    /// The last read has left nothing in the socket.
    emptied: bool,
    /// The client has ended its side, with a word of TLS or without.
    ended: bool,
    /// The last byte of what was written has been encrypted, and is said to be written once
    /// `outgoing` has left: so who writes has something to wait for until then.
    owes_a_byte: bool,
    /// Nothing is written any more.
    shut: bool,
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
    /// There is nothing more to read, or no more room, for now.
    pub fn clear(&mut self) {
        let is_over = self.read_from.is_none_or(|secured| secured.state.borrow().emptied);
        if let Some(guard) = &mut self.guard
            && is_over
        {
            guard.clear_ready();
        }
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
            emptied: false,
            ended: false,
            owes_a_byte: false,
            shut: false,
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

    /// How many bytes were kept when this was asked last, and how many are now.
    pub fn recount(&self) -> (usize, usize) {
        let state = &mut *self.state.borrow_mut();
        let State { partial, plain, outgoing, .. } = state;
        let now = partial.capacity() + plain.capacity() + outgoing.capacity();
        (std::mem::replace(&mut state.counted, now), now)
    }

    /// Waits until there is something to be read, be it the end of the stream.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn readable(&self) -> io::Result<SecuredReady<'_>> {
        let guard = if self.has_input() { None } else { Some(self.socket.readable().await?) };
        Ok(SecuredReady { guard, read_from: Some(self) })
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

    /// Ends one direction or both; what nobody has read is dropped where that is one of them.
    pub fn shut_down(&self, how: Shutdown) {
        let state = &mut *self.state.borrow_mut();
        if how != Shutdown::Read && !state.shut {
            state.shut = true;
            if !state.failed {
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
        self.socket.shut_down(how);
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
        let received = session.receive(records, &mut take, outgoing);
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
            if self.outgoing.len() > encrypted_len(WRITE_BYTES) {
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
        if sent == self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..sent);
        }
        result
    }
}

/// Writes what the socket takes, which may be nothing.
fn write_once(socket: &Adopted, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(&[IoSlice::new(bytes)]) {
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
/// of short ones together.
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
        let whole = *next;
        let (part, rest) = whole.split_at(whole.len().min(WRITE_BYTES - gathered.len()));
        *next = rest;
        if gathered.is_empty() && (part.len() == WRITE_BYTES || slices.len() == 0) {
            return part;
        }
        // The last byte is told of late. Were it the only one of its slice, who writes would think that
        // nothing of that slice is on its way, and could drop it.
        if part.len() == 1 && !rest.is_empty() {
            *next = whole;
            return gathered;
        }
        gathered.extend_from_slice(part);
        if gathered.len() == WRITE_BYTES {
            return gathered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(slices: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut slices = slices.iter().copied();
        let (mut gathered, mut next, mut all) = (Vec::new(), &[] as &[u8], Vec::new());
        loop {
            let chunk = gather(&mut gathered, &mut next, &mut slices);
            if chunk.is_empty() {
                return all;
            }
            all.push(chunk.to_vec());
        }
    }

    #[test]
    fn short_slices_are_encrypted_together_and_long_ones_in_chunks() {
        assert_eq!(chunks(&[b"ab", b"cd", b"", b"ef"]), [b"abcdef"]);
        let long = vec![7; 2 * WRITE_BYTES + 3];
        let lengths: Vec<usize> = chunks(&[b"ab", &long, b"cd"]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [WRITE_BYTES, WRITE_BYTES, 7]);
        assert_eq!(chunks(&[b"ab", &long, b"cd"]).concat(), [b"ab", &long[..], b"cd"].concat());
    }

    #[test]
    fn the_first_byte_of_a_slice_is_never_the_last_of_a_chunk() {
        let almost = vec![1; WRITE_BYTES - 1];
        let lengths: Vec<usize> = chunks(&[&almost, b"abc"]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [WRITE_BYTES - 1, 3]);
    }
}
