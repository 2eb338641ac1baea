"""Models of the cloud: what is sent to a provider, how its answers are read, and where its key is kept."""
