"""The conversation with the regulator: what it orders becomes the list, and what became of it is confirmed.

A message comes in (feed, mqtt), is read (intake, contract, jws), passes the gate, and is one transaction in the ledger
with its rules, its revision and its confirmation; the outbox sends that until the receipt comes, the publisher brings
the list to Redis. Pure: contract, codes, intake, gate, order_life, journal. Begin with sync/contract.py for what is
said, sync/order_life.py for what follows, sync/ledger for what is true.
"""
