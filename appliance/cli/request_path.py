"""The request path as a process: `python -m appliance.cli.request_path SERVICE`.

`appliance serve` becomes this program: what reads command lines and settings is then not in the
memory of the process that serves people, 18 MiB less.
"""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    # Read the deployment anew: until that can be done it must not kill, and then it is done once anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

from appliance.cli.output import reported
from appliance.deployment import service_from_json
from appliance.wiring import serve

if __name__ == "__main__":
    with reported(as_json=False):
        serve(service_from_json(sys.argv[1]))
