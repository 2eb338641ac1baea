"""The request path as a process: `python -m appliance.cli.request_path SERVICE`.

`appliance serve` becomes this program: what reads command lines and settings is then not in the
memory of the process that serves people, 18 MiB less.
"""

from __future__ import annotations

import sys

from appliance.cli.output import reported
from appliance.deployment import service_from_json
from appliance.wiring import serve

if __name__ == "__main__":
    with reported(as_json=False):
        serve(service_from_json(sys.argv[1]))
