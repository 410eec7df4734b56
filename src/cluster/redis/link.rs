//! A connection to one server.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, ServerError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};

use super::Driver;

/// Time for a connection to be made, the login included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Longest that a server may send without anything being complete, in bytes: as much as Redis takes for
/// a value by itself. Its length is what the server says, and may be wrong.
const MAX_INCOMPLETE: usize = 512 << 20;

/// Why a connection has ended that the other side, or something in between, has closed.
pub(super) const LOST: &str = "the connection was lost";

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Who logs in. Never shown.
#[derive(Clone, Default)]
pub struct Credentials {
    /// `None` for the default user.
    pub username: Option<String>,
    /// `None` where no login is needed.
    pub password: Option<String>,
}

/// How TLS is spoken with the broker.
pub struct Tls {
    /// What its certificate has to be like.
    #[cfg(unix)]
    pub config: Arc<rustls::ClientConfig>,
    /// The name in it, where that is not the host's.
    pub server_name: Option<String>,
}

/// A connection, which is closed when this is dropped.
pub(super) struct Link {
    pub connection: MultiplexedConnection,
    /// Moves the bytes; done once the connection is lost.
    task: JoinHandle<()>,
    life: Arc<Life>,
    ping_timeout: Duration,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Makes a connection. What comes unasked goes to `on_push`, on this thread.
    pub async fn connect(
        driver: &Driver,
        address: &Address,
        on_push: Option<Box<dyn AsyncPushSender>>,
    ) -> Result<Self, String> {
        let making = Self::make(driver, address, on_push);
        match tokio::time::timeout(CONNECT_LIMIT, making).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address}: no connection within {CONNECT_LIMIT:?}")),
        }
    }

    async fn make(
        driver: &Driver,
        address: &Address,
        on_push: Option<Box<dyn AsyncPushSender>>,
    ) -> Result<Self, String> {
        let life = Arc::new(Life::default());
        let stream = open(driver, address).await.map_err(|error| error.to_string())?;
        let stream = Watched { stream, life: life.clone() };
        let Credentials { username, password } = driver.credentials();
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("nextrush-websocket", env!("CARGO_PKG_VERSION"));
        if let Some(username) = username {
            info = info.set_username(username);
        }
        if let Some(password) = password {
            info = info.set_password(password);
        }
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
        if let Some(on_push) = on_push {
            config = config.set_push_sender(Pushes { on_push, life: life.clone() });
        }
        let (connection, moving) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(described)?;
        let task = spawn_local(moving);
        Ok(Self { connection, task, life, ping_timeout: driver.options.ping_timeout })
    }

    /// Ends when the connection is closed, whoever does it.
    pub async fn closed(&mut self) {
        // It may have been waited for before.
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
    }

    /// Whether it has been lost: so would be what is sent now.
    pub fn is_closed(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends when the connection is lost, and says why: it is closed, or the server is silent. Silence
    /// of a server that nothing is asked of is no fault.
    pub async fn lost(&mut self) -> String {
        loop {
            let limit = self.ping_timeout.saturating_sub(self.life.silence());
            if limit.is_zero() {
                return format!("the broker has said nothing for {:?}", self.ping_timeout);
            }
            tokio::select! {
                () = self.closed() => return LOST.to_owned(),
                () = tokio::time::sleep(limit) => {}
            }
        }
    }

    /// As [`Self::lost`] while something is asked of the server, otherwise as [`Self::closed`].
    pub async fn ended(&mut self, is_asking: bool) -> String {
        if is_asking {
            return self.lost().await;
        }
        self.closed().await;
        LOST.to_owned()
    }

    /// For how long nothing has come.
    pub fn silence(&self) -> Duration {
        self.life.silence()
    }

    /// Something is asked of the server: its silence counts from now on. All before it has come.
    pub fn asks(&self) {
        self.life.mark();
        self.life.completed();
    }
}

struct Pushes {
    on_push: Box<dyn AsyncPushSender>,
    life: Arc<Life>,
}

impl AsyncPushSender for Pushes {
    fn send(&self, info: redis::PushInfo) -> Result<(), redis::aio::SendError> {
        self.life.completed();
        self.on_push.send(info)
    }
}

/// An error of the server or of the library, which has no secrets.
pub(super) fn described(error: RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

/// The same of an error among other answers.
pub(super) fn described_answer(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn open(driver: &Driver, address: &Address) -> io::Result<Box<dyn Stream>> {
    let (host, stream) = match address {
        Address::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            (host.as_str(), Box::new(stream) as Box<dyn Stream>)
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            ("localhost", Box::new(tokio::net::UnixStream::connect(path).await?) as Box<dyn Stream>)
        }
        #[cfg(not(unix))]
        Address::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    match &driver.options.tls {
        None => Ok(stream),
        Some(tls) => encrypted(tls, host, stream).await,
    }
}

#[cfg(unix)]
async fn encrypted(tls: &Tls, host: &str, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
    let name = rustls::pki_types::ServerName::try_from(name).map_err(io::Error::other)?;
    let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
    Ok(Box::new(connector.connect(name, stream).await?))
}

#[cfg(not(unix))]
async fn encrypted(_: &Tls, _: &str, _: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// When the last byte came: whatever it is of, the server lives.
struct Life {
    start: Instant,
    /// Milliseconds from the start.
    at: AtomicU64,
    /// Bytes since something was complete.
    incomplete: AtomicUsize,
}

impl Default for Life {
    fn default() -> Self {
        Self { start: Instant::now(), at: AtomicU64::new(0), incomplete: AtomicUsize::new(0) }
    }
}

impl Life {
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn mark(&self) {
        self.at.store(self.now(), Ordering::Relaxed);
    }

    fn completed(&self) {
        self.incomplete.store(0, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.at.load(Ordering::Relaxed)))
    }
}

struct Watched {
    stream: Box<dyn Stream>,
    life: Arc<Life>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if result.is_ready() {
            self.life.mark();
            let count = buf.filled().len() - before;
            if self.life.incomplete.fetch_add(count, Ordering::Relaxed) > MAX_INCOMPLETE {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
