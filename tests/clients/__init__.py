"""Programs that people point at the appliance, doing their usual jobs. Each runs in an environment of its own.

They take the address from `APPLIANCE_URL`, the key from `APPLIANCE_KEY` and a conversation in which a tool was
called from `APPLIANCE_CALLS`, and end with an exception where an answer is not what their users need.
"""
