//! Rows of `next_hops`: where a switch is, by which transport, and for TLS whom it must prove to be.

use std::net::SocketAddr;
use std::path::PathBuf;

use palang_core::health::Health;
use palang_core::setup::Hop;
use palang_core::transport::{Local, Transport};
use serde_json::Value;

use super::{network, string, Table, Wrong};
use crate::tls_client::Files;

pub(super) fn hop(mut row: Table) -> Result<(Hop, Option<Files>), Wrong> {
    let Local { transport, address } = row.required("address", hop_address)?;
    let hop = Hop {
        name: row.required("name", |value, key| string(value, &key))?.into(),
        transport,
        address,
        networks: row.list("networks", network)?,
        drain: row.flag("drain")?.unwrap_or(false),
        health: Health::default(),
    };
    let tls = tls(&mut row, transport, address)?;
    row.finish()?;
    Ok((hop, tls))
}

fn hop_address(value: Value, key: String) -> Result<Local, Wrong> {
    let text = string(value, &key)?;
    let found = text.parse::<Local>().ok();
    found
        .filter(|hop| hop.address.port() > 0 && !hop.address.ip().is_unspecified())
        .ok_or(format!(
            "{key}: {text:?} is not an address and port, such as \"192.0.2.1:5060\", \"tcp:…\" or \"tls:…\""
        ))
}

fn tls(row: &mut Table, transport: Transport, address: SocketAddr) -> Result<Option<Files>, Wrong> {
    let path = |value, key: String| string(value, &key).map(PathBuf::from);
    let ca = row.optional("ca", path)?;
    let server_name = row.optional("server_name", |value, key| string(value, &key))?;
    let certificate = row.optional("certificate", path)?;
    let key = row.optional("key", path)?;
    if transport != Transport::Tls {
        return match ca.is_some() || server_name.is_some() || certificate.is_some() || key.is_some() {
            true => Err(format!(
                "{}address: {} is no tls: address; ca, server_name, certificate and key are for those",
                row.prefix(),
                Local { transport, address }
            )),
            false => Ok(None),
        };
    }
    let missing = |name| format!("{}{name}: missing", row.prefix());
    let own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(missing("key")),
        (None, Some(_)) => return Err(missing("certificate")),
    };
    Ok(Some(Files {
        server_name: server_name.unwrap_or_else(|| address.ip().to_string()),
        ca: ca.ok_or_else(|| missing("ca"))?,
        own,
    }))
}

/// Where a connection to a next hop begins: our Via names an address that takes connections, for the hop's own requests
/// and for responses whose connection is gone (RFC 3261 §18.1.1).
pub(super) fn check_listen(hops: &[Hop], listen: &[Local]) -> Result<(), Wrong> {
    for (i, hop) in hops
        .iter()
        .enumerate()
        .filter(|(_, hop)| hop.transport.is_stream())
    {
        let fits = |local: &Local| {
            local.transport == hop.transport && local.address.is_ipv4() == hop.address.is_ipv4()
        };
        if !listen.iter().any(fits) {
            let (name, family) = (
                hop.transport.name(),
                if hop.address.is_ipv4() { "IPv4" } else { "IPv6" },
            );
            return Err(format!(
                "next_hops[{i}].address: {name}:{} needs a {name}: address of {family} in listen, which our Via names",
                hop.address
            ));
        }
    }
    Ok(())
}
