"""The OpenAI-compatible API: the request path's seven steps."""
