"""llama-server: its build, its command line, and the HTTP client that talks to it."""
