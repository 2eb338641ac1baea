"""What this machine has: facts are values, probes read them."""
