"""What `Ledger` can do, a file for each noun; each method is one transaction."""
