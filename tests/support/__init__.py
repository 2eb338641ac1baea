"""What the tests share: boxes, clients, and far sides that misbehave."""
