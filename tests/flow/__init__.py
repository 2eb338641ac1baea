"""Real processes, real SQLite, real sockets."""
