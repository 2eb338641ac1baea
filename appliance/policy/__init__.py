"""Who may ask for what: pure rules, no I/O."""
