"""Programs that people point at the appliance, doing their usual jobs. Each runs in an environment of its own.

They take the address from `APPLIANCE_URL` and the key from `APPLIANCE_KEY`, and end with an exception where
an answer is not what their users need.
"""
