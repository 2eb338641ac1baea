"""Sign-on: the OpenID Connect provider and the pages on which people sign in."""
