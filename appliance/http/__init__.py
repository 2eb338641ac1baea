"""What every HTTP face shares: routes that declare their access, request ids, errors."""
