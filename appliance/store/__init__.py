"""The database file, its schema, and files that are written whole or not at all."""
