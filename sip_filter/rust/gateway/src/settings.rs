//! The gateway's settings, from JSON: every error names the key, the value and what is allowed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use palang_core::clause::trunk_key;
use palang_core::decision::TrunkMode;
use palang_core::health::Checks;
use palang_core::identity::Terms;
use palang_core::keys::Keys;
use palang_core::manners::{Bucket, Manners, Role, Tally};
use palang_core::own_plan::Row;
use palang_core::plan::{Plan, EDITIONS};
use palang_core::refusal::Refusal;
use palang_core::setup::{Hop, Network, Response, Setup, Trunk};
use palang_core::tls_name::TlsName;
use palang_core::transport::{Local, Transport};
use serde_json::{Map, Value};

use crate::drain::Drain;
use crate::stream::{Limits, Terms as StreamTerms};
use crate::{tls, tls_client};
use redress::RedressRow;

/// A message for a person: `trunks[0].plan: "x" is not a dial plan (…)`.
pub type Wrong = String;

/// What `Gateway` is told. Valid by construction.
pub struct Settings {
    pub listen: Vec<Local>,
    /// Threads for each address listened on.
    pub workers: usize,
    keys: Keys,
    protected: Vec<Box<[u8]>>,
    trunks: Vec<TrunkRow>,
    pub hops: Vec<Hop>,
    /// Of each next hop over TLS, in their order.
    hops_tls: Vec<Option<tls_client::Files>>,
    limits: Limits,
    tls: Option<tls::Files>,
    record_route: bool,
    label: Box<[u8]>,
    bypass: bool,
    count_traffic: bool,
    redress: RedressRow,
    checks: Checks,
    /// No setting: what people said since the start.
    pub drain: Drain,
}

#[derive(Clone)]
struct TrunkRow {
    name: String,
    sources: Vec<Network>,
    port: Option<u16>,
    tls_names: Vec<TlsName>,
    terms: Terms,
    mode: TrunkMode,
    response: Response,
    messages: bool,
    manners: Manners,
}

impl Settings {
    pub fn parse(text: &str) -> Result<Settings, Wrong> {
        let value = serde_json::from_str(text).map_err(|error| format!("settings are not JSON: {error}"))?;
        let mut top = Table::of(value, "")?;
        top.optional("node", |value, key| string(value, &key))?; // The agent's name for us; nothing here tells it.
        let listen = top.list("listen", listen_address)?;
        if listen.is_empty() {
            return Err(
                "listen: [] names no address; give at least one, such as \"udp:192.0.2.1:5060\"".into(),
            );
        }
        let plans = top.list("plans", own_plan)?;
        unique("plans", plans.iter().map(|plan| plan.edition().name))?;
        let tls = top.optional("tls", |value, key| tls_files(Table::of(value, key)?))?;
        let has = |transport| listen.iter().any(|local: &Local| local.transport == transport);
        if !has(Transport::Udp) {
            return Err(format!(
                "listen: {:?} names no udp: address; one is needed",
                listen.iter().map(Local::to_string).collect::<Vec<_>>()
            ));
        }
        if has(Transport::Tls) && tls.is_none() {
            return Err("tls: missing; a tls: address in listen needs tls.certificate and tls.key".into());
        }
        let (hops, hops_tls): (Vec<_>, Vec<_>) = top
            .list("next_hops", |value, key| hops::hop(Table::of(value, key)?))?
            .into_iter()
            .unzip();
        hops::check_listen(&hops, &listen)?;
        let settings = Settings {
            listen,
            limits: top
                .optional("streams", |value, key| limits(Table::of(value, key)?))?
                .unwrap_or(LIMITS),
            tls,
            workers: top.whole("workers", 1..=64)?.unwrap_or(1) as usize,
            keys: top.required("key", keys::read)?,
            protected: top.list("protected", short_code)?,
            trunks: top.list("trunks", |value, key| trunk(Table::of(value, key)?, &plans))?,
            hops,
            hops_tls,
            record_route: top.flag("record_route")?.unwrap_or(false),
            label: top
                .optional("label", label)?
                .unwrap_or_else(|| b"[Spam?]"[..].into()),
            bypass: top.flag("bypass")?.unwrap_or(false),
            count_traffic: top.flag("count_traffic")?.unwrap_or(true),
            redress: top
                .optional("redress", |value, key| RedressRow::read(Table::of(value, key)?))?
                .unwrap_or_default(),
            checks: top
                .optional("checks", |value, key| checks(Table::of(value, key)?))?
                .unwrap_or_default(),
            drain: Drain::default(),
        };
        top.finish()?;
        settings.redress.check(&settings.trunks)?;
        let has_client_ca = settings
            .tls
            .as_ref()
            .is_some_and(|files| files.client_ca.is_some());
        peers::check(&settings.trunks, &settings.listen, has_client_ca)?;
        unique("trunks", settings.trunks.iter().map(|trunk| trunk.name.as_str()))?;
        unique("next_hops", settings.hops.iter().map(|hop| &*hop.name))?;
        Ok(settings)
    }

    /// Takes over what is known of trunks and next hops that stay: counts and health are not settings.
    pub fn adopt(&mut self, old: &Settings, retired: &[Hop]) {
        self.redress.term = old.redress.term.clone();
        self.drain = old.drain.clone();
        self.drain.keep(&self.hops);
        for trunk in &mut self.trunks {
            if let Some(known) = old.trunks.iter().find(|known| known.name == trunk.name) {
                trunk.manners.tally = known.manners.tally.clone();
                trunk.manners.bucket = known.manners.bucket.clone();
            }
        }
        for hop in &mut self.hops {
            let mut known = old.hops.iter().chain(retired);
            if let Some(known) = known.find(|known| known.id() == hop.id()) {
                hop.health = known.health.clone();
            }
        }
    }

    /// How many trunks there are.
    pub fn trunks(&self) -> usize {
        self.trunks.len()
    }

    /// The element's setup, once the sockets are bound. `retired` hops serve calls that are on course.
    pub fn setup(&self, locals: Vec<Local>, retired: Vec<Hop>) -> Setup {
        let trunks = self.trunks.iter().cloned().map(|row| Trunk {
            key: trunk_key(&row.name),
            name: row.name.into(),
            sources: row.sources,
            port: row.port,
            tls_names: row.tls_names,
            terms: row.terms,
            mode: row.mode,
            response: row.response,
            messages: row.messages,
            manners: row.manners,
        });
        Setup {
            locals,
            keys: self.keys.clone(),
            trunks: trunks.collect(),
            hops: self.drain.over(&self.hops),
            drain: self.drain.node,
            retired,
            protected: self.protected.clone(),
            record_route: self.record_route,
            label: self.label.clone(),
            bypass: self.bypass,
            count_traffic: self.count_traffic,
            redress: self.redress.redress(),
            checks: self.checks,
        }
    }

    /// What connections are under. Reads the files of `tls`.
    pub fn stream_terms(&self) -> Result<StreamTerms, Wrong> {
        let mut clients = HashMap::new();
        for (i, (hop, files)) in self.hops.iter().zip(&self.hops_tls).enumerate() {
            if let Some(files) = files {
                let client = tls_client::load(files, &format!("next_hops[{i}]"))?;
                clients.insert(hop.address, client);
            }
        }
        Ok(StreamTerms {
            limits: self.limits,
            tls: self.tls.as_ref().map(tls::load).transpose()?,
            clients,
        })
    }
}

const LIMITS: Limits = Limits {
    idle: Duration::from_secs(600),
    message: Duration::from_secs(10),
    handshake: Duration::from_secs(5),
    per_source: 64,
    total: 1024,
};

fn limits(mut row: Table) -> Result<Limits, Wrong> {
    let seconds = |count: Option<u64>, default| count.map_or(default, Duration::from_secs);
    let limits = Limits {
        idle: seconds(row.whole("idle_seconds", 1..=86_400)?, LIMITS.idle),
        message: seconds(row.whole("message_seconds", 1..=30)?, LIMITS.message),
        handshake: seconds(row.whole("handshake_seconds", 1..=5)?, LIMITS.handshake),
        per_source: row
            .whole("per_source", 1..=100_000)?
            .map_or(LIMITS.per_source, |n| n as usize),
        total: row
            .whole("total", 1..=100_000)?
            .map_or(LIMITS.total, |n| n as usize),
    };
    row.finish()?;
    Ok(limits)
}

fn tls_files(mut row: Table) -> Result<tls::Files, Wrong> {
    let path = |value, key: String| string(value, &key).map(PathBuf::from);
    let files = tls::Files {
        certificate: row.required("certificate", path)?,
        key: row.required("key", path)?,
        client_ca: row.optional("client_ca", path)?,
    };
    row.finish()?;
    Ok(files)
}

fn trunk(mut row: Table, plans: &[Plan]) -> Result<TrunkRow, Wrong> {
    let trunk = TrunkRow {
        name: row.required("name", |value, key| {
            let name = string(value, &key)?;
            let fits = (1..=32).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            match fits {
                true => Ok(name),
                false => Err(format!(
                    "{key}: {name:?} is not a trunk name (1 to 32 of a-z, 0-9, -)"
                )),
            }
        })?,
        sources: row.list("sources", network)?,
        port: row.whole("port", 1..=65_535)?.map(|port| port as u16),
        tls_names: row.list("tls_names", peers::tls_name)?,
        terms: Terms {
            plan: row.required("plan", |value, key| {
                plan_named(&string(value, &key)?, plans).map_err(|wrong| format!("{key}: {wrong}"))
            })?,
            trusted: row.flag("trusted")?.unwrap_or(false),
            rpid: row.flag("rpid")?.unwrap_or(false),
        },
        mode: row.choice("mode", &MODES)?.unwrap_or(TrunkMode::Enforce),
        response: row.choice("response", &RESPONSES)?.unwrap_or(Response::Decline),
        messages: row.flag("message")?.unwrap_or(true),
        manners: manners(&mut row)?,
    };
    if trunk.sources.is_empty() {
        return Err(format!(
            "{}sources: [] names no network; nothing could come on this trunk",
            row.prefix()
        ));
    }
    row.finish()?;
    Ok(trunk)
}

/// The plan of a name, a built-in one or one of `own`. Err: the name and those that are known.
pub fn plan_named(name: &str, own: &[Plan]) -> Result<Plan, Wrong> {
    let found = own.iter().find(|plan| plan.edition().name == name).copied();
    found.or_else(|| Plan::named(name)).ok_or_else(|| {
        let names = EDITIONS.iter().chain(own.iter().map(|plan| plan.edition()));
        let known: Vec<_> = names.map(|edition| edition.name).collect();
        format!("{name:?} is not a dial plan (known: {})", known.join(", "))
    })
}

/// The plans of an operator's own, from a JSON list of their rows.
pub fn own_plans(text: &str) -> Result<Vec<Plan>, Wrong> {
    let value = serde_json::from_str(text).map_err(|error| format!("plans are not JSON: {error}"))?;
    let mut top = Table::of(Value::Object(Map::from_iter([("plans".to_owned(), value)])), "")?;
    top.list("plans", own_plan)
}

fn own_plan(value: Value, key: String) -> Result<Plan, Wrong> {
    let mut row = Table::of(value, key)?;
    let codes = |value, key: String| string(value, &key);
    let plan = Row {
        name: row.required("name", |value, key| string(value, &key))?,
        effective: row.required("effective", |value, key| string(value, &key))?,
        source: row
            .optional("source", |value, key| string(value, &key))?
            .unwrap_or_default(),
        international_prefixes: row.list("international_prefixes", codes)?,
        country_code: row.optional("country_code", |value, key| string(value, &key))?,
        trunk_prefixes: row.list("trunk_prefixes", codes)?,
        carrier_prefixes: row.list("carrier_prefixes", codes)?,
        bare_prefixes: row.list("bare_prefixes", codes)?,
        first_digits: row
            .optional("first_digits", |value, key| string(value, &key))?
            .unwrap_or_else(|| "123456789".to_owned()),
    };
    let plan = plan.plan().map_err(|wrong| format!("{}{wrong}", row.prefix()))?;
    row.finish()?;
    Ok(plan)
}

const MODES: [(&str, TrunkMode); 3] = [
    ("enforce", TrunkMode::Enforce),
    ("shadow", TrunkMode::Shadow),
    ("off", TrunkMode::Off),
];
const RESPONSES: [(&str, Response); 4] = [
    ("603", Response::Decline),
    ("603+", Response::NetworkBlocked),
    ("608", Response::Rejected),
    ("403", Response::Forbidden),
];
const PASSES: [(&str, Refusal); 2] = [("404", Refusal::NotFound), ("302", Refusal::Moved)];
const SHEDS: [(&str, Refusal); 2] = [("500", Refusal::Busy), ("480", Refusal::Unavailable)];

fn manners(row: &mut Table) -> Result<Manners, Wrong> {
    let is_dip = row.choice("role", &[("interconnect", false), ("dip", true)])?;
    let pass = row.choice("dip_pass", &PASSES)?.unwrap_or(Refusal::NotFound);
    Ok(Manners {
        role: match is_dip {
            Some(true) => Role::Dip { pass },
            _ => Role::Interconnect,
        },
        max_per_s: row.whole("max_per_s", 1..=1_000_000)?.map(|most| most as u32),
        bucket: Bucket::default(),
        shed: row.choice("shed", &SHEDS)?.unwrap_or(Refusal::Busy),
        label_from: row.flag("label_from")?.unwrap_or(false),
        tally: Tally::default(),
    })
}

fn checks(mut row: Table) -> Result<Checks, Wrong> {
    let checks = Checks {
        every: row.whole("seconds", 0..=300)?.unwrap_or(0) * 1000,
        misses: row.whole("misses", 1..=10)?.unwrap_or(2) as u32,
    };
    row.finish()?;
    Ok(checks)
}

fn listen_address(value: Value, key: String) -> Result<Local, Wrong> {
    let text = string(value, &key)?;
    let local = text
        .parse::<Local>()
        .ok()
        .filter(|local| text.starts_with(local.transport.name()));
    match local {
        Some(local) if local.address.ip().is_unspecified() => Err(format!(
            "{key}: {text:?} is no address that a Via can name; give the one that peers send to"
        )),
        Some(local) => Ok(local),
        None => Err(format!(
            "{key}: {text:?} is not of the form \"udp:192.0.2.1:5060\", \"tcp:…\" or \"tls:…\""
        )),
    }
}

fn network(value: Value, key: String) -> Result<Network, Wrong> {
    let text = string(value, &key)?;
    Network::parse(&text).ok_or(format!(
        "{key}: {text:?} is not a network, such as \"192.0.2.0/24\""
    ))
}

fn short_code(value: Value, key: String) -> Result<Box<[u8]>, Wrong> {
    let text = string(value, &key)?;
    match (2..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.into_bytes().into()),
        false => Err(format!("{key}: {text:?} is not a short code (2 to 15 digits)")),
    }
}

fn label(value: Value, key: String) -> Result<Box<[u8]>, Wrong> {
    let text = string(value, &key)?;
    let fits = (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b' '..=b'~') && !b"\"\\".contains(&b));
    match fits {
        true => Ok(text.into_bytes().into()),
        false => Err(format!(
            "{key}: {text:?} can't stand in a display name (1 to 32 of ASCII without \" and \\)"
        )),
    }
}

fn string(value: Value, key: &str) -> Result<String, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("{key}: {other} is not a string")),
    }
}

fn unique<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Wrong> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{key}: the name {name:?} occurs twice"));
        }
    }
    Ok(())
}

/// A JSON object whose keys are taken one by one; what is left at the end is unknown.
struct Table {
    rows: Map<String, Value>,
    path: String,
    known: Vec<&'static str>,
}

impl Table {
    fn of(value: Value, path: impl Into<String>) -> Result<Table, Wrong> {
        let path = path.into();
        match value {
            Value::Object(rows) => Ok(Table {
                rows,
                path,
                known: Vec::new(),
            }),
            other => Err(format!(
                "{}: {other} is not an object",
                if path.is_empty() { "settings" } else { &path }
            )),
        }
    }

    fn prefix(&self) -> String {
        if self.path.is_empty() {
            String::new()
        } else {
            format!("{}.", self.path)
        }
    }

    fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value, String) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Wrong> {
        self.known.push(key);
        let path = format!("{}{key}", self.prefix());
        match self.rows.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value, path).map(Some),
        }
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value, String) -> Result<T, Wrong>,
    ) -> Result<T, Wrong> {
        let path = format!("{}{key}", self.prefix());
        self.optional(key, read)?.ok_or(format!("{path}: missing"))
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(Value, String) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, Wrong> {
        let items = self.optional(key, |value, path| match value {
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(i, item)| read(item, format!("{path}[{i}]")))
                .collect(),
            other => Err(format!("{path}: {other} is not a list")),
        })?;
        Ok(items.unwrap_or_default())
    }

    fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Wrong> {
        self.optional(key, |value, path| {
            value
                .as_bool()
                .ok_or(format!("{path}: {value} is neither true nor false"))
        })
    }

    fn whole(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Wrong> {
        self.optional(key, |value, path| {
            value.as_u64().filter(|n| range.contains(n)).ok_or_else(|| {
                format!(
                    "{path}: {value} is not a whole number from {} to {}",
                    range.start(),
                    range.end()
                )
            })
        })
    }

    fn choice<T: Copy>(&mut self, key: &'static str, rows: &[(&str, T)]) -> Result<Option<T>, Wrong> {
        self.optional(key, |value, path| {
            let chosen = rows
                .iter()
                .find(|(name, _)| value.as_str() == Some(name))
                .map(|(_, choice)| *choice);
            let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
            chosen.ok_or(format!("{path}: {value} is none of {}", names.join(", ")))
        })
    }

    fn finish(self) -> Result<(), Wrong> {
        match self.rows.iter().next() {
            None => Ok(()),
            Some((key, value)) => Err(format!(
                "{}{key}: unknown key (value {value}); known: {}",
                self.prefix(),
                self.known.join(", ")
            )),
        }
    }
}

mod hops;
mod keys;
mod peers;
mod redress;
#[cfg(test)]
mod tests;
