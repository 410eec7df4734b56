//! What only the system can tell or change. The one module with `unsafe`.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

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

/// User and system time of this process, all threads, in microseconds.
pub fn own_cpu() -> u64 {
    // SAFETY: an all-zero rusage is a valid value of that plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid, writable rusage for the length of the call.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

/// Ticks of proc(5) as microseconds.
pub fn ticks_to_micros(ticks: u64) -> u64 {
    // SAFETY: sysconf reads a constant and has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks * 1_000_000 / u64::try_from(per_second).unwrap_or(100).max(1)
}

/// Binds to a source address without taking a port yet: the kernel then chooses the port at
/// connect, when it knows the destination.
pub fn bind_source(socket: &Socket, source: SocketAddr) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open as long as `socket` is borrowed, and the option value is
        // an int of the size that is passed. A failure only means that bind takes a port early.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_BIND_ADDRESS_NO_PORT,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    }
    socket.bind(&source.into())
}
