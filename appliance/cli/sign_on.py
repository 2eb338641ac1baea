"""Sign-on as a process: `python -m appliance.cli.sign_on PLACE`.

`appliance identity` becomes this program: what reads command lines and settings is then not in the memory of the
process that serves people.
"""

from __future__ import annotations

import sys

from appliance.cli.output import reported
from appliance.identity.place import place_from_json
from appliance.identity.wiring import serve

if __name__ == "__main__":
    with reported(as_json=False):
        serve(place_from_json(sys.argv[1]))
