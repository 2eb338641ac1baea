"""Files from outside: fetched by name and pinned by hash."""
