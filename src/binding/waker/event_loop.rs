//! By a `uv_async_t` of Node's event loop.
//!
//! The functions of libuv are looked for in the process, so that the addon also loads where there are
//! none.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::mem::transmute;
use std::ptr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::bindgen_prelude::*;
use napi::{Env, JsValue, check_status, sys};

use crate::binding::hot::report_exception;

/// A `uv_async_t`, whose size only libuv knows.
type Async = c_void;

type OnAsync = unsafe extern "C" fn(*mut Async);

type HandleSize = unsafe extern "C" fn(c_int) -> usize;
type AsyncInit = unsafe extern "C" fn(*mut sys::uv_loop_s, *mut Async, OnAsync) -> c_int;
type AsyncSend = unsafe extern "C" fn(*mut Async) -> c_int;
type SetData = unsafe extern "C" fn(*mut Async, *mut c_void);
type GetData = unsafe extern "C" fn(*const Async) -> *mut c_void;
type Reference = unsafe extern "C" fn(*mut Async);
type Close = unsafe extern "C" fn(*mut Async, OnAsync);

/// `UV_ASYNC` of `uv_handle_type`.
const ASYNC: c_int = 1;

/// Functions of libuv.
struct Libuv {
    handle_size: HandleSize,
    async_init: AsyncInit,
    async_send: AsyncSend,
    set_data: SetData,
    get_data: GetData,
    reference: Reference,
    unreference: Reference,
    close: Close,
}

impl Libuv {
    /// `None` where the process does not have them all.
    fn get() -> Option<&'static Self> {
        static LIBUV: OnceLock<Option<Libuv>> = OnceLock::new();
        LIBUV.get_or_init(Self::find).as_ref()
    }

    fn find() -> Option<Self> {
        let find = |name: &CStr| {
            // SAFETY: looks a name up, which ends with a NUL, and nothing else.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        // SAFETY: libuv has functions of these types by these names since its version 1.19, which is
        // older than any Node with the version of Node-API that the addon needs.
        unsafe {
            Some(Self {
                handle_size: transmute::<*mut c_void, HandleSize>(find(c"uv_handle_size")?),
                async_init: transmute::<*mut c_void, AsyncInit>(find(c"uv_async_init")?),
                async_send: transmute::<*mut c_void, AsyncSend>(find(c"uv_async_send")?),
                set_data: transmute::<*mut c_void, SetData>(find(c"uv_handle_set_data")?),
                get_data: transmute::<*mut c_void, GetData>(find(c"uv_handle_get_data")?),
                reference: transmute::<*mut c_void, Reference>(find(c"uv_ref")?),
                unreference: transmute::<*mut c_void, Reference>(find(c"uv_unref")?),
                close: transmute::<*mut c_void, Close>(find(c"uv_close")?),
            })
        }
    }
}

/// A handle of the event loop that calls a function of JavaScript's.
pub(in crate::binding) struct AsyncHandle {
    libuv: &'static Libuv,
    /// Memory of the `uv_async_t`: aligned for whatever it has. libuv's, until it has been closed,
    /// which is when it lets go of its share of this.
    memory: Box<[Cell<u128>]>,
    /// `on_wake` is to be called. Set by the I/O threads, cleared by the JavaScript thread.
    wanted: AtomicBool,
    /// The I/O thread has made its last use of it.
    released: AtomicBool,
    /// What follows is the JavaScript thread's. `None` once it is being closed.
    javascript: Cell<Option<JavaScript>>,
    /// Node waits for this handle to be closed before it ends the environment.
    hook: Cell<sys::napi_async_cleanup_hook_handle>,
}

/// What is called, and how.
#[derive(Clone, Copy)]
struct JavaScript {
    env: sys::napi_env,
    on_wake: sys::napi_ref,
    context: sys::napi_async_context,
}

// SAFETY: libuv documents `uv_async_send` as callable from any thread; the I/O thread calls nothing
// else, and uses nothing but the flags, which are atomics. All else is used on the JavaScript thread.
unsafe impl Send for AsyncHandle {}
// SAFETY: as above.
unsafe impl Sync for AsyncHandle {}

impl AsyncHandle {
    /// A handle that calls `on_wake`; `None` where there is no event loop of libuv's.
    pub fn new(env: &Env, on_wake: &Function<'_, (), ()>) -> Result<Option<Arc<Self>>> {
        let Some(libuv) = Libuv::get() else { return Ok(None) };
        let mut event_loop = ptr::null_mut();
        // SAFETY: `env` belongs to the current call, with memory for the result.
        let status = unsafe { sys::napi_get_uv_event_loop(env.raw(), &mut event_loop) };
        if status != sys::Status::napi_ok || event_loop.is_null() {
            return Ok(None);
        }
        // SAFETY: asks for a number.
        let size = unsafe { (libuv.handle_size)(ASYNC) };
        let handle = Arc::new(Self {
            libuv,
            memory: vec![Cell::new(0); size.div_ceil(size_of::<u128>())].into_boxed_slice(),
            wanted: AtomicBool::new(false),
            released: AtomicBool::new(false),
            javascript: Cell::new(Some(JavaScript::new(env, on_wake)?)),
            hook: Cell::new(ptr::null_mut()),
        });
        // SAFETY: the loop is that of this thread, the memory is large enough, and stays until
        // `on_closed` takes back the share of `handle` that libuv gets here.
        unsafe {
            if (libuv.async_init)(event_loop, handle.uv(), on_async) != 0 {
                handle.forget_javascript();
                return Ok(None);
            }
            (libuv.set_data)(handle.uv(), Arc::into_raw(handle.clone()).cast_mut().cast());
            (libuv.unreference)(handle.uv());
        }
        let mut hook = ptr::null_mut();
        let data = Arc::as_ptr(&handle).cast_mut().cast();
        // SAFETY: `data` stays until `on_closed` has removed the hook.
        let status = unsafe {
            sys::napi_add_async_cleanup_hook(env.raw(), Some(on_environment_end), data, &mut hook)
        };
        handle.hook.set(hook);
        if status != sys::Status::napi_ok {
            handle.close();
        }
        check_status!(status, "the end of the environment cannot be heard of")?;
        Ok(Some(handle))
    }

    fn uv(&self) -> *mut Async {
        self.memory.as_ptr().cast_mut().cast()
    }

    /// I/O thread: has `on_wake` called soon.
    pub fn wake(&self) {
        self.wanted.store(true, Ordering::Release);
        self.send();
    }

    /// I/O thread: the last use.
    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
        self.send();
    }

    fn send(&self) {
        // SAFETY: the handle is closed once the I/O thread has released it, or has been joined. If a wake
        // is under way, that may be between the release's flag and this call: the memory is there yet, as
        // `self` has a share of it, and so is the loop, which waits for the thread before it ends.
        unsafe { (self.libuv.async_send)(self.uv()) };
    }

    /// JavaScript thread: whether this keeps the event loop, and so the process, alive.
    pub fn keep_alive(&self, alive: bool) {
        if self.javascript.get().is_none() {
            return;
        }
        let act = if alive { self.libuv.reference } else { self.libuv.unreference };
        // SAFETY: the handle is there, and this is the thread of its loop.
        unsafe { act(self.uv()) };
    }

    /// JavaScript thread: takes the handle from the loop, once.
    fn close(&self) {
        if !self.forget_javascript() {
            return;
        }
        // SAFETY: it is not being closed yet, and nobody else uses it any more.
        unsafe { (self.libuv.close)(self.uv(), on_closed) };
    }

    /// Gives back what calls need. Returns `false` where that has been done before.
    fn forget_javascript(&self) -> bool {
        let Some(JavaScript { env, on_wake, context }) = self.javascript.take() else {
            return false;
        };
        // SAFETY: both were made by `JavaScript::new`, and are given back once.
        unsafe {
            sys::napi_delete_reference(env, on_wake);
            sys::napi_async_destroy(env, context);
        }
        true
    }
}

impl JavaScript {
    fn new(env: &Env, on_wake: &Function<'_, (), ()>) -> Result<Self> {
        let name = env.create_string("nextrush-websocket")?;
        let env = env.raw();
        let (mut reference, mut context) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: `env` and the values belong to the current call, with memory for the results.
        unsafe {
            let status = sys::napi_create_reference(env, on_wake.raw(), 1, &mut reference);
            check_status!(status, "the function that is called on a wake cannot be kept")?;
            let status = sys::napi_async_init(env, ptr::null_mut(), name.raw(), &mut context);
            if status != sys::Status::napi_ok {
                sys::napi_delete_reference(env, reference);
            }
            check_status!(status, "there is no async context for wakes")?;
        }
        Ok(Self { env, on_wake: reference, context })
    }

    /// Calls the function as Node calls those of its own events: what it has put off to the end of
    /// the tick runs behind it.
    ///
    /// # Safety
    /// On the JavaScript thread, from its event loop.
    unsafe fn call(self) {
        let Self { env, on_wake, context } = self;
        let mut handles = ptr::null_mut();
        let mut callback = ptr::null_mut();
        let (mut function, mut undefined) = (ptr::null_mut(), ptr::null_mut());
        let mut result = ptr::null_mut();
        // SAFETY: as the caller promises; reference and context have not been given back. The scopes
        // are closed in the opposite order.
        unsafe {
            if sys::napi_open_handle_scope(env, &mut handles) != sys::Status::napi_ok {
                return;
            }
            sys::napi_get_reference_value(env, on_wake, &mut function);
            sys::napi_get_undefined(env, &mut undefined);
            if sys::napi_open_callback_scope(env, undefined, context, &mut callback)
                == sys::Status::napi_ok
            {
                let status =
                    sys::napi_call_function(env, undefined, function, 0, ptr::null(), &mut result);
                if status != sys::Status::napi_ok {
                    report_exception(env);
                }
                sys::napi_close_callback_scope(env, callback);
            }
            sys::napi_close_handle_scope(env, handles);
        }
    }
}

/// The handle that libuv names.
///
/// # Safety
/// `uv` is that of an [`AsyncHandle`] which has not been closed.
unsafe fn data_of(uv: *mut Async) -> *const AsyncHandle {
    // There is no such handle without the functions of libuv.
    let data = Libuv::get().map_or(ptr::null_mut(), |libuv| {
        // SAFETY: as the caller promises.
        unsafe { (libuv.get_data)(uv) }
    });
    data.cast_const().cast()
}

unsafe extern "C" fn on_async(uv: *mut Async) {
    // SAFETY: libuv calls this with a handle of ours, and has a share of it until `on_closed`, which is
    // called by the loop itself and not from below this.
    let handle = unsafe { &*data_of(uv) };
    // Asked first: what the I/O thread has wanted before is seen then.
    let released = handle.released.load(Ordering::Acquire);
    if handle.wanted.swap(false, Ordering::Acquire)
        && let Some(javascript) = handle.javascript.get()
    {
        // SAFETY: called from the loop, which runs on the JavaScript thread.
        unsafe { javascript.call() };
    }
    if released {
        handle.close();
    }
}

unsafe extern "C" fn on_closed(uv: *mut Async) {
    // SAFETY: as in `on_async`. This is the one return of the share that libuv got.
    let handle = unsafe { Arc::from_raw(data_of(uv)) };
    let hook = handle.hook.replace(ptr::null_mut());
    if !hook.is_null() {
        // SAFETY: the hook of this handle, removed once.
        unsafe { sys::napi_remove_async_cleanup_hook(hook) };
    }
}

/// Node calls this when the environment ends, after the I/O thread has been joined: hooks are called
/// in the opposite order, and that of the engine was added later.
unsafe extern "C" fn on_environment_end(
    _hook: sys::napi_async_cleanup_hook_handle,
    data: *mut c_void,
) {
    // SAFETY: the handle whose hook this is, which `on_closed` removes before it lets go of it.
    unsafe { &*data.cast::<AsyncHandle>() }.close();
}
