"""What must be on record beyond the ledger's row."""
