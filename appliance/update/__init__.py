"""Releases of the appliance: what is signed, what is fetched, how one is made, and what is on record of an update."""
