"""The box's name on the network as a process: `python -m appliance.cli.lan_name NAME`; `up` starts it."""

from __future__ import annotations

import sys

from appliance.cli.output import reported
from appliance.lan.announce import announce, name_from_json

if __name__ == "__main__":
    with reported(as_json=False):
        announce(name_from_json(sys.argv[1]))
