"""The control plane: up, down, status, and what they change on the machine."""
