//! The functions that run for every message.
//!
//! napi-rs class methods cost about 420 ns a call, raw Node-API functions about 50 ns (measured
//! once), which matters here and nowhere else. Every function carries
//! the engine as its Node-API data pointer, so nothing is looked up.
//!
//! Events go to JavaScript in calls of up to [`PAIRS`] pairs `(code, value)`; an array of events
//! or a call per event cost several times as much. `code` is `slot * 4 + kind`.

use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::ops::Range;
use std::ptr;
use std::rc::Rc;

use napi::bindgen_prelude::*;
use napi::{Env, check_status, sys};

use super::waker::Waker;
use crate::engine::{Engine, SendOptions, Sent};
use crate::exchange::ConnectionId;
use crate::exchange::inbox::{Batch, Event, What};
use crate::exchange::oplog::StreamNews;
use crate::protocol::{MAX_HEADER, Opcode, encode_header};
use crate::transport::bridge::Command;

/// Events per call of the dispatcher.
const PAIRS: usize = 32;

/// Events delivered before the event loop gets its turn.
const EVENTS_PER_TURN: usize = 1024;

/// UTF-16 units up to which a text is offered the most bytes that its UTF-8 can have. Measuring it
/// first, which V8 would do otherwise, took half as long again as writing it (16 KiB of ASCII); beyond
/// this, memory counts for more.
const UNMEASURED_TEXT: usize = 256 << 10;

/// Longest UTF-8 form of a UTF-16 unit.
const UTF8_PER_UNIT: usize = 3;

/// Binary messages from this many bytes on become a Buffer without being copied. Below, copying
/// costs less in all (echo of 128 KiB 91 µs of CPU instead of 120, of 900 kB 0.97 ms instead of
/// 1.33): memory is used again at once, and not after a garbage collection. Above, a copy would hold
/// the JavaScript thread for longer than a tenth of a millisecond.
const EXTERNAL_BUFFER: usize = 1 << 20;

/// The value is the message: a string, or a Buffer of its own.
const KIND_MESSAGE: u32 = 0;
/// The value is `start * 65536 + length` of a message in the Buffer that the call carries.
pub(super) const KIND_SHARED_BINARY: u32 = 1;
/// The connection has ended, where the value is a string: four digits of the close code, then the
/// reason. Otherwise a ping was answered after so many milliseconds, or it is one of those below.
pub(super) const KIND_NEWS: u32 = 2;
pub(super) const DRAINED: i32 = -1;
pub(super) const PACED: i32 = -2;
/// The code carries the key of a bridge instead of a slot. The value is a Buffer to be written, a
/// number of bytes that may be pumped in beyond what was allowed before, or one of those below.
pub(super) const KIND_BRIDGE: u32 = 3;
pub(super) const BRIDGE_END: i32 = -1;
pub(super) const BRIDGE_DESTROY: i32 = -2;
pub(super) const BRIDGE_PROBE: i32 = -3;
pub(super) const BRIDGE_ABORT: i32 = -4;
/// Instead of a command for a bridge: the TLS handshake of a pump is over.
pub(super) const SECURED: i32 = -5;
/// The connection that a pump serves was lost.
pub(super) const LOST: i32 = -6;
/// A pump has carried everything, and is over.
pub(super) const ENDED: i32 = -7;

/// An engine as the hot functions and the plugin share it.
pub(super) struct EngineHandle {
    /// Taken out when the environment ends. Never borrowed over a call into JavaScript.
    engine: RefCell<Option<Engine>>,
    pub waker: Waker,
}

impl EngineHandle {
    pub fn new(engine: Engine, waker: Waker) -> Rc<Self> {
        Rc::new(Self { engine: RefCell::new(Some(engine)), waker })
    }

    /// Runs `act` with the engine, unless it has been shut down.
    pub fn with<R>(&self, act: impl FnOnce(&Engine) -> R) -> Option<R> {
        self.engine.borrow().as_ref().map(act)
    }

    /// Ends the I/O thread and waits for it.
    pub fn shut_down(&self) {
        // Taken out first: joining must not happen under the borrow.
        let engine = self.engine.borrow_mut().take();
        drop(engine);
    }

    /// An object with the hot functions: `sendText(slot, generation, text, length)`,
    /// `sendLongText(slot, generation, text)`, `sendBinary(slot, generation, view)`,
    /// `sendAs(slot, generation, data, options)` with the sum of [`SEND_TEXT`] and so on, which all four
    /// return `undefined` for a message on its way, `true` for one that has to wait, and `false` for one
    /// that is dropped, `flush()`,
    /// which leaves a log with nothing but the coming and going of connections alone, `flushAll()`,
    /// `drain(dispatch)`, which returns whether more events wait, `markReady(slot, generation)`: the
    /// connection has passed all middleware, and broadcasts to everyone reach it from now on,
    /// `startDelivery(slot, generation)`: its handler is ready for messages, and for bridges
    /// `bridgeReceived(slot, key, view)`, `bridgeWritten(slot, generation, key, bytes, news)`: the
    /// stream has written so many bytes, and `news` is what counts against the window, or 0 where
    /// that comes later, `bridgeEnded(slot, key)`, `bridgeClosed(slot, key)` and `bridgeProbed(slot, generation)`.
    pub fn functions<'env>(self: &Rc<Self>, env: &'env Env) -> Result<Object<'env>> {
        let mut object = Object::new(env)?;
        for (name, callback) in FUNCTIONS {
            let function = self.function(env, name, *callback)?;
            object.set_c_named_property(name, function)?;
        }
        Ok(object)
    }

    fn function<'env>(
        self: &Rc<Self>,
        env: &'env Env,
        name: &CStr,
        callback: RawFunction,
    ) -> Result<Unknown<'env>> {
        let data = Rc::into_raw(self.clone()).cast_mut().cast::<c_void>();
        let mut value = ptr::null_mut();
        // SAFETY: `data` is a counted pointer that stays valid until `release_handle` takes it
        // back, which Node does after the function can no longer be called.
        unsafe {
            let created = sys::napi_create_function(
                env.raw(),
                name.as_ptr(),
                name.count_bytes() as isize,
                Some(callback),
                data,
                &mut value,
            );
            let finalized = if created == sys::Status::napi_ok {
                sys::napi_add_finalizer(
                    env.raw(),
                    value,
                    data,
                    Some(release_handle),
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            } else {
                created
            };
            if finalized != sys::Status::napi_ok {
                drop(Rc::from_raw(data.cast::<Self>()));
            }
            check_status!(finalized, "a function of the addon could not be created")?;
            Unknown::from_napi_value(env.raw(), value)
        }
    }
}

type RawFunction = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

const FUNCTIONS: &[(&CStr, RawFunction)] = &[
    (c"sendText", send_text),
    (c"sendLongText", send_long_text),
    (c"sendBinary", send_binary),
    (c"sendAs", send_as),
    (c"flush", flush),
    (c"flushAll", flush_all),
    (c"drain", drain),
    (c"markReady", mark_ready),
    (c"startDelivery", start_delivery),
    (c"bridgeReceived", bridge_received),
    (c"bridgeWritten", bridge_written),
    (c"bridgeEnded", bridge_ended),
    (c"bridgeClosed", bridge_closed),
    (c"bridgeProbed", bridge_probed),
];

unsafe extern "C" fn release_handle(_env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: the counted pointer that `EngineHandle::function` gave away; this is its one return.
    drop(unsafe { Rc::from_raw(data.cast::<EngineHandle>().cast_const()) });
}

/// Arguments of a hot function and the engine it belongs to.
struct Call<'a, const N: usize> {
    env: sys::napi_env,
    handle: &'a EngineHandle,
    args: [sys::napi_value; N],
}

impl<const N: usize> Call<'_, N> {
    /// # Safety
    /// To be called first in a Node-API callback, with that callback's arguments. The callback
    /// must be one of [`FUNCTIONS`], whose data pointer is a live [`EngineHandle`].
    unsafe fn read(env: sys::napi_env, info: sys::napi_callback_info) -> Option<Self> {
        let mut args = [ptr::null_mut(); N];
        let mut argc = N;
        let mut data = ptr::null_mut();
        // SAFETY: `args` has room for the `argc` values it announces. The data pointer lives as
        // long as the function that is being called.
        unsafe {
            let status = sys::napi_get_cb_info(
                env,
                info,
                &mut argc,
                args.as_mut_ptr(),
                ptr::null_mut(),
                &mut data,
            );
            (status == sys::Status::napi_ok && argc == N).then(|| Self {
                env,
                handle: &*data.cast::<EngineHandle>(),
                args,
            })
        }
    }

    fn u32(&self, index: usize) -> Option<u32> {
        let mut value = 0;
        // SAFETY: a value of the current callback, and memory for the result.
        let status = unsafe { sys::napi_get_value_uint32(self.env, self.args[index], &mut value) };
        (status == sys::Status::napi_ok).then_some(value)
    }

    /// The bytes of a view.
    ///
    /// # Safety
    /// They must not be used after the callback has returned, nor after a call into JavaScript.
    unsafe fn bytes(&self, index: usize) -> Option<&[u8]> {
        let (mut data, mut len) = (ptr::null_mut(), 0);
        // SAFETY: a value of the current callback, and memory for both results.
        let status =
            unsafe { sys::napi_get_buffer_info(self.env, self.args[index], &mut data, &mut len) };
        if status != sys::Status::napi_ok {
            return None;
        }
        if len == 0 {
            return Some(&[]);
        }
        // SAFETY: Node gives the view's memory, which JavaScript cannot change or free before it
        // runs again.
        Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
    }

    fn connection(&self) -> Option<ConnectionId> {
        Some(ConnectionId { slot: self.u32(0)?, generation: self.u32(1)? })
    }
}

/// The facade checks types before it calls, so the hot functions have nothing to report: a wrong
/// argument does nothing.
unsafe extern "C" fn send_text(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    if let Some(call) = unsafe { Call::<4>::read(env, info) }
        && let (Some(id), Some(units)) = (call.connection(), call.u32(3))
    {
        let sent = call.handle.with(|engine| {
            engine.send(id, SendOptions::default(), |bytes| {
                encode_text(env, call.args[2], units as usize, bytes)
            })
        });
        // SAFETY: in a callback.
        return unsafe { outcome(env, sent) };
    }
    ptr::null_mut()
}

/// What a send returns. Nothing where the message is on its way: that is the usual, and takes no call.
///
/// # Safety
/// `env` must belong to the current callback.
unsafe fn outcome(env: sys::napi_env, sent: Option<Sent>) -> sys::napi_value {
    let mut value = ptr::null_mut();
    if sent != Some(Sent::OnItsWay) {
        // SAFETY: as the caller promises, with memory for the result.
        unsafe { sys::napi_get_boolean(env, sent == Some(Sent::Queued), &mut value) };
    }
    value
}

/// What the options of `sendAs` are the sum of: the data is a string, ...
pub(super) const SEND_TEXT: u32 = 1;
/// ... it is dropped where it would have to wait, ...
pub(super) const SEND_VOLATILE: u32 = 2;
/// ... and it is not compressed.
pub(super) const SEND_UNCOMPRESSED: u32 = 4;

unsafe extern "C" fn send_as(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    if let Some(call) = unsafe { Call::<4>::read(env, info) }
        && let (Some(id), Some(flags)) = (call.connection(), call.u32(3))
    {
        let options = SendOptions {
            volatile: flags & SEND_VOLATILE != 0,
            uncompressed: flags & SEND_UNCOMPRESSED != 0,
        };
        let sent = if flags & SEND_TEXT != 0 {
            let (bytes, start) = text_frame(env, call.args[2]);
            call.handle
                .with(|engine| engine.send_owned(id, options, engine.own_frame(bytes, start)))
        } else {
            // SAFETY: the argument is used in this callback only.
            let payload = unsafe { call.bytes(2) };
            call.handle.with(|engine| send_bytes(engine, id, options, payload.unwrap_or_default()))
        };
        // SAFETY: in a callback.
        return unsafe { outcome(env, sent) };
    }
    ptr::null_mut()
}

unsafe extern "C" fn send_long_text(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    if let Some(call) = unsafe { Call::<3>::read(env, info) }
        && let Some(id) = call.connection()
    {
        let (bytes, start) = text_frame(env, call.args[2]);
        let options = SendOptions::default();
        let sent = call
            .handle
            .with(|engine| engine.send_owned(id, options, engine.own_frame(bytes, start)));
        // SAFETY: in a callback.
        return unsafe { outcome(env, sent) };
    }
    ptr::null_mut()
}

unsafe extern "C" fn send_binary(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    if let Some(call) = unsafe { Call::<3>::read(env, info) }
        && let Some(id) = call.connection()
    {
        // SAFETY: the argument is used in this callback only.
        if let Some(payload) = unsafe { call.bytes(2) } {
            let options = SendOptions::default();
            let sent = call.handle.with(|engine| send_bytes(engine, id, options, payload));
            // SAFETY: in a callback.
            return unsafe { outcome(env, sent) };
        }
    }
    ptr::null_mut()
}

/// Frames from this many bytes on get their own allocation, which is not copied again.
pub(super) const OWN_FRAME: usize = 16 << 10;

fn send_bytes(engine: &Engine, id: ConnectionId, options: SendOptions, payload: &[u8]) -> Sent {
    if payload.len() >= OWN_FRAME {
        let mut frame = Vec::new();
        crate::protocol::encode_frame(&mut frame, Opcode::Binary, payload);
        engine.send_owned(id, options, engine.own_frame(frame, 0))
    } else {
        engine.send(id, options, |bytes| {
            let start = bytes.len();
            crate::protocol::encode_frame(bytes, Opcode::Binary, payload);
            start..bytes.len()
        })
    }
}

unsafe extern "C" fn bridge_received(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`; the bytes are used in it only.
    unsafe {
        if let Some(call) = Call::<3>::read(env, info)
            && let (Some(slot), Some(key), Some(chunk)) = (call.u32(0), call.u32(1), call.bytes(2))
        {
            call.handle.with(|engine| engine.bridge_received(slot, key, chunk));
        }
    }
    ptr::null_mut()
}

unsafe extern "C" fn bridge_written(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    if let Some(call) = unsafe { Call::<5>::read(env, info) }
        && let (Some(id), Some(key)) = (call.connection(), call.u32(2))
        && let (Some(bytes), Some(news)) = (call.u32(3), call.u32(4))
    {
        call.handle.with(|engine| {
            engine.written(id, bytes as usize);
            if news > 0 {
                engine.bridge_news(id.slot, key, StreamNews::Written(news as usize));
            }
        });
    }
    ptr::null_mut()
}

unsafe extern "C" fn bridge_ended(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    unsafe { bridge_news(env, info, StreamNews::Ended) }
}

unsafe extern "C" fn bridge_closed(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    unsafe { bridge_news(env, info, StreamNews::Closed) }
}

/// Passes on what has happened to the stream that a call names by a slot and the key of its bridge.
///
/// # Safety
/// As [`Call::read`].
unsafe fn bridge_news(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    news: StreamNews,
) -> sys::napi_value {
    // SAFETY: as the caller promises.
    if let Some(call) = unsafe { Call::<2>::read(env, info) }
        && let (Some(slot), Some(key)) = (call.u32(0), call.u32(1))
    {
        call.handle.with(|engine| engine.bridge_news(slot, key, news));
    }
    ptr::null_mut()
}

unsafe extern "C" fn bridge_probed(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    unsafe { of_connection(env, info, Engine::probed) }
}

unsafe extern "C" fn mark_ready(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    unsafe { of_connection(env, info, Engine::mark_ready) }
}

unsafe extern "C" fn start_delivery(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    unsafe { of_connection(env, info, Engine::deliver) }
}

/// Does something with the connection that a call names by its slot and generation.
///
/// # Safety
/// As [`Call::read`].
unsafe fn of_connection(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    act: impl FnOnce(&Engine, ConnectionId),
) -> sys::napi_value {
    // SAFETY: as the caller promises.
    if let Some(call) = unsafe { Call::<2>::read(env, info) }
        && let Some(id) = call.connection()
    {
        call.handle.with(|engine| act(engine, id));
    }
    ptr::null_mut()
}

unsafe extern "C" fn flush(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    if let Some(call) = unsafe { Call::<0>::read(env, info) } {
        call.handle.with(Engine::flush_urgent);
    }
    ptr::null_mut()
}

unsafe extern "C" fn flush_all(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    if let Some(call) = unsafe { Call::<0>::read(env, info) } {
        call.handle.with(Engine::flush);
    }
    ptr::null_mut()
}

/// A text frame with its own memory: the bytes behind the index that comes with them.
pub(super) fn text_frame(env: sys::napi_env, text: sys::napi_value) -> (Vec<u8>, usize) {
    let mut units = 0;
    // SAFETY: a value of the current callback; a null buffer asks for the length, which V8 knows.
    unsafe { sys::napi_get_value_string_utf16(env, text, ptr::null_mut(), 0, &mut units) };
    let mut frame = Vec::new();
    let range = encode_text(env, text, units, &mut frame);
    frame.shrink_to_fit();
    (frame, range.start)
}

/// Writes `text`, of `units` UTF-16 units, as a frame behind `bytes` and returns where it lies. Its
/// length as UTF-8 is not known beforehand: the payload is written behind room for the longest header,
/// and the header right before it.
fn encode_text(
    env: sys::napi_env,
    text: sys::napi_value,
    units: usize,
    bytes: &mut Vec<u8>,
) -> Range<usize> {
    let payload_at = bytes.len() + MAX_HEADER;
    let mut longest = units * UTF8_PER_UNIT;
    if units > UNMEASURED_TEXT {
        // SAFETY: a value of the current callback; a null buffer asks for the length.
        unsafe { sys::napi_get_value_string_utf8(env, text, ptr::null_mut(), 0, &mut longest) };
    }
    // Node appends a NUL.
    bytes.reserve(MAX_HEADER + longest + 1);
    let len = write_utf8(env, text, bytes, payload_at);
    let mut header = [0; MAX_HEADER];
    let header_len = encode_header(&mut header, Opcode::Text, len);
    let start = payload_at - header_len;
    bytes.resize(start, 0);
    bytes.extend_from_slice(&header[..header_len]);
    // SAFETY: Node has initialized `len` bytes from `payload_at` on, within the capacity, and
    // neither call above reallocated: both stay below `payload_at`.
    unsafe { bytes.set_len(payload_at + len) };
    start..payload_at + len
}

/// Has Node write `text` into the spare capacity of `bytes` from `at` on, as far as it fits with
/// its final NUL, and returns the number of bytes. What is not a string writes nothing.
fn write_utf8(env: sys::napi_env, text: sys::napi_value, bytes: &mut Vec<u8>, at: usize) -> usize {
    debug_assert!(at < bytes.capacity());
    let room = bytes.capacity() - at;
    let mut len = 0;
    // SAFETY: `room` bytes from `at` on belong to the vector, and Node writes no more than that.
    unsafe {
        let target = bytes.as_mut_ptr().add(at).cast();
        sys::napi_get_value_string_utf8(env, text, target, room, &mut len);
    }
    len
}

unsafe extern "C" fn drain(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: first in a callback of `FUNCTIONS`.
    let more = match unsafe { Call::<1>::read(env, info) } {
        Some(call) => deliver(env, call.handle, call.args[0]),
        None => false,
    };
    let mut result = ptr::null_mut();
    // SAFETY: memory for the result. On failure it stays null, which JavaScript sees as undefined.
    unsafe { sys::napi_get_boolean(env, more, &mut result) };
    result
}

/// Calls `dispatch` with the events that wait, up to [`EVENTS_PER_TURN`]. Returns whether there
/// may be more.
fn deliver(env: sys::napi_env, handle: &EngineHandle, dispatch: sys::napi_value) -> bool {
    let Some(common) = handle.with(|engine| engine.common().clone()) else { return false };
    let inbox = &common.inbox;
    let mut delivered = 0;
    while delivered < EVENTS_PER_TURN {
        let Some((mut batch, posted)) = inbox.take() else { return false };
        handle.with(|engine| engine.has_waited(posted.elapsed()));
        delivered += batch.events.len();
        // SAFETY: `env` and `dispatch` belong to the current callback.
        let alive = unsafe { deliver_batch(env, dispatch, &mut batch) };
        inbox.recycle(batch);
        // The I/O thread writes the answers while JavaScript goes on with the next batch.
        handle.with(Engine::flush_urgent);
        if !alive {
            return false;
        }
    }
    true
}

/// Returns whether JavaScript can go on running.
///
/// # Safety
/// `env` and `dispatch` must belong to the current callback.
unsafe fn deliver_batch(env: sys::napi_env, dispatch: sys::napi_value, batch: &mut Batch) -> bool {
    let Batch { events, text, binary, .. } = batch;
    let mut undefined = ptr::null_mut();
    // SAFETY: as the caller promises; every pointer handed over is to memory of this frame or of
    // the batch, and Node copies what it keeps. The scope is closed on every path that opened it.
    unsafe {
        sys::napi_get_undefined(env, &mut undefined);
        let mut shared = undefined;
        if !binary.is_empty() {
            let mut data = ptr::null_mut();
            let source = binary.as_ptr().cast();
            sys::napi_create_buffer_copy(env, binary.len(), source, &mut data, &mut shared);
        }
        let mut events = events.drain(..);
        while events.len() > 0 {
            let mut scope = ptr::null_mut();
            sys::napi_open_handle_scope(env, &mut scope);
            let mut args = [undefined; 1 + 2 * PAIRS];
            args[0] = shared;
            let mut count = 1;
            for event in events.by_ref().take(PAIRS) {
                let Event { slot, what } = event;
                let (kind, value) = value_of(env, what, text);
                sys::napi_create_uint32(env, slot * 4 + kind, &mut args[count]);
                // Stays null where V8 could not make it.
                args[count + 1] = if value.is_null() { undefined } else { value };
                count += 2;
            }
            let mut result = ptr::null_mut();
            let status = sys::napi_call_function(
                env,
                undefined,
                dispatch,
                count,
                args.as_ptr(),
                &mut result,
            );
            sys::napi_close_handle_scope(env, scope);
            if status != sys::Status::napi_ok && !report_exception(env) {
                return false;
            }
        }
    }
    true
}

/// Has Node treat what the dispatcher threw as an uncaught exception, so that it costs no further
/// events. The dispatcher catches what listeners throw, so this would be an error of the facade.
/// Returns false where there is no exception, because the environment ends.
///
/// # Safety
/// `env` must belong to the current callback.
pub(super) unsafe fn report_exception(env: sys::napi_env) -> bool {
    let mut pending = false;
    let mut exception = ptr::null_mut();
    // SAFETY: as the caller promises, with memory for the results.
    unsafe {
        sys::napi_is_exception_pending(env, &mut pending);
        pending
            && sys::napi_get_and_clear_last_exception(env, &mut exception) == sys::Status::napi_ok
            && sys::napi_fatal_exception(env, exception) == sys::Status::napi_ok
    }
}

/// The JavaScript value of an event and its kind.
///
/// # Safety
/// `env` must belong to the current callback, in an open handle scope.
unsafe fn value_of(env: sys::napi_env, what: What, text: &[u8]) -> (u32, sys::napi_value) {
    let mut value = ptr::null_mut();
    // SAFETY: as the caller promises. Ranges come with the batch they point into.
    unsafe {
        match what {
            What::Text { start, len, ascii } => {
                let (start, len) = (start as usize, len as usize);
                (KIND_MESSAGE, string(env, &text[start..start + len], ascii))
            }
            What::OwnedText { bytes, ascii } => (KIND_MESSAGE, string(env, &bytes, ascii)),
            What::Binary { start, len } => {
                let place = f64::from(start) * 65536.0 + f64::from(len);
                sys::napi_create_double(env, place, &mut value);
                (KIND_SHARED_BINARY, value)
            }
            What::OwnedBinary(bytes) => (KIND_MESSAGE, buffer(env, bytes)),
            What::Bridge(Command::Write(bytes)) => (KIND_BRIDGE, buffer(env, bytes)),
            What::Bridge(Command::Credit(count)) => (KIND_BRIDGE, int32(env, count as i32)),
            What::Bridge(Command::End) => (KIND_BRIDGE, int32(env, BRIDGE_END)),
            What::Bridge(Command::Destroy) => (KIND_BRIDGE, int32(env, BRIDGE_DESTROY)),
            What::Bridge(Command::Abort) => (KIND_BRIDGE, int32(env, BRIDGE_ABORT)),
            What::Bridge(Command::Probe) => (KIND_BRIDGE, int32(env, BRIDGE_PROBE)),
            What::Secured => (KIND_BRIDGE, int32(env, SECURED)),
            What::Lost => (KIND_BRIDGE, int32(env, LOST)),
            What::Ended => (KIND_BRIDGE, int32(env, ENDED)),
            What::Closed(frame) => {
                let packed = format!("{:04}{}", frame.code, frame.reason);
                (KIND_NEWS, string(env, packed.as_bytes(), packed.is_ascii()))
            }
            What::Drained => (KIND_NEWS, int32(env, DRAINED)),
            What::Paced => (KIND_NEWS, int32(env, PACED)),
            What::Pong(micros) => {
                sys::napi_create_double(env, f64::from(micros) / 1000.0, &mut value);
                (KIND_NEWS, value)
            }
        }
    }
}

/// # Safety
/// As [`value_of`].
unsafe fn int32(env: sys::napi_env, number: i32) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: as the caller promises, with memory for the result.
    unsafe { sys::napi_create_int32(env, number, &mut value) };
    value
}

/// # Safety
/// As [`value_of`]; `bytes` must be UTF-8, and ASCII where `ascii` says so.
unsafe fn string(env: sys::napi_env, bytes: &[u8], ascii: bool) -> sys::napi_value {
    let mut value = ptr::null_mut();
    let (data, len) = (bytes.as_ptr().cast(), bytes.len() as isize);
    // SAFETY: as the caller promises; Node copies the bytes.
    unsafe {
        if ascii {
            sys::napi_create_string_latin1(env, data, len, &mut value);
        } else {
            sys::napi_create_string_utf8(env, data, len, &mut value);
        }
    }
    value
}

/// # Safety
/// As [`value_of`].
unsafe fn buffer(env: sys::napi_env, bytes: Vec<u8>) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: as the caller promises; an external buffer owns the box until `free_box`, whose hint
    // carries the length.
    unsafe {
        if bytes.len() >= EXTERNAL_BUFFER {
            let len = bytes.len();
            let data = Box::into_raw(bytes.into_boxed_slice()).cast::<u8>();
            let status = sys::napi_create_external_buffer(
                env,
                len,
                data.cast(),
                Some(free_box),
                len as *mut c_void,
                &mut value,
            );
            if status == sys::Status::napi_ok {
                return value;
            }
            // Some runtimes allow no external memory: copy.
            let bytes = Box::from_raw(ptr::slice_from_raw_parts_mut(data, len));
            return copied_buffer(env, &bytes);
        }
        copied_buffer(env, &bytes)
    }
}

/// # Safety
/// As [`value_of`].
unsafe fn copied_buffer(env: sys::napi_env, bytes: &[u8]) -> sys::napi_value {
    let (mut data, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: as the caller promises; Node copies the bytes.
    unsafe {
        sys::napi_create_buffer_copy(
            env,
            bytes.len(),
            bytes.as_ptr().cast(),
            &mut data,
            &mut value,
        );
    }
    value
}

unsafe extern "C" fn free_box(_env: sys::napi_env, data: *mut c_void, hint: *mut c_void) {
    // SAFETY: `buffer` made both from one boxed slice; this is its one return.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(data.cast::<u8>(), hint as usize)) });
}
