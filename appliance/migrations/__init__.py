"""The database schema as an ordered list of steps, and the program that takes them."""
