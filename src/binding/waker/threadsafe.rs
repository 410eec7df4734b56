//! By a threadsafe function of Node-API, which every runtime has.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::bindgen_prelude::*;
use napi::{Env, JsValue, check_status, sys};

/// A threadsafe function without arguments. At most one wake is under way (the inbox sees to
/// that), so its queue is bounded.
pub(in crate::binding) struct ThreadsafeFunction {
    function: sys::napi_threadsafe_function,
    /// Node has told the I/O thread that the function is closing, which also gave our hold on it
    /// back.
    closing: AtomicBool,
    /// The function has been finalized. Written and read on the JavaScript thread only.
    finalized: AtomicBool,
}

// SAFETY: Node documents `napi_call_threadsafe_function` and `napi_release_threadsafe_function` as
// callable from any thread; the other functions are called on the JavaScript thread only.
unsafe impl Send for ThreadsafeFunction {}
// SAFETY: as above; the flags are atomics.
unsafe impl Sync for ThreadsafeFunction {}

impl ThreadsafeFunction {
    /// A waker that calls `on_wake` on the JavaScript thread. It does not keep the process alive
    /// until [`Self::keep_alive`] says so, and must be released by the I/O thread.
    pub fn new(env: &Env, on_wake: &Function<'_, (), ()>) -> Result<Arc<Self>> {
        let waker = Arc::new(Self {
            function: ptr::null_mut(),
            closing: AtomicBool::new(false),
            finalized: AtomicBool::new(false),
        });
        let name = env.create_string("nextrush-websocket")?;
        let data = Arc::into_raw(waker).cast_mut();
        let mut function = ptr::null_mut();
        // SAFETY: `env` and the values belong to the current call. `data` is a counted pointer
        // that `finalize` takes back, which Node calls exactly once.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                on_wake.raw(),
                ptr::null_mut(),
                name.raw(),
                0,
                1,
                data.cast(),
                Some(finalize),
                ptr::null_mut(),
                None,
                &mut function,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: the function was not created, so `finalize` will not take `data` back.
            drop(unsafe { Arc::from_raw(data) });
        }
        check_status!(status, "the threadsafe function could not be created")?;
        // SAFETY: nobody else has seen the waker yet: the function has not been called, and
        // `finalize` runs on this thread, later.
        let waker = unsafe {
            (*data).function = function;
            Arc::increment_strong_count(data);
            Arc::from_raw(data)
        };
        waker.keep_alive(env, false)?;
        Ok(waker)
    }

    /// I/O thread: has `on_wake` called soon.
    pub fn wake(&self) {
        if self.closing.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: the function exists until it is released, which this thread does, or until Node
        // says `napi_closing`, after which it is not used again.
        let status = unsafe {
            sys::napi_call_threadsafe_function(
                self.function,
                ptr::null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
        if status == sys::Status::napi_closing {
            self.closing.store(true, Ordering::Relaxed);
        }
    }

    /// I/O thread: the last use.
    pub fn release(&self) {
        if !self.closing.swap(true, Ordering::Relaxed) {
            // SAFETY: the one hold that the function was created with has not been given back.
            unsafe {
                sys::napi_release_threadsafe_function(
                    self.function,
                    sys::ThreadsafeFunctionReleaseMode::release,
                );
            }
        }
    }

    /// JavaScript thread: whether this keeps the event loop, and so the process, alive.
    pub fn keep_alive(&self, env: &Env, alive: bool) -> Result<()> {
        if self.finalized.load(Ordering::Relaxed) {
            return Ok(());
        }
        // SAFETY: not finalized, and this is the thread on which finalization happens.
        let status = unsafe {
            if alive {
                sys::napi_ref_threadsafe_function(env.raw(), self.function)
            } else {
                sys::napi_unref_threadsafe_function(env.raw(), self.function)
            }
        };
        check_status!(status, "the threadsafe function could not be referenced")
    }
}

/// Node calls this on the JavaScript thread once nobody can use the function any more.
unsafe extern "C" fn finalize(
    _env: sys::napi_env,
    data: *mut std::ffi::c_void,
    _hint: *mut std::ffi::c_void,
) {
    // SAFETY: `data` is the counted pointer that `ThreadsafeFunction::new` gave away, and this is its one return.
    let waker = unsafe { Arc::from_raw(data.cast::<ThreadsafeFunction>().cast_const()) };
    waker.finalized.store(true, Ordering::Relaxed);
}
