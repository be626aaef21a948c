"""Traffic: what the nodes counted, kept for a week, and turned into what a rule would do.

The nodes count exactly and without numbers (calls by the first four digits, trunk and minute; distinct callers as
sketches). Pure: `width` (is a rule wide?), `preview` (what would it match?), `brake` (does it stop more than it
promised?). Edges: `store` (an SQLite file of derived figures), `collector` (asks the nodes).
"""
