//! The process limit on open descriptors.

/// Raises the soft limit on open descriptors to the hard limit. A failure costs nothing here: a
/// scenario that needs more will say so when it cannot open a socket.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, writable rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit; the call only reads it.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
}
