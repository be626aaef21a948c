//! What a certificate says about who shows it: the SIP domains and addresses that tell one trunk from another.
//!
//! RFC 5922 §7.1 says which of its names count, §7.2 how two are compared: whole, in any case, never by a wildcard.

use std::net::IpAddr;

use crate::via::read_ip;

/// One name of a peer: a domain in lower case, or an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsName {
    Domain(Box<str>),
    Address(IpAddr),
}

/// Longest domain name, and longest part of one between dots (RFC 1035 §2.3.4).
const DOMAIN_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

impl TlsName {
    /// Reads `sip.carrier.example`, `sip:carrier.example`, `192.0.2.9` or `[2001:db8::9]`. No user, port, or wildcard.
    pub fn parse(text: &str) -> Option<TlsName> {
        let name = without_scheme(text).unwrap_or(text);
        if let Some(address) = read_ip(name.as_bytes()) {
            return Some(TlsName::Address(address.to_canonical()));
        }
        let is_label = |label: &str| {
            (1..=LABEL_BYTES).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // What looks like an address and is none must not be taken for a domain.
        let ends_in_letters = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().any(|b| !b.is_ascii_digit()));
        (name.len() <= DOMAIN_BYTES && ends_in_letters && name.split('.').all(is_label))
            .then(|| TlsName::Domain(name.to_ascii_lowercase().into()))
    }
}

/// What follows `sip:`; `sips:` is no identity of a domain (RFC 5922 §7.1).
fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("sip").then_some(rest)
}

/// The domains that a certificate vouches for, from its subjectAltName: those of its `sip:` URIs, and its DNS names
/// only where it has none of these (RFC 5922 §7.1). Names that can't be compared are left out.
pub fn domains<'a>(uris: impl Iterator<Item = &'a str>, dns: impl Iterator<Item = &'a str>) -> Vec<TlsName> {
    let is_domain = |name: &TlsName| matches!(name, TlsName::Domain(_));
    let named: Vec<_> = uris
        .filter(|uri| without_scheme(uri).is_some())
        .filter_map(TlsName::parse)
        .filter(is_domain)
        .collect();
    match named.is_empty() {
        false => named,
        true => dns.filter_map(TlsName::parse).filter(is_domain).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> TlsName {
        TlsName::Domain(name.into())
    }

    #[test]
    fn names_are_domains_or_addresses() {
        for (text, name) in [
            ("SIP.Carrier.example", domain("sip.carrier.example")),
            ("sip:carrier.example", domain("carrier.example")),
            ("SIP:xn--bcher-kva.example", domain("xn--bcher-kva.example")),
            ("192.0.2.9", TlsName::Address("192.0.2.9".parse().unwrap())),
            (
                "sip:[2001:DB8::9]",
                TlsName::Address("2001:db8::9".parse().unwrap()),
            ),
            ("::ffff:192.0.2.9", TlsName::Address("192.0.2.9".parse().unwrap())),
        ] {
            assert_eq!(TlsName::parse(text), Some(name), "{text}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            "*.carrier.example",
            ".carrier.example",
            "carrier.example.",
            "a..b",
            "a_b.example",
            "-a.example",
            "büro.example",
            "sips:carrier.example",
            "sip:user@carrier.example",
            "carrier.example:5061",
            "sip:carrier.example;transport=tls",
            "192.0.2.256",
            "192.0.2",
            &long,
        ] {
            assert_eq!(TlsName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sip_uris_go_before_dns_names() {
        let found =
            |uris: &[&'static str], dns: &[&'static str]| domains(uris.iter().copied(), dns.iter().copied());
        assert_eq!(found(&["sip:A.example"], &["b.example"]), [domain("a.example")]);
        // No SIP domain among the URIs: DNS names count, save wildcards.
        let others = ["https://a.example", "sips:a.example", "sip:user@a.example"];
        assert_eq!(
            found(&others, &["*.b.example", "b.example"]),
            [domain("b.example")]
        );
        assert_eq!(found(&[], &["192.0.2.9"]), []);
    }
}
