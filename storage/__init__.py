"""What processes share: object stores and the ledger over them; bells, leases and progress in Redis."""
