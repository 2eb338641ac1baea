"""Settings, folders and the environment: the only reader of both."""
