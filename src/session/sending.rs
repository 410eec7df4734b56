//! The sending half of a session: every way into its queue, and the rule that all of them obey.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::account::Account;
use super::liveness::Liveness;
use super::outbox::{Outbox, SLICES};
use super::resources::{Overflow, Resources};
use super::terms::{Alone, Compression};
use crate::protocol::{
    CloseFrame, Deflater, EncodedFrame, Frames, MAX_CONTROL_PAYLOAD, Opcode, encode_frame,
};

#[derive(Debug)]
pub(super) struct Sender {
    pub account: Arc<Account>,
    outbox: Outbox,
    /// The transport takes no more for now.
    blocked: bool,
    /// What is given to the transport still waits in a stream of JavaScript's, which counts it.
    pumped: bool,
    /// How messages are compressed, where that was agreed on.
    compression: Option<Compression>,
    /// The compressor, made by the first message that needs it, where messages share a context.
    deflater: Option<Box<Deflater>>,
    /// It has been used since [`Self::beat`].
    deflater_used: bool,
}

/// Frames for many connections. Compressed once for all that share no context with earlier
/// messages, by window size, level and threshold.
#[derive(Debug)]
pub struct Outgoing {
    frames: Frames,
    compressed: Vec<(Alone, Frames)>,
    /// Connections that have got all of the frames.
    whole: u64,
    /// How many others, who had no room for all, have got each of the frames. Empty where there are none.
    partial: Vec<u64>,
}

impl From<Frames> for Outgoing {
    fn from(frames: Frames) -> Self {
        Self { frames, compressed: Vec::new(), whole: 0, partial: Vec::new() }
    }
}

impl Outgoing {
    /// The frames as they go to connections that share no context and are compressed in the same way.
    fn compressed_alone(&mut self, how: &Compression, resources: &mut Resources) -> &Frames {
        let alone = how.alone();
        let known = self.compressed.iter().position(|(of, _)| *of == alone);
        let at = known.unwrap_or_else(|| {
            let compressed = resources.compress_alone(how, self.frames.iter());
            self.compressed.push((alone, compressed));
            self.compressed.len() - 1
        });
        &self.compressed[at].1
    }

    /// Tells, once everybody has been served, what was delivered: payload lengths in bytes, before they
    /// were compressed, and how many messages of each.
    pub fn delivered(&self, mut tell: impl FnMut(usize, u64)) {
        let partial = self.partial.iter().copied().chain(std::iter::repeat(0));
        for (frame, partial) in self.frames.iter().zip(partial) {
            tell(frame.payload().len(), self.whole + partial);
        }
    }
}

/// What became of frames for one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Messages that were queued.
    pub messages: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Messages that the queue had no room for.
    pub dropped: u64,
}

impl Sender {
    pub fn new(account: Arc<Account>, pumped: bool, compression: Option<Compression>) -> Self {
        let outbox = Outbox::default();
        Self {
            account,
            outbox,
            blocked: false,
            pumped,
            compression,
            deflater: None,
            deflater_used: false,
        }
    }

    /// Queues the 101 response, which comes before all frames and is never dropped. Nobody has sent
    /// it, so it is not in the account: the queue is empty for the first message.
    pub fn queue_response(&mut self, response: &[u8], resources: &mut Resources) {
        self.outbox.push_response(response, &mut resources.pool);
    }

    /// The queue, for something to be put into it. The JavaScript thread writes nothing by itself from
    /// then on, so that nothing overtakes what waits.
    fn claimed_outbox(&mut self) -> &mut Outbox {
        self.account.writer().claim();
        &mut self.outbox
    }

    /// Queues the rest of a frame that the JavaScript thread has counted, and begun to write. It comes
    /// before everything else.
    pub fn queue_rest(&mut self, frame: EncodedFrame<'_>, written: usize) {
        self.outbox.push_rest(frame.bytes(), written);
        self.account.writer().take_over();
    }

    /// The JavaScript thread may write by itself, unless something is queued.
    pub fn release_writer(&self) {
        // A compressor sees every message, and a stream is written to by JavaScript anyway.
        let alone = self.outbox.is_empty() && !self.blocked;
        if alone && self.compression.is_none() && !self.pumped {
            self.account.writer().release();
        }
    }

    /// Bytes that wait here.
    pub fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Memory of what waits here, in bytes, also where others share it.
    pub fn weight(&self) -> usize {
        self.outbox.weight()
    }

    /// The same without what is shared.
    pub fn kept(&self) -> usize {
        self.outbox.kept()
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Queues a frame that JavaScript has counted, after having asked [`Account::admits`]; `shared`
    /// is the same frame where it has its own memory. Only if it `may_compress`, it is compressed where
    /// that was agreed on (RFC 7692 §6: each message may be compressed or not). Returns its length as it
    /// leaves.
    pub fn send(
        &mut self,
        frame: EncodedFrame<'_>,
        shared: Option<&Bytes>,
        may_compress: bool,
        resources: &mut Resources,
    ) -> usize {
        let compresses = |how: &Compression| may_compress && how.is_worth_it(frame);
        if let Some(how) = self.compression.filter(compresses) {
            let compressed = self.compress(&how, std::iter::once(frame), resources);
            self.account.remove(frame.len());
            self.queue_shared(compressed.bytes(), resources);
            return compressed.len();
        }
        match shared {
            Some(shared) => self.claimed_outbox().push_shared(shared, &mut resources.pool),
            None => self.claimed_outbox().push(frame.bytes(), &mut resources.pool),
        }
        frame.len()
    }

    /// A frame that JavaScript has counted is not going to be sent.
    pub fn refuse(&mut self, len: usize) {
        self.account.remove(len);
    }

    /// Queues frames for many, as far as they fit.
    pub fn broadcast(&mut self, outgoing: &mut Outgoing, resources: &mut Resources) -> Delivered {
        let max = resources.limits.max_backpressure;
        let count = outgoing.frames.count();
        let fits = if count == 1 {
            self.account.admits(outgoing.frames.len(), max)
        } else {
            // Together they must fit even into an empty queue: the rule is for each of them.
            self.account.buffered().saturating_add(outgoing.frames.len()) <= max
        };
        if !fits {
            let Outgoing { frames, partial, .. } = outgoing;
            partial.resize(count, 0);
            return self.broadcast_what_fits(frames, partial, max, resources);
        }
        outgoing.whole += 1;
        let own;
        let frames = match self.compression.filter(|how| how.any_worth_it(&outgoing.frames)) {
            None => &outgoing.frames,
            Some(how) if how.params.server_no_context_takeover => {
                outgoing.compressed_alone(&how, resources)
            }
            Some(how) => {
                own = self.compress(&how, outgoing.frames.iter(), resources);
                &own
            }
        };
        self.queue_shared(frames.bytes(), resources);
        Delivered { messages: count as u64, bytes: frames.len() as u64, dropped: 0 }
    }

    /// One frame after the other. Where the first that does not fit ends the connection, those
    /// behind it are lost as well; otherwise a shorter one may fit.
    fn broadcast_what_fits(
        &mut self,
        frames: &Frames,
        fitting: &mut [u64],
        max: usize,
        resources: &mut Resources,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        for (frame, fitting) in frames.iter().zip(fitting) {
            let ends = delivered.dropped > 0 && resources.limits.overflow == Overflow::Close;
            if ends || !self.account.admits(frame.len(), max) {
                delivered.dropped += 1;
                continue;
            }
            // As if JavaScript had sent it.
            self.account.add(frame.len());
            *fitting += 1;
            delivered.messages += 1;
            delivered.bytes += self.send(frame, None, true, resources) as u64;
        }
        delivered
    }

    fn compress<'a>(
        &mut self,
        how: &Compression,
        frames: impl Iterator<Item = EncodedFrame<'a>>,
        resources: &mut Resources,
    ) -> Frames {
        if how.params.server_no_context_takeover {
            return resources.compress_alone(how, frames);
        }
        self.deflater_used = true;
        let deflater = self.deflater.get_or_insert_with(|| how.new_deflater());
        resources.compress(how, deflater, frames)
    }

    fn queue_shared(&mut self, bytes: &Bytes, resources: &mut Resources) {
        self.account.add(bytes.len());
        self.claimed_outbox().push_shared(bytes, &mut resources.pool);
    }

    /// Queues a control frame: there are few of them, so they always fit.
    pub fn queue_control(&mut self, opcode: Opcode, payload: &[u8], resources: &mut Resources) {
        let mut frame = Vec::with_capacity(2 + MAX_CONTROL_PAYLOAD);
        encode_frame(&mut frame, opcode, payload);
        self.account.add(frame.len());
        self.claimed_outbox().push(&frame, &mut resources.pool);
    }

    /// Queues a close frame.
    pub fn queue_close(&mut self, frame: &CloseFrame, resources: &mut Resources) {
        self.queue_control(Opcode::Close, &frame.payload(), resources);
    }

    /// Queues the pong that is owed, unless the peer does not read. Returns `true` if it did.
    pub fn answer_ping(&mut self, liveness: &mut Liveness, resources: &mut Resources) -> bool {
        if self.blocked {
            return false;
        }
        let Some(ping) = liveness.take_ping() else { return false };
        self.queue_control(Opcode::Pong, &ping, resources);
        true
    }

    /// Time passes: a compressor that nothing has used in the meantime is freed. A peer has to keep what
    /// it was sent, in case it is referred to; whoever sends need not.
    pub fn beat(&mut self) {
        if !std::mem::take(&mut self.deflater_used) {
            self.deflater = None;
        }
    }

    /// The bytes to write next.
    pub fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES]> {
        self.outbox.slices()
    }

    /// The transport has taken so many of them.
    pub fn wrote(&mut self, count: usize, resources: &mut Resources) {
        let counted = count - self.outbox.response_len().min(count);
        self.outbox.consume(count, &mut resources.pool);
        if !self.pumped {
            self.account.remove(counted);
        }
    }

    /// The transport takes no more for now.
    pub fn block(&mut self) {
        self.blocked = true;
        self.account.set_blocked(true);
        self.outbox.settle();
    }

    /// The transport has taken everything.
    pub fn unblock(&mut self) {
        self.blocked = false;
        self.account.set_blocked(false);
    }

    /// Drops what has not begun to leave, except the response. Returns how many bytes that were.
    pub fn drop_unsent(&mut self) -> usize {
        let dropped = self.outbox.drop_unsent();
        self.account.remove(dropped);
        dropped
    }

    /// Drops everything: nothing is going to be written any more.
    pub fn clear(&mut self) {
        let outbox = std::mem::take(&mut self.outbox);
        self.account.remove(outbox.len() - outbox.response_len());
    }
}
