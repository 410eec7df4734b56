//! Wakes the JavaScript thread from the I/O thread: by an own handle of Node's event loop where that
//! can be had, or else by a threadsafe function. The latter posts under its mutex, so that the thread
//! which it wakes mostly finds that taken, and has to be woken a second time.

#[cfg(unix)]
mod event_loop;
mod threadsafe;

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::*;

#[cfg(unix)]
use event_loop::AsyncHandle;
use threadsafe::ThreadsafeFunction;

/// Has a function of JavaScript's called on its thread. At most one wake is under way: the inbox sees
/// to that.
#[derive(Clone)]
pub(super) enum Waker {
    #[cfg(unix)]
    EventLoop(Arc<AsyncHandle>),
    Threadsafe(Arc<ThreadsafeFunction>),
}

impl Waker {
    /// A waker that calls `on_wake` on the JavaScript thread. It does not keep the process alive
    /// until [`Self::keep_alive`] says so, and must be released by the I/O thread. `has_event_loop`
    /// says that the functions of libuv may be called where the process has them.
    #[cfg_attr(not(unix), expect(unused_variables))]
    pub fn new(env: &Env, on_wake: &Function<'_, (), ()>, has_event_loop: bool) -> Result<Self> {
        #[cfg(unix)]
        if has_event_loop && let Some(handle) = AsyncHandle::new(env, on_wake)? {
            return Ok(Self::EventLoop(handle));
        }
        ThreadsafeFunction::new(env, on_wake).map(Self::Threadsafe)
    }

    /// I/O thread: has `on_wake` called soon.
    pub fn wake(&self) {
        match self {
            #[cfg(unix)]
            Self::EventLoop(handle) => handle.wake(),
            Self::Threadsafe(function) => function.wake(),
        }
    }

    /// I/O thread: the last use.
    pub fn release(&self) {
        match self {
            #[cfg(unix)]
            Self::EventLoop(handle) => handle.release(),
            Self::Threadsafe(function) => function.release(),
        }
    }

    /// JavaScript thread: whether this keeps the event loop, and so the process, alive.
    pub fn keep_alive(&self, env: &Env, alive: bool) -> Result<()> {
        match self {
            #[cfg(unix)]
            Self::EventLoop(handle) => {
                handle.keep_alive(alive);
                Ok(())
            }
            Self::Threadsafe(function) => function.keep_alive(env, alive),
        }
    }
}
