//! Where blocked callers can complain, as settings say it.

use palang_core::refusal::{CardTerm, Redress};
use palang_core::setup::Response;
use serde_json::Value;

use super::{string, Table, TrunkRow, Wrong};

/// Longest contact and card URL: a response may be at most 400 bytes longer than its request.
const CONTACT_BYTES: usize = 128;
/// Longest `id` of a 603+ (ATIS-1000099) less the 16 hex digits that we put behind it.
const ID_BYTES: usize = 64 - 16;

/// Where blocked callers can complain.
#[derive(Default)]
pub struct RedressRow {
    contact: Option<(&'static str, String)>,
    id: String,
    card: Option<String>,
    pub term: CardTerm,
}

impl RedressRow {
    pub fn read(mut row: Table) -> Result<RedressRow, Wrong> {
        let mut contact = None;
        for kind in ["url", "tel", "email"] {
            if let Some(value) = row.optional(kind, contact_value)? {
                if let Some((other, _)) = contact.replace((kind, value)) {
                    return Err(format!(
                        "{}{kind}: {other} is set too; 603+ names one contact",
                        row.prefix()
                    ));
                }
            }
        }
        let found = RedressRow {
            contact,
            id: row.optional("id", id_prefix)?.unwrap_or_default(),
            card: row.optional("card_url", contact_value)?,
            term: CardTerm::default(),
        };
        row.finish()?;
        Ok(found)
    }

    pub fn redress(&self) -> Redress {
        let contact = self.contact.as_ref().map(|(kind, value)| (*kind, value.as_str()));
        Redress::new(contact, &self.id, self.card.as_deref(), self.term.clone())
    }

    /// A trunk's response needs what it sends.
    pub fn check(&self, trunks: &[TrunkRow]) -> Result<(), Wrong> {
        for (i, trunk) in trunks.iter().enumerate() {
            let lacks = match trunk.response {
                Response::NetworkBlocked if self.contact.is_none() => {
                    "603+ needs redress.url, .tel or .email"
                }
                Response::Rejected if self.card.is_none() => "608 needs redress.card_url",
                _ => continue,
            };
            return Err(format!("trunks[{i}].response: {lacks}"));
        }
        Ok(())
    }
}

fn contact_value(value: Value, key: String) -> Result<String, Wrong> {
    let text = string(value, &key)?;
    let fits = (1..=CONTACT_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"<>;\\,".contains(&b));
    match fits {
        true => Ok(text),
        false => Err(format!(
            "{key}: {text:?} can't stand in a header field (1 to {CONTACT_BYTES} of ASCII without space \" < > ; , \\)"
        )),
    }
}

fn id_prefix(value: Value, key: String) -> Result<String, Wrong> {
    let text = string(value, &key)?;
    let fits = text.len() <= ID_BYTES
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    match fits {
        true => Ok(text),
        false => Err(format!(
            "{key}: {text:?} is not up to {ID_BYTES} of A-Z, a-z, 0-9, _ and -"
        )),
    }
}
