"""What is wrong with a box, what that means and what to do: one check, one file; and the report for support."""
