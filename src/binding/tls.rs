//! TLS that the I/O threads speak: certificates in, clients out.

use std::os::fd::IntoRawFd;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use super::options::pending;
use super::plugin::NativePlugin;
use super::proxy_protocol::PeerName;
use crate::exchange::handshakes::{Client, Failure};
use crate::exchange::oplog::Leave;
use crate::tls::config::{
    Certificate, ClientAuth, Identity, Settings, TlsConfig, Version, cipher_names,
};
use crate::transport::adopted;

/// A certificate chain with its key, in DER.
#[napi(object, object_to_js = false)]
pub struct TlsCertificate {
    /// The server's own certificate, then those that lead to a root.
    pub chain: Vec<Uint8Array>,
    /// The private key in PKCS #8.
    pub key: Uint8Array,
}

/// What clients are shown for one host name.
#[napi(object, object_to_js = false)]
pub struct TlsIdentity {
    /// What errors call it.
    pub name: String,
    /// The host name; without it, this is for all that have none of their own.
    pub host: Option<String>,
    /// One, or one for each kind of key.
    pub certificates: Vec<TlsCertificate>,
}

/// What a server presents to its clients, and what it accepts of them. The facade has checked it.
#[napi(object, object_to_js = false)]
pub struct TlsSettings {
    /// What clients are shown.
    pub identities: Vec<TlsIdentity>,
    /// Who may have issued the certificates of clients; without it, none are asked for.
    pub authorities: Option<Vec<Uint8Array>>,
    /// Whether a client without a valid certificate is refused.
    pub required: bool,
    /// The oldest version: 12 or 13.
    pub min_version: u32,
    /// The newest version: 12 or 13.
    pub max_version: u32,
    /// OpenSSL's names of cipher suites; all where it is empty.
    pub ciphers: Vec<String>,
}

/// A client with whom TLS is spoken.
#[napi(object, object_from_js = false)]
pub struct TlsClient {
    /// A descriptor for Node: the plaintext. Whoever takes this has to close it.
    pub fd: i32,
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: &'static str,
    /// OpenSSL's name of the cipher suite.
    pub cipher: &'static str,
    /// The same by its registered name.
    pub standard_cipher: String,
    /// The host name that was asked for.
    pub server_name: Option<String>,
    /// HTTP/1.1 was agreed on by ALPN.
    pub alpn: bool,
    /// The handshake went on from an earlier connection.
    pub resumed: bool,
    /// Why a client that was asked for a certificate is not authorized, by OpenSSL's name.
    pub authorization_error: Option<&'static str>,
    /// The client's certificate chain in DER, its own first.
    pub peer_certificates: Vec<Buffer>,
    /// Who it is, where a PROXY header said so.
    pub proxied: Option<PeerName>,
}

impl From<Client> for TlsClient {
    fn from(Client { plain, facts, proxied }: Client) -> Self {
        Self {
            fd: plain.into_raw_fd(),
            protocol: facts.protocol,
            cipher: facts.cipher,
            standard_cipher: facts.standard_cipher,
            server_name: facts.server_name,
            alpn: facts.alpn,
            resumed: facts.resumed,
            authorization_error: facts.authorization_error,
            peer_certificates: facts.peer_certificates.into_iter().map(Buffer::from).collect(),
            proxied: proxied.map(PeerName::from),
        }
    }
}

/// Why there is no client.
#[napi(object, object_from_js = false)]
pub struct TlsFailure {
    /// A few words.
    pub reason: String,
    /// The client has done nothing wrong: this process is out of something.
    pub is_ours: bool,
    /// It did not begin with the PROXY header that it had to.
    pub lacks_header: bool,
}

/// What clients are shown, checked and ready. Connections that there are keep theirs.
#[napi]
pub struct TlsContext(Arc<TlsConfig>);

#[napi]
impl TlsContext {
    /// Throws a TypeError that says what cannot be used, without any secret.
    #[napi(constructor)]
    pub fn new(env: Env, settings: TlsSettings, method: String) -> Result<Self> {
        let config = TlsConfig::new(settings.into()).map_err(|error| {
            pending(env.throw_type_error(&format!("{method}: option \"tls\": {error}"), None))
        })?;
        Ok(Self(Arc::new(config)))
    }
}

/// OpenSSL's names of the cipher suites that the engine has, best first.
#[napi]
pub fn tls_ciphers() -> Vec<&'static str> {
    cipher_names().collect()
}

#[napi]
impl NativePlugin {
    /// Has an I/O thread speak TLS with a client, whose socket is duplicated. Returns the key of
    /// the event that says that the handshake is over. With `expects_header` a PROXY header comes first.
    #[napi]
    pub fn secure(&self, fd: i32, context: &TlsContext, expects_header: bool) -> Result<u32> {
        let socket = adopted::adopt(fd)
            .map_err(|error| Error::from_reason(format!("the socket cannot be taken: {error}")))?;
        let limit = self.options.handshake_timeout();
        let config = context.0.clone();
        self.with_engine(|engine| engine.secure(socket, config, expects_header, limit))
            .ok_or_else(|| Error::from_reason("the engine has not been started"))
    }

    /// What came of a handshake, once: a client, or why there is none.
    #[napi]
    pub fn secured(&self, key: u32) -> Either<TlsClient, TlsFailure> {
        match self.with_engine(|engine| engine.common().handshakes.take(key)).flatten() {
            Some(Ok(client)) => Either::A(client.into()),
            Some(Err(Failure { reason, is_ours, lacks_header })) => {
                Either::B(TlsFailure { reason, is_ours, lacks_header })
            }
            None => {
                let reason = "nobody knows of it".into();
                Either::B(TlsFailure { reason, is_ours: true, lacks_header: false })
            }
        }
    }

    /// Node is about to close its end of a pump: in the middle of something, so that the client must
    /// not see a clean end, or not.
    #[napi]
    pub fn node_leaves(&self, pump: u32, in_the_middle: bool) {
        let how = if in_the_middle { Leave::CutShort } else { Leave::Done };
        self.with_engine(|engine| engine.node_leaves(pump, how));
    }

    /// Whether the process is kept alive also where no connection is open: for what is under way to
    /// those that are no WebSocket connections.
    #[napi]
    pub fn keep_alive(&self, env: Env, alive: bool) -> Result<()> {
        self.kept_alive.set(alive);
        match &*self.engine.borrow() {
            Some(handle) => handle.waker.keep_alive(&env, alive || self.capacity.open() > 0),
            None => Ok(()),
        }
    }
}

impl From<TlsSettings> for Settings {
    fn from(settings: TlsSettings) -> Self {
        let TlsSettings { authorities, required, .. } = settings;
        let bytes = |all: Vec<Uint8Array>| all.iter().map(|each| each.to_vec()).collect();
        Self {
            identities: settings.identities.into_iter().map(Identity::from).collect(),
            client_auth: authorities
                .map(|authorities| ClientAuth { authorities: bytes(authorities), required }),
            min_version: version(settings.min_version),
            max_version: version(settings.max_version),
            ciphers: settings.ciphers,
        }
    }
}

impl From<TlsIdentity> for Identity {
    fn from(TlsIdentity { name, host, certificates }: TlsIdentity) -> Self {
        let certificates = certificates
            .into_iter()
            .map(|TlsCertificate { chain, key }| Certificate {
                chain: chain.iter().map(|each| each.to_vec()).collect(),
                key: key.to_vec(),
            })
            .collect();
        Self { name, host, certificates }
    }
}

fn version(number: u32) -> Version {
    if number == 12 { Version::Tls12 } else { Version::Tls13 }
}
