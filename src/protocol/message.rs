//! Puts messages together from the bytes of a connection (RFC 6455 §5.4 and §8.1).

use super::close::CloseFrame;
use super::codes::Violation;
use super::deflate::{DeflateParams, Inflater};
use super::frame::{FrameHeader, MAX_CLIENT_HEADER, MAX_CONTROL_PAYLOAD, Opcode};
use super::mask;

/// Takes what an [`Assembler`] finds, in the order of the wire.
pub trait Sink {
    /// A whole message that lies in the input: copy what is to be kept. Text is valid UTF-8.
    fn message(&mut self, is_text: bool, payload: &[u8]);
    /// A whole message that had to be put together from several inputs or fragments.
    fn assembled(&mut self, is_text: bool, payload: Vec<u8>);
    /// A data frame with `len` bytes of payload has begun that is not the last of its message.
    fn fragment(&mut self, len: u64) {
        let _ = len;
    }
    /// A ping, to be answered with a pong of the same payload.
    fn ping(&mut self, payload: &[u8]);
    /// A pong.
    fn pong(&mut self, payload: &[u8]);
    /// A close frame. Nothing follows it.
    fn close(&mut self, frame: CloseFrame);
    /// Whether it takes no more for now. Asked between two frames, as a message cannot be stopped at:
    /// a kilobyte of input may be a megabyte of one.
    fn is_full(&self) -> bool {
        false
    }
}

/// The receiving half of a connection. It owns memory only while a frame or message is unfinished.
#[derive(Debug)]
pub struct Assembler {
    max_message_size: u32,
    /// With permessage-deflate.
    inflater: Option<Box<Inflater>>,
    /// `None` between whole frames of unfragmented messages, which is nearly always.
    unfinished: Option<Box<Unfinished>>,
    /// Set by a close frame: bytes behind it are ignored (RFC 6455 §1.4).
    closed: bool,
}

#[derive(Debug, Default)]
struct Unfinished {
    /// Start of a header whose rest has not arrived.
    header: [u8; MAX_CLIENT_HEADER],
    header_len: usize,
    frame: Option<Frame>,
    message: Option<Message>,
    /// Payload of a control frame under way.
    control: Vec<u8>,
}

/// A frame whose header is there and whose payload is not complete.
#[derive(Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    remaining: u64,
    /// Rotated to fit the next payload byte.
    mask: [u8; 4],
}

/// A data message whose end has not arrived.
#[derive(Debug)]
struct Message {
    is_text: bool,
    compressed: bool,
    /// The payload so far, unmasked and inflated.
    data: Vec<u8>,
    /// Text: bytes at the start of `data` known to be whole, valid UTF-8 characters.
    valid: usize,
}

impl Message {
    fn new(is_text: bool, compressed: bool) -> Self {
        Self { is_text, compressed, data: Vec::new(), valid: 0 }
    }

    /// Refuses text as soon as a byte cannot be UTF-8; a character may still be unfinished.
    fn validate(&mut self) -> Result<(), Violation> {
        if !self.is_text {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(&self.data[self.valid..]) {
            Ok(_) => self.valid = self.data.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(INVALID_TEXT),
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        !self.is_text || self.valid == self.data.len()
    }
}

const INVALID_TEXT: Violation = Violation::utf8("text message is not valid UTF-8");

impl Assembler {
    /// An assembler that refuses messages longer than `max_message_size` bytes, counted over all
    /// their fragments and before they are buffered.
    pub fn new(max_message_size: u32) -> Self {
        Self { max_message_size, inflater: None, unfinished: None, closed: false }
    }

    /// As [`Self::new`], for a connection with permessage-deflate. The limit counts inflated bytes.
    pub fn with_deflate(max_message_size: u32, params: DeflateParams) -> Self {
        let inflater = Some(Box::new(Inflater::new(params)));
        Self { inflater, ..Self::new(max_message_size) }
    }

    /// Whether a frame or message is under way.
    pub fn is_idle(&self) -> bool {
        self.unfinished.is_none()
    }

    /// Bytes of memory that an unfinished message has come to, or may still come to without growing.
    pub fn kept(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |unfinished| {
            let message = unfinished.message.as_ref().map_or(0, |message| message.data.capacity());
            size_of::<Unfinished>() + message + unfinished.control.capacity()
        })
    }

    /// Forgets what is unfinished. Whatever comes from now on is ignored.
    pub fn abandon(&mut self) {
        self.unfinished = None;
        self.inflater = None;
        self.closed = true;
    }

    /// Takes the next bytes of the connection, which are unmasked in place, until the sink is full.
    /// Returns how many it took; the others are as they were, and are to come again.
    ///
    /// # Errors
    /// The first breach of the protocol or of the size limit. What stood before it has reached the
    /// sink; the connection must be failed and not fed again.
    pub fn feed(&mut self, input: &mut [u8], sink: &mut impl Sink) -> Result<usize, Violation> {
        let len = input.len();
        let mut rest = input;
        while !rest.is_empty() && !sink.is_full() {
            // Bytes behind a close frame are taken, and ignored.
            if self.closed {
                return Ok(len);
            }
            rest = match self.unfinished.take() {
                None => self.read_frame(rest, sink)?,
                Some(unfinished) => self.resume(unfinished, rest, sink)?,
            };
        }
        Ok(len - rest.len())
    }

    /// Nothing is under way: a whole frame is taken straight from the input.
    fn read_frame<'a>(
        &mut self,
        input: &'a mut [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a mut [u8], Violation> {
        let Some((header, header_len)) = FrameHeader::parse(input, self.inflater.is_some())? else {
            let mut unfinished = Box::<Unfinished>::default();
            unfinished.header[..input.len()].copy_from_slice(input);
            unfinished.header_len = input.len();
            self.unfinished = Some(unfinished);
            return Ok(&mut []);
        };
        let rest = &mut input[header_len..];
        let whole = header.len <= rest.len() as u64;
        if whole && header.fin && header.opcode != Opcode::Continuation && !header.compressed {
            let (payload, rest) = rest.split_at_mut(header.len as usize);
            mask::apply(payload, header.mask);
            if header.opcode.is_control() {
                self.control(header.opcode, payload, sink)?;
            } else {
                self.check_size(header.len)?;
                let is_text = header.opcode == Opcode::Text;
                if is_text && simdutf8::basic::from_utf8(payload).is_err() {
                    return Err(INVALID_TEXT);
                }
                sink.message(is_text, payload);
            }
            return Ok(rest);
        }
        let mut unfinished = Box::<Unfinished>::default();
        self.begin(&mut unfinished, header, sink)?;
        // At once, as an empty payload has no bytes that would bring us back here.
        let rest = self.read_payload(&mut unfinished, rest, sink)?;
        self.keep_if_unfinished(unfinished);
        Ok(rest)
    }

    fn keep_if_unfinished(&mut self, unfinished: Box<Unfinished>) {
        let idle = unfinished.frame.is_none()
            && unfinished.message.is_none()
            && unfinished.header_len == 0;
        if !idle {
            self.unfinished = Some(unfinished);
        }
    }

    /// Goes on with a header, frame or message that earlier bytes began.
    fn resume<'a>(
        &mut self,
        mut unfinished: Box<Unfinished>,
        input: &'a mut [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a mut [u8], Violation> {
        let rest = match unfinished.frame {
            None => self.read_header(&mut unfinished, input, sink)?,
            Some(_) => input,
        };
        let rest = match unfinished.frame {
            None => rest,
            Some(_) => self.read_payload(&mut unfinished, rest, sink)?,
        };
        self.keep_if_unfinished(unfinished);
        Ok(rest)
    }

    fn read_header<'a>(
        &mut self,
        unfinished: &mut Unfinished,
        input: &'a mut [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a mut [u8], Violation> {
        let had = unfinished.header_len;
        let take = input.len().min(MAX_CLIENT_HEADER - had);
        unfinished.header[had..had + take].copy_from_slice(&input[..take]);
        match FrameHeader::parse(&unfinished.header[..had + take], self.inflater.is_some())? {
            None => {
                unfinished.header_len = had + take;
                Ok(&mut input[take..])
            }
            Some((header, header_len)) => {
                unfinished.header_len = 0;
                self.begin(unfinished, header, sink)?;
                Ok(&mut input[header_len - had..])
            }
        }
    }

    /// A header is complete: checks that the frame may stand here and is not too long.
    fn begin(
        &self,
        unfinished: &mut Unfinished,
        header: FrameHeader,
        sink: &mut impl Sink,
    ) -> Result<(), Violation> {
        match (header.opcode, &unfinished.message) {
            (Opcode::Continuation, None) => {
                return Err(Violation::protocol("continuation without a message to continue"));
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::protocol("new message inside a fragmented one"));
            }
            // Compressed bytes do not count: inflating stops at the limit.
            (Opcode::Continuation, Some(message)) if !message.compressed => {
                self.check_size((message.data.len() as u64).saturating_add(header.len))?;
            }
            (Opcode::Text | Opcode::Binary, None) => {
                if !header.compressed {
                    self.check_size(header.len)?;
                }
                let is_text = header.opcode == Opcode::Text;
                unfinished.message = Some(Message::new(is_text, header.compressed));
            }
            _ => {}
        }
        if !header.fin {
            sink.fragment(header.len);
        }
        unfinished.frame = Some(Frame {
            fin: header.fin,
            opcode: header.opcode,
            remaining: header.len,
            mask: header.mask,
        });
        Ok(())
    }

    fn read_payload<'a>(
        &mut self,
        unfinished: &mut Unfinished,
        input: &'a mut [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a mut [u8], Violation> {
        let Some(frame) = &mut unfinished.frame else { return Ok(input) };
        let take = frame.remaining.min(input.len() as u64) as usize;
        let (payload, rest) = input.split_at_mut(take);
        frame.mask = mask::apply(payload, frame.mask);
        frame.remaining -= take as u64;
        let (done, fin, opcode) = (frame.remaining == 0, frame.fin, frame.opcode);

        if opcode.is_control() {
            debug_assert!(unfinished.control.len() + take <= MAX_CONTROL_PAYLOAD);
            unfinished.control.extend_from_slice(payload);
            if done {
                unfinished.frame = None;
                let control = std::mem::take(&mut unfinished.control);
                self.control(opcode, &control, sink)?;
            }
            return Ok(rest);
        }

        let message = unfinished.message.as_mut().expect("a data frame belongs to a message");
        match &mut self.inflater {
            Some(inflater) if message.compressed => {
                inflater.inflate(payload, &mut message.data, self.max_message_size.into())?;
                if done && fin {
                    inflater.finish(&mut message.data, self.max_message_size.into())?;
                }
            }
            _ => message.data.extend_from_slice(payload),
        }
        message.validate()?;
        if done {
            unfinished.frame = None;
            if fin {
                if !message.is_whole() {
                    return Err(INVALID_TEXT);
                }
                let message = unfinished.message.take().expect("taken once");
                sink.assembled(message.is_text, message.data);
            }
        }
        Ok(rest)
    }

    fn control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), Violation> {
        match opcode {
            Opcode::Ping => sink.ping(payload),
            Opcode::Pong => sink.pong(payload),
            Opcode::Close => {
                self.closed = true;
                sink.close(CloseFrame::parse(payload)?);
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => unreachable!("a data frame"),
        }
        Ok(())
    }

    fn check_size(&self, len: u64) -> Result<(), Violation> {
        if len > u64::from(self.max_message_size) { Err(Violation::too_big()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite;
    use tungstenite::protocol::frame::FrameHeader as OracleHeader;
    use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

    use super::*;
    use crate::protocol::close;

    #[derive(Debug, PartialEq, Clone)]
    enum Seen {
        Text(String),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Close(u16, String),
    }

    #[derive(Default)]
    struct Log(Vec<Seen>);

    impl Sink for Log {
        fn message(&mut self, is_text: bool, payload: &[u8]) {
            self.assembled(is_text, payload.to_vec());
        }
        fn assembled(&mut self, is_text: bool, payload: Vec<u8>) {
            self.0.push(if is_text {
                Seen::Text(String::from_utf8(payload).expect("text is UTF-8"))
            } else {
                Seen::Binary(payload)
            });
        }
        fn ping(&mut self, payload: &[u8]) {
            self.0.push(Seen::Ping(payload.to_vec()));
        }
        fn pong(&mut self, payload: &[u8]) {
            self.0.push(Seen::Pong(payload.to_vec()));
        }
        fn close(&mut self, frame: CloseFrame) {
            self.0.push(Seen::Close(frame.code, frame.reason.into()));
        }
    }

    /// A client frame as tungstenite writes it.
    fn frame(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let key = [0x12, 0x34, 0x56, 0x78];
        let header =
            OracleHeader { is_final: fin, opcode, mask: Some(key), ..OracleHeader::default() };
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).unwrap();
        bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]));
        bytes
    }

    fn text(payload: &str) -> Vec<u8> {
        frame(true, OpCode::Data(Data::Text), payload.as_bytes())
    }

    fn feed_in_pieces(bytes: &[u8], piece: usize) -> (Vec<Seen>, Result<(), Violation>) {
        let mut assembler = Assembler::new(1 << 20);
        let mut log = Log::default();
        for chunk in bytes.chunks(piece.max(1)) {
            if let Err(violation) = assembler.feed(&mut chunk.to_vec(), &mut log) {
                return (log.0, Err(violation));
            }
        }
        (log.0, Ok(()))
    }

    fn refused(bytes: &[u8]) -> u16 {
        let whole = feed_in_pieces(bytes, bytes.len());
        let bytewise = feed_in_pieces(bytes, 1);
        assert_eq!(whole, bytewise);
        whole.1.unwrap_err().code
    }

    #[test]
    fn whole_messages_leave_nothing_behind() {
        let mut assembler = Assembler::new(100);
        let mut log = Log::default();
        let mut bytes = text("hello");
        bytes.extend(frame(true, OpCode::Data(Data::Binary), b"\x00\xff"));
        assembler.feed(&mut bytes, &mut log).unwrap();
        assert_eq!(log.0, [Seen::Text("hello".into()), Seen::Binary(vec![0, 255])]);
        assert!(assembler.is_idle());
    }

    #[test]
    fn control_frames_come_between_fragments() {
        let mut bytes = frame(false, OpCode::Data(Data::Text), b"one ");
        bytes.extend(frame(true, OpCode::Control(Control::Ping), b"p"));
        bytes.extend(frame(false, OpCode::Data(Data::Continue), b""));
        bytes.extend(frame(true, OpCode::Control(Control::Pong), b""));
        bytes.extend(frame(true, OpCode::Data(Data::Continue), b"two"));
        let expected =
            vec![Seen::Ping(b"p".to_vec()), Seen::Pong(vec![]), Seen::Text("one two".into())];
        for piece in 1..bytes.len() + 1 {
            assert_eq!(feed_in_pieces(&bytes, piece), (expected.clone(), Ok(())));
        }
    }

    #[test]
    fn bytes_behind_a_close_frame_are_ignored() {
        let mut bytes = frame(true, OpCode::Control(Control::Close), b"\x03\xe8bye");
        bytes.extend(text("late"));
        assert_eq!(feed_in_pieces(&bytes, 3).0, [Seen::Close(1000, "bye".into())]);
    }

    #[test]
    fn fragments_out_of_order_are_refused() {
        assert_eq!(refused(&frame(true, OpCode::Data(Data::Continue), b"x")), 1002);
        let mut bytes = frame(false, OpCode::Data(Data::Text), b"a");
        bytes.extend(text("b"));
        assert_eq!(refused(&bytes), 1002);
    }

    #[test]
    fn a_character_may_be_split_over_fragments_but_must_be_whole_at_the_end() {
        let mut bytes = frame(false, OpCode::Data(Data::Text), b"\xe2\x82");
        bytes.extend(frame(true, OpCode::Data(Data::Continue), b"\xac"));
        assert_eq!(feed_in_pieces(&bytes, 99).0, [Seen::Text("€".into())]);
        let mut bytes = frame(false, OpCode::Data(Data::Text), b"\xe2\x82");
        bytes.extend(frame(true, OpCode::Data(Data::Continue), b""));
        assert_eq!(refused(&bytes), close::INVALID_PAYLOAD);
        assert_eq!(refused(&frame(true, OpCode::Data(Data::Text), b"\xe2\x82")), 1007);
    }

    #[test]
    fn invalid_utf8_is_refused_at_the_offending_byte_of_an_unfinished_frame() {
        // The case of Autobahn 6.4.3: valid text, then bytes beyond U+10FFFF, then more to come.
        let bytes = frame(true, OpCode::Data(Data::Text), b"\xce\xba\xf4\x90\x80\x80edited");
        let mut assembler = Assembler::new(100);
        let mut log = Log::default();
        assert!(assembler.feed(&mut bytes[..9].to_vec(), &mut log).is_ok());
        let refused = assembler.feed(&mut bytes[9..10].to_vec(), &mut log);
        assert_eq!(refused.unwrap_err().code, 1007);
    }

    #[test]
    fn the_size_limit_counts_all_fragments_and_is_checked_before_the_payload() {
        let mut assembler = Assembler::new(10);
        let mut log = Log::default();
        assembler.feed(&mut text("0123456789"), &mut log).unwrap();
        let too_long = text("0123456789a");
        let header = assembler.feed(&mut too_long[..6].to_vec(), &mut log);
        assert_eq!(header.unwrap_err(), Violation::too_big());

        let mut assembler = Assembler::new(10);
        let mut bytes = frame(false, OpCode::Data(Data::Binary), b"012345");
        bytes.extend(&frame(true, OpCode::Data(Data::Continue), b"67890")[..6]);
        assert_eq!(assembler.feed(&mut bytes, &mut log).unwrap_err().code, 1009);
    }

    #[test]
    fn a_declared_length_reserves_no_memory() {
        let mut assembler = Assembler::new(u32::MAX);
        let mut header = b"\x82\xff\x00\x00\x00\x00\xff\x00\x00\x00abcdx".to_vec();
        assembler.feed(&mut header, &mut Log::default()).unwrap();
        let held = &assembler.unfinished.unwrap().message.unwrap().data;
        assert!(held.capacity() < 1024);
    }

    #[test]
    fn a_compressed_message_is_inflated_over_its_fragments() {
        let params = DeflateParams {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        // "Hello" of RFC 7692 §7.2.3.1, then again in two fragments with a ping in between.
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut bytes = frame(true, OpCode::Data(Data::Text), &hello);
        bytes[0] |= 0x40;
        let second = bytes.len();
        bytes.extend(frame(false, OpCode::Data(Data::Text), &hello[..3]));
        bytes[second] |= 0x40;
        bytes.extend(frame(true, OpCode::Control(Control::Ping), b""));
        bytes.extend(frame(true, OpCode::Data(Data::Continue), &hello[3..]));
        bytes.extend(text("plain"));
        for piece in 1..bytes.len() + 1 {
            let mut assembler = Assembler::with_deflate(5, params);
            let mut log = Log::default();
            for chunk in bytes.chunks(piece) {
                assembler.feed(&mut chunk.to_vec(), &mut log).unwrap();
            }
            let hello = Seen::Text("Hello".into());
            let expected = [hello.clone(), Seen::Ping(vec![]), hello, Seen::Text("plain".into())];
            assert_eq!(log.0, expected);
        }
        let mut assembler = Assembler::with_deflate(4, params);
        assert_eq!(assembler.feed(&mut bytes, &mut Log::default()).unwrap_err().code, 1009);
    }

    prop_compose! {
        fn any_message()(
            is_text in any::<bool>(),
            text in ".{0,300}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            ping in prop::option::of(prop::collection::vec(any::<u8>(), 0..126)),
        ) -> (Vec<Seen>, Vec<u8>) {
            let payload = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(payload.len());
            let mut bytes = Vec::new();
            let mut seen = Vec::new();
            let mut start = 0;
            for (index, &end) in cuts.iter().enumerate() {
                let data = match (index, is_text) {
                    (0, true) => Data::Text,
                    (0, false) => Data::Binary,
                    _ => Data::Continue,
                };
                let fin = index + 1 == cuts.len();
                if let (true, Some(ping)) = (fin, &ping) {
                    bytes.extend(frame(true, OpCode::Control(Control::Ping), ping));
                    seen.push(Seen::Ping(ping.clone()));
                }
                bytes.extend(frame(fin, OpCode::Data(data), &payload[start..end]));
                start = end;
            }
            seen.push(if is_text { Seen::Text(text) } else { Seen::Binary(text.into_bytes()) });
            (seen, bytes)
        }
    }

    proptest! {
        #[test]
        fn messages_survive_any_fragmentation_and_any_chunking(
            messages in prop::collection::vec(any_message(), 1..5),
            piece in 1usize..700,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            let expected: Vec<Seen> = messages.into_iter().flat_map(|(seen, _)| seen).collect();
            prop_assert_eq!(feed_in_pieces(&bytes, piece), (expected, Ok(())));
        }

        #[test]
        fn garbage_is_judged_alike_in_any_chunking(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            piece in 1usize..50,
        ) {
            prop_assert_eq!(feed_in_pieces(&bytes, bytes.len()), feed_in_pieces(&bytes, piece));
        }
    }
}
