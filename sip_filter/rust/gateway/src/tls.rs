//! The TLS side of a listener: certificate, key and, for mutual TLS, the authorities that clients' certificates need.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palang_core::tls_name::{domains, TlsName};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use webpki::EndEntityCert;

use crate::settings::Wrong;

/// PEM files; read again whenever the settings are.
#[derive(Clone)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Set: a client must show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
}

/// Reads the files. TLS 1.2 and 1.3; older versions and renegotiation don't exist here.
pub fn load(files: &Files) -> Result<Arc<ServerConfig>, Wrong> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates("tls.certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("tls.key: {}: {error}", files.key.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let wrong = |error: &dyn std::fmt::Display| format!("tls.client_ca: {}: {error}", path.display());
            let mut roots = RootCertStore::empty();
            for authority in certificates("tls.client_ca", path)? {
                roots.add(authority).map_err(|error| wrong(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(&error))?)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        format!(
            "tls.certificate: {} with tls.key {}: {error}",
            files.certificate.display(),
            files.key.display()
        )
    })?;
    Ok(Arc::new(config))
}

/// What a verified certificate says of its owner: its SIP domains, and which of the addresses `asked` for it names.
pub fn names(certificate: &CertificateDer<'_>, asked: impl Iterator<Item = IpAddr>) -> Vec<TlsName> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let mut found = domains(certificate.valid_uri_names(), certificate.valid_dns_names());
    let is_named = |address: &IpAddr| {
        let name = ServerName::IpAddress((*address).into());
        certificate.verify_is_valid_for_subject_name(&name).is_ok()
    };
    found.extend(asked.filter(is_named).map(TlsName::Address));
    found
}

pub fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(format!("{setting}: {} holds no certificate", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{setting}: {}: {error}", path.display())),
    }
}
