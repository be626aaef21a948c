//! What the element writes down for `traffic`: each new request once, and what became of it.

use super::{Counter, Finding, Kind, Turn, Verdict, What};
use crate::plan::{self, Plan, Reading};
use crate::traffic::Record;
use crate::uri::{self, Uri};

impl Turn<'_> {
    /// A request that was judged, and is no copy of one. What passes unjudged is not counted.
    pub(super) fn record_request(&mut self, index: usize, kind: Kind, verdict: Verdict, finding: &Finding) {
        let is_judged = matches!(
            finding.outcome,
            Counter::Judged | Counter::Anonymous | Counter::JudgeError
        );
        if !is_judged {
            return;
        }
        let trunk = self.trunk(index);
        let callers = finding.callers.as_slice();
        let judgement = finding.judgement.as_ref();
        let decided = judgement.and_then(|judgement| judgement.decided.or(judgement.shadow));
        let first = decided.map_or(0, |(index, _)| index);
        let record = Record {
            now: self.arrival.now,
            trunk: trunk.key,
            transaction: self.transaction,
            caller: callers.get(first).map_or(0, |caller| caller.number.value()),
            callee: self
                .message
                .target
                .map_or(0, |target| callee(&target, trunk.terms.plan)),
            what: match kind {
                Kind::Call => What::Call,
                Kind::Message => What::Message,
            },
            rejected: verdict == Verdict::Reject,
            shadowed: judgement.is_some_and(|judgement| judgement.shadow.is_some()),
            followed: kind == Kind::Call && verdict != Verdict::Reject && !trunk.is_dip(),
            trusted: trunk.terms.trusted,
        };
        let records = &mut self.output.records;
        records.push(record);
        for (_, caller) in callers.iter().enumerate().filter(|(i, _)| *i != first) {
            records.push(Record {
                caller: caller.number.value(),
                what: What::Also,
                ..record
            });
        }
    }

    /// What became of a call.
    pub(super) fn record_event(&mut self, what: What, transaction: u64) {
        if self.element.setup.count_traffic {
            self.output.records.push(Record {
                now: self.arrival.now,
                trunk: 0,
                transaction,
                caller: 0,
                callee: 0,
                what,
                rejected: false,
                shadowed: false,
                followed: false,
                trusted: false,
            });
        }
    }
}

/// Who is called, as far as two callees must differ: a number, or else what stands for the text that was dialled.
fn callee(target: &Uri<'_>, plan: Plan) -> u64 {
    if let Some(number) = plan::plain(target.user) {
        return number.value(); // As nearly all come.
    }
    let mut space = [0; 64];
    let user = uri::unescape(target.user, &mut space).unwrap_or(target.user);
    match plan.read(user, None, &mut ()) {
        Reading::Number(number) => number.value(),
        Reading::Name | Reading::Unreadable if user.is_empty() => 0,
        // FNV-1a, with a bit that no number has.
        Reading::Name | Reading::Unreadable => user.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3) | 1 << 63
        }),
    }
}
