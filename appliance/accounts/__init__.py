"""API keys and the people who own them."""
