//! What a person takes out of service while we run: the node, or next hops of it. It outlives settings, not the process.

use palang_core::setup::Hop;

#[derive(Clone, Default)]
pub struct Drain {
    pub node: bool,
    hops: Vec<Box<str>>,
}

impl Drain {
    /// Takes the node, or a next hop, out of service or back. Err: there is no such hop, or the settings drain it.
    pub fn set(&mut self, hop: Option<&str>, out: bool, hops: &[Hop]) -> Result<(), String> {
        let Some(name) = hop else {
            self.node = out;
            return Ok(());
        };
        let Some(hop) = hops.iter().find(|hop| &*hop.name == name) else {
            let known: Vec<_> = hops.iter().map(|hop| &*hop.name).collect();
            let known = known.join(", ");
            return Err(format!("next hop {name:?} is not configured (known: {known})"));
        };
        if hop.drain && !out {
            return Err(format!(
                "next hop {name:?} is drained by the settings (gateway.next_hops.drain); change it there"
            ));
        }
        self.hops.retain(|drained| **drained != *name);
        if out {
            self.hops.push(name.into());
        }
        Ok(())
    }

    /// Forgets hops that are no longer there.
    pub fn keep(&mut self, hops: &[Hop]) {
        self.hops.retain(|name| hops.iter().any(|hop| hop.name == *name));
    }

    /// The next hops as they are used.
    pub fn over(&self, hops: &[Hop]) -> Vec<Hop> {
        let used = hops.iter().cloned().map(|hop| Hop {
            drain: hop.drain || self.hops.contains(&hop.name),
            ..hop
        });
        used.collect()
    }
}
