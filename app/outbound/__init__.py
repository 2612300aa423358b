"""Calls to addresses that a stranger named: what may be reached (`allow`, `guard`), and the call itself (`client`)."""
