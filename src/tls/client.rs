//! TLS with a server that this one is a client of: a broker.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Error, RootCertStore};

/// A client that trusts servers with a certificate of one of `roots`, and has a certificate chain of its
/// own where there is a key. All are DER, the key PKCS #8.
///
/// # Errors
/// Where none of the roots can be one, or the key is of a kind that is not known.
pub fn client(
    roots: Vec<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    key: Option<Vec<u8>>,
) -> Result<ClientConfig, Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.into_iter().map(CertificateDer::from));
    if store.is_empty() {
        return Err(Error::General("no certificate in \"ca\" can be an authority".into()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store);
    match key {
        None => Ok(builder.with_no_client_auth()),
        Some(key) => builder.with_client_auth_cert(
            chain.into_iter().map(CertificateDer::from).collect(),
            PrivateKeyDer::Pkcs8(key.into()),
        ),
    }
}
