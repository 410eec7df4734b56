//! What a server presents to its clients, and what it accepts of them.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, version,
};

/// The cipher suites by the names that OpenSSL has for them, as Node does; best first.
const CIPHER_SUITES: [(&str, SupportedCipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// The only protocol that is spoken here (RFC 7301). HTTP/2 has no upgrades.
const ALPN: &[u8] = b"http/1.1";

/// The name that OpenSSL, and so Node, has for a cipher suite.
pub fn cipher_name(suite: SupportedCipherSuite) -> &'static str {
    CIPHER_SUITES.iter().find(|(_, known)| *known == suite).map_or("unknown", |(name, _)| name)
}

/// The names of all cipher suites, best first.
pub fn cipher_names() -> impl Iterator<Item = &'static str> {
    CIPHER_SUITES.iter().map(|(name, _)| *name)
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// What clients are shown for one name, or for all that have none of their own.
#[derive(Debug)]
pub struct Identity {
    /// What errors call it.
    pub name: String,
    /// Host names it is for, `*.example.com` among them; none for the one that is the default.
    pub host: Option<String>,
    /// Certificate chains with their keys: one, or one for each kind of key.
    pub certificates: Vec<Certificate>,
}

/// A certificate chain, the server's own first, and its key in PKCS #8; all in DER.
#[derive(Debug)]
pub struct Certificate {
    /// The server's own, then those that lead to a root.
    pub chain: Vec<Vec<u8>>,
    /// The private key of the first.
    pub key: Vec<u8>,
}

/// Whose certificates are asked for.
#[derive(Debug)]
pub struct ClientAuth {
    /// Certificates of those who may have issued one, in DER.
    pub authorities: Vec<Vec<u8>>,
    /// Whether who has none that is valid is refused.
    pub required: bool,
}

/// Everything that a configuration is made of.
#[derive(Debug)]
pub struct Settings {
    /// The default, and those for certain host names.
    pub identities: Vec<Identity>,
    /// `None` asks clients for nothing.
    pub client_auth: Option<ClientAuth>,
    /// The oldest version that is spoken.
    pub min_version: Version,
    /// The newest version that is spoken.
    pub max_version: Version,
    /// Names of cipher suites; all where it is empty.
    pub ciphers: Vec<String>,
}

/// A configuration, ready for connections.
#[derive(Debug)]
pub struct TlsConfig {
    /// What rustls works with.
    pub(super) server: Arc<ServerConfig>,
    /// Tells whether a client's certificate is valid, where one is asked for; also where who has
    /// none is let in.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether who has none that is valid is refused.
    required: bool,
}

/// What is wrong with some settings: a sentence, without any secret.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TlsConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// Where a key is of a kind that is not known, an authority cannot be one, or nothing is left
    /// that could be spoken.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let provider = Arc::new(provider(&settings.ciphers)?);
        let versions = versions(&settings);
        let required = settings.client_auth.as_ref().is_some_and(|auth| auth.required);
        let verifier = settings.client_auth.map(|auth| verifier(auth, &provider)).transpose()?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| {
                ConfigError(
                    "none of the cipher suites is one of the versions that are allowed".into(),
                )
            })?;
        let builder = match &verifier {
            Some(verifier) if required => builder.with_client_cert_verifier(verifier.clone()),
            Some(verifier) => {
                builder.with_client_cert_verifier(Arc::new(Lenient(verifier.clone())))
            }
            None => builder.with_no_client_auth(),
        };
        let resolver = Identities::new(settings.identities, &provider)?;
        let mut server = builder.with_cert_resolver(Arc::new(resolver));
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Keys that change every six hours; so a restart, or new certificates, ends all tickets.
        server.ticketer =
            Ticketer::new().map_err(|error| ConfigError(format!("no tickets: {error}")))?;
        Ok(Self { server: Arc::new(server), verifier, required })
    }

    /// Whether clients without a valid certificate are refused.
    pub fn requires_certificates(&self) -> bool {
        self.required
    }
}

fn provider(ciphers: &[String]) -> Result<CryptoProvider, ConfigError> {
    let mut provider = default_provider();
    if !ciphers.is_empty() {
        provider.cipher_suites = ciphers
            .iter()
            .map(|name| {
                let known = CIPHER_SUITES.iter().find(|(known, _)| known == name);
                known.map(|(_, suite)| *suite).ok_or_else(|| {
                    let all: Vec<_> = cipher_names().collect();
                    // Something else that has got here by mistake may be a secret.
                    let name = if could_be_a_name(name) { name } else { "what is given" };
                    ConfigError(format!("{name} is no cipher suite; there are {}", all.join(", ")))
                })
            })
            .collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

fn could_be_a_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() <= 64 && text.bytes().all(is_part)
}

fn versions(settings: &Settings) -> Vec<&'static SupportedProtocolVersion> {
    [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)]
        .into_iter()
        .filter(|(version, _)| (settings.min_version..=settings.max_version).contains(version))
        .map(|(_, supported)| supported)
        .collect()
}

/// Chooses what to present by the name that a client asks for (RFC 6066 §3) and by the signatures
/// that it knows.
#[derive(Debug)]
struct Identities {
    by_host: FxHashMap<String, Vec<Arc<CertifiedKey>>>,
    others: Vec<Arc<CertifiedKey>>,
}

impl Identities {
    fn new(identities: Vec<Identity>, provider: &CryptoProvider) -> Result<Self, ConfigError> {
        let mut by_host = FxHashMap::default();
        let mut others = Vec::new();
        for Identity { name, host, certificates } in identities {
            let keys = certificates
                .into_iter()
                .map(|certificate| certified(certificate, provider))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|reason| ConfigError(format!("{name}: {reason}")))?;
            match host {
                Some(host) => drop(by_host.insert(host.to_ascii_lowercase(), keys)),
                None => others = keys,
            }
        }
        Ok(Self { by_host, others })
    }

    /// An exact name comes before one with `*` for its first label.
    fn of_host(&self, host: Option<&str>) -> &[Arc<CertifiedKey>] {
        let found = host.and_then(|host| {
            let host = host.to_ascii_lowercase();
            let parent = host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            self.by_host.get(&host).or_else(|| self.by_host.get(&parent?))
        });
        found.unwrap_or(&self.others)
    }
}

thread_local! {
    /// The host name that the client asked for whose records are being processed. The only way to it
    /// out of rustls' unbuffered connections, which resolve within the call and on its thread.
    static SERVER_NAME: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// The host name in the hello of a client that has just been processed on this thread.
pub(super) fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SERVER_NAME.set(hello.server_name().map(Box::from));
        let keys = self.of_host(hello.server_name());
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        keys.iter().find(fits).cloned()
    }
}

fn certified(
    Certificate { chain, key }: Certificate,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, &'static str> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        "the private key is of a kind that is not supported: ECDSA with P-256 or P-384, Ed25519, and RSA with 2048 to 8192 bits are"
    })?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

fn verifier(
    ClientAuth { authorities, .. }: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from(authority)).map_err(|error| {
            ConfigError(format!("a certificate of an authority cannot be used: {error}"))
        })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    builder.build().map_err(|error| ConfigError(format!("clients cannot be verified: {error}")))
}

/// Lets everybody in, whatever they present; it has to be theirs, though. What it is worth is told
/// once the handshake is over.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Why a client is not authorized, by the name that OpenSSL, and so Node, has for it.
pub(super) fn authorization_error(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "CERT_HAS_EXPIRED"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "CERT_NOT_YET_VALID"
            }
            CertificateError::UnknownIssuer => "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            CertificateError::BadSignature => "CERT_SIGNATURE_FAILURE",
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "INVALID_PURPOSE"
            }
            _ => "CERT_REJECTED",
        },
        _ => "CERT_REJECTED",
    }
}
