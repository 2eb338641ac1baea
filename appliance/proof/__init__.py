"""What was measured of the engines on this machine, what that is held against, and what is wrong when it falls."""
