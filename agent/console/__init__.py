"""The console: the admin API's thin face in HTML, for people at a screen, at night, on a phone, without JavaScript too.

`face(api)` puts the pages beside the API, for one listener. How to add a page:

1. A file in pages/, named after its noun, with a `router`; its module goes into the list in pages/__init__.py.
   A page function takes `page: ThePage` (someone is signed in) or `page: GuestPage` (nobody needs to be), asks the
   API (`await page.api.get("/v1/orders", limit=50)`) and answers `page.show("orders.html", _("Orders"), orders=found)`.
   It never asks the ledger itself: who may do what is decided once, in the API. What the API refuses becomes a page.
2. An act is a plain form that is posted: `return await page.act("POST", "/v1/orders/…/approve", body, to="/orders",
   said=_("Approved."))` tells what came of it in a line on the next page. Each form has `{{ page.token() }}`
   inside, and forms.py refuses what comes without it. A GET never changes anything.
3. A template extends "base.html" and fills `main`; macros for times, masks, pills, pages and forms are in parts.html
   (`{% import "parts.html" as p with context %}`). Everything is escaped; a name that is not there is an error.
   No inline script, style or event handler: the policy in agent/access/edge.py forbids them, also to ourselves.
4. Every text is `_("In English")`, in templates and in Python, with its Indonesian line in words/id/<noun>.toml; a test
   finds what is missing or not used. Values go in as `_("{count} orders", count=n)`.
5. A place in the navigation is a row in nav.py; it appears once the page is there, for those who may see it.

No number in a path, a query, a title or a cookie: what asks for one is a posted form.
"""

from agent.console.app import face

__all__ = ["face"]
