"""The private-AI appliance: request path, control plane and the `appliance` command."""
