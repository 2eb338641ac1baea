"""The tests: unit (pure), flow (real processes), contract (the house rules), installer."""
