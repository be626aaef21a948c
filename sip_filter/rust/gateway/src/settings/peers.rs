//! What tells one trunk from another: network, port, and the names that its certificate shows.

use palang_core::setup::Network;
use palang_core::tls_name::TlsName;
use palang_core::transport::{Local, Transport};
use serde_json::Value;

use super::{string, TrunkRow, Wrong};

pub fn tls_name(value: Value, key: String) -> Result<TlsName, Wrong> {
    let text = string(value, &key)?;
    TlsName::parse(&text).ok_or(format!(
        "{key}: {text:?} is no name to know a peer by; give a domain such as \"sip.carrier.example\" or an IP address, \
         without user, port or wildcard"
    ))
}

/// Whether every message can be only one trunk's. Err: where it can't, and what to do.
pub fn check(trunks: &[TrunkRow], listen: &[Local], has_client_ca: bool) -> Result<(), Wrong> {
    let hears = |transport| listen.iter().any(|local| local.transport == transport);
    let can_verify = hears(Transport::Tls) && has_client_ca;
    let streams = hears(Transport::Tcp) || hears(Transport::Tls);
    for (i, trunk) in trunks.iter().enumerate() {
        if !trunk.tls_names.is_empty() && !can_verify {
            return Err(format!(
                "trunks[{i}].tls_names: needs a tls: address in listen, and tls.client_ca to verify certificates"
            ));
        }
        if let (false, Some(port)) = (trunk.tls_names.is_empty(), trunk.port) {
            return Err(format!(
                "trunks[{i}].port: {port} is of datagrams; with tls_names it has connections only"
            ));
        }
        for other in &trunks[..i] {
            for network in trunk.sources.iter().filter(|network| has(other, network)) {
                let portless = |trunk: &TrunkRow| {
                    trunk.tls_names.is_empty() && trunk.port.is_none() && has(trunk, network)
                };
                let by_connection = streams && !trunks.iter().any(portless);
                if let Some(advice) = confusion(trunk, other, by_connection) {
                    return Err(format!(
                        "trunks[{i}].sources: {network} is of trunk {:?} too; {advice}",
                        other.name
                    ));
                }
            }
        }
    }
    Ok(())
}

fn has(trunk: &TrunkRow, network: &Network) -> bool {
    trunk.sources.iter().any(|own| own.is_same(network))
}

/// What to do about two trunks of one network that can't be told apart; None: they can.
fn confusion(one: &TrunkRow, other: &TrunkRow, by_connection: bool) -> Option<&'static str> {
    match (one.tls_names.is_empty(), other.tls_names.is_empty()) {
        (false, false) => {
            let shared = one.tls_names.iter().any(|name| other.tls_names.contains(name));
            shared.then_some("give each tls_names of its own")
        }
        (true, true) if one.port == other.port => Some("give each a port or tls_names of its own"),
        (true, true) if by_connection && one.port.is_some() && other.port.is_some() => Some(
            "a port tells datagrams apart, not connections: give one of them tls_names, or the network to a trunk \
             without port as well",
        ),
        _ => None,
    }
}
