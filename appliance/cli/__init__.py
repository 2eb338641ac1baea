"""The `appliance` command: one file a command group."""
