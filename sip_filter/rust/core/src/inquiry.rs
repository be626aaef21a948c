//! The question that gateway and hook share: who calls, and what the list says of them.

use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::counter::Counter;
use crate::decision::{judge, Judgement, Kind, ListView, TrunkScope};
use crate::identity::{callers, is_protected, Callers, Terms};
use crate::message::{Fault, Message};

/// What a request is judged by, besides the list.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub terms: &'a Terms,
    pub scope: TrunkScope,
    /// Callees that always pass.
    pub protected: &'a [Box<[u8]>],
}

/// What came of a question.
pub struct Finding {
    /// `Judged`, or why the request passes unjudged.
    pub outcome: Counter,
    /// Whom the indexes of `judgement` mean.
    pub callers: Callers,
    pub judgement: Option<Judgement>,
}

/// Judges an out-of-dialog call or short message. Without a list everything passes.
///
/// Err: more identities than are read.
pub fn ask<L: ListView>(
    message: &Message<'_>,
    kind: Kind,
    ground: &Ground<'_>,
    list: Option<&L>,
) -> Result<Finding, Fault> {
    if is_protected(message, ground.protected) {
        return Ok(Finding::unjudged(Counter::Protected, Callers::none()));
    }
    if list.is_none() {
        return Ok(Finding::unjudged(Counter::NoList, Callers::none()));
    }
    let callers = callers(message, kind, ground.terms, &mut ())?;
    Ok(ask_of(callers, kind, ground.scope, list))
}

/// Judges callers that are known already. Protected callees are the asker's business.
pub fn ask_of<L: ListView>(callers: Callers, kind: Kind, scope: TrunkScope, list: Option<&L>) -> Finding {
    let Some(list) = list else {
        return Finding::unjudged(Counter::NoList, callers);
    };
    if callers.as_slice().is_empty() {
        return Finding::unjudged(Counter::Anonymous, callers);
    }
    // A fault in the list must stop no call.
    match catch_unwind(AssertUnwindSafe(|| judge(list, callers.as_slice(), &scope, kind))) {
        Ok(judgement) => Finding {
            outcome: Counter::Judged,
            callers,
            judgement: Some(judgement),
        },
        Err(_) => Finding::unjudged(Counter::JudgeError, callers),
    }
}

impl Finding {
    pub fn unjudged(why: Counter, callers: Callers) -> Finding {
        Finding {
            outcome: why,
            callers,
            judgement: None,
        }
    }
}
