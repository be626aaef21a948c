"""Words of the API as people read them, marked to be shown in their language: states, modes, kinds, verdicts.

A template writes `{{ order.state|label }}`. A noun that brings words of its own adds its rows here.
"""

from typing import Final

from agent.console.words import _

LABELS: Final = {
    # where an order stands
    "held": _("held"),
    "applying": _("applying"),
    "in_force": _("in force"),
    "in_force_partial": _("in force in part"),
    "lifted": _("lifted"),
    "still_blocked_by": _("still blocked"),
    "refused": _("refused"),
    "closed": _("closed"),
    "expired": _("expired"),
    "suspended": _("suspended"),
    "cleared": _("cleared"),
    # where a clearance stands, and why it was opened
    "review": _("in review"),
    "asked": _("waits for two"),
    "kept": _("block kept"),
    "overtaken": _("blocked again"),
    "clarification": _("clarified"),
    "reassigned": _("new subscriber"),
    # what an order demands, where a subject of it stands
    "block": _("block"),
    "unblock": _("unblock"),
    "active": _("active"),
    "superseded": _("superseded"),
    "ended": _("ended"),
    # where a person stands
    "invited": _("invited"),
    # what a rule does
    "reject": _("reject"),
    "allow": _("allow"),
    "label": _("label"),
    "enforce": _("enforce"),
    "shadow": _("shadow"),
    "disabled": _("disabled"),
    "off": _("off"),
    "call": _("calls"),
    "message": _("messages"),
    "both": _("calls and messages"),
    "order": _("order"),
    "advisory": _("advisory"),
    "noc": _("NOC"),
    # what a call would get
    "pass": _("passes"),
    "refuse": _("is refused as malformed"),
    "drop": _("gets no answer"),
    "unjudged": _("is not judged"),
    # what waits for a second person, and where it stands
    "open": _("open"),
    "approved": _("approved"),
    "lapsed": _("lapsed"),
    "withdrawn": _("withdrawn"),
    "all": _("all"),
    "rule.enforce": _("enforce a rule"),
    "order.approve": _("approve an order"),
    "clearance.lift": _("lift a number"),
    "reveal.more": _("reveal a number"),
    # why a rule took a step
    "propose": _("proposed"),
    "person": _("by a person"),
    "countersign": _("countersigned"),
    "expiry": _("its time had come"),
    "brake": _("the brake"),
    "lapse": _("nobody countersigned"),
    "roll_back": _("rolled back"),
    "remove": _("removed"),
    # what the journal says was done
    "message.order": _("order received"),
    "message.receipt": _("receipt received"),
    "message.advisory": _("advisory received"),
    "message.duplicate": _("received again"),
    "order.state": _("state"),
    "order.refuse": _("order refused"),
    "proof": _("proof"),
    "approval.ask": _("second person asked for"),
    "approval.approved": _("approved by a second person"),
    "approval.refused": _("refused by a second person"),
    "approval.lapsed": _("approval lapsed"),
    "approval.withdrawn": _("approval withdrawn"),
    "rule.add": _("rule made"),
    "rule.propose": _("rule proposed"),
    "rule.shadow": _("rule into shadow"),
    "rule.disable": _("rule disabled"),
    "rule.renew": _("rule renewed"),
    "rule.remove": _("rule ended"),
    "rule.mode": _("rule changed"),
    "rule.expired": _("rule expired"),
    "rule.roll_back": _("rule rolled back"),
    "rule.brake": _("rule braked"),
    "rule.lapse": _("rule lapsed to shadow"),
    "node.drain": _("node drained"),
    "node.undrain": _("node back in service"),
    "epoch": _("new epoch"),
    # health
    "healthy": _("healthy"),
    "degraded": _("degraded"),
    "down": _("down"),
}
