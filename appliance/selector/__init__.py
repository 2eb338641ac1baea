"""Which model, context, slots and threads for this machine: pure decisions."""
