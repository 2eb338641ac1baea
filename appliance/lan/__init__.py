"""The box on the company's network: HTTPS by Caddy, our own certificates, and a name."""
