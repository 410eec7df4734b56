//! A blocking HTTP/1.1 GET client over one kept-alive connection, encrypted or not.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::StreamOwned;

use crate::target::Target;

/// A server that says nothing for so long counts as stuck.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A stream of bytes in both directions.
trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// One connection; requests go one after the other.
pub struct HttpClient {
    stream: BufReader<Box<dyn Duplex>>,
    host: String,
    /// The target's path, before the path of each request.
    base: String,
}

impl HttpClient {
    /// Connects; the TLS handshake follows with the first request.
    pub fn connect(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let stream: Box<dyn Duplex> = match &target.trust {
            None => Box::new(stream),
            Some(trust) => Box::new(StreamOwned::new(*trust.session()?, stream)),
        };
        Ok(Self {
            stream: BufReader::new(stream),
            host: target.host.clone(),
            base: target.path.clone(),
        })
    }

    /// GET; returns the status and the body.
    pub fn get(&mut self, path: &str) -> io::Result<(u16, String)> {
        let request = format!("GET {}{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.base, self.host);
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.stream.get_mut().flush()?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad("not an HTTP response"))?;
        let body = self.body()?;
        Ok((status, body))
    }

    /// Reads headers and the body that they announce.
    fn body(&mut self) -> io::Result<String> {
        let mut length = None;
        let mut chunked = false;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                None if line.is_empty() => break,
                Some(("content-length", value)) => length = value.trim().parse::<usize>().ok(),
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let bytes = match length {
            Some(length) => self.exactly(length)?,
            None if chunked => self.chunks()?,
            None => return Err(bad("a response without a length")),
        };
        String::from_utf8(bytes).map_err(|_| bad("a body that is not UTF-8"))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size =
                usize::from_str_radix(size.trim(), 16).map_err(|_| bad("a bad chunk size"))?;
            body.extend(self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A line without its CRLF.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
