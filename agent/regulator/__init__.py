"""The stand-in for the regulator: it opens tickets, sends signed orders and answers each confirmation with a receipt.

It speaks only the contract (`sync.contract`, `sync.jws`, `sync.codes`, `sync.mqtt`) and shares nothing else with the
operator's side, so that it judges Palang as a stranger would. Its promises: a message is durable before it is
published, a confirmation is durable before its receipt leaves and before MQTT is acknowledged; so it may be killed
at any moment. `state` keeps its books, `office` runs it, `api` and `cli` are its doors.
"""
