//! The TLS side of connections that we open: whom a next hop must prove to be, and our certificate if it wants one.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::settings::Wrong;
use crate::tls::certificates;

/// What a next hop's settings say; PEM files, read again whenever the settings are.
#[derive(Clone)]
pub struct Files {
    /// The name that its certificate must carry: a host name or an IP address.
    pub server_name: String,
    pub ca: PathBuf,
    /// Certificate and key of ours.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// All that opening one connection needs.
#[derive(Clone)]
pub struct Client {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

/// Reads the files. `key` is the place in the settings, for errors.
pub fn load(files: &Files, key: &str) -> Result<Client, Wrong> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates(&format!("{key}.ca"), &files.ca)? {
        roots
            .add(authority)
            .map_err(|error| format!("{key}.ca: {}: {error}", files.ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("{key}: {error}"))?
        .with_root_certificates(roots);
    let config = match &files.own {
        None => builder.with_no_client_auth(),
        Some((certificate, private)) => {
            let chain = certificates(&format!("{key}.certificate"), certificate)?;
            let private = PrivateKeyDer::from_pem_file(private)
                .map_err(|error| format!("{key}.key: {}: {error}", private.display()))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| format!("{key}.certificate: {}: {error}", certificate.display()))?
        }
    };
    let name = ServerName::try_from(files.server_name.clone()).map_err(|_| {
        format!(
            "{key}.server_name: {:?} is no host name or IP address",
            files.server_name
        )
    })?;
    Ok(Client {
        config: Arc::new(config),
        name,
    })
}
