"""A tiny HTTP server for the supervisor to keep up, that behaves as its options say.

    --socket FILE     listen on a UNIX socket; refuses to start when the file exists
    --port N          listen on this port of 127.0.0.1 instead; refuses to start when somebody listens there
    --delay S         wait before it listens
    --exit-after S    end by itself this long after it listens
    --exit-code N     with which exit code (1)
    --fail-while FILE end at once as long as this file exists
    --ignore-term     ignore SIGTERM
    --say TEXT        write a line before anything else
    --flood N         write N lines of a kibibyte once it listens
    --grandchild FILE start a process that ignores SIGTERM, and write its number there
    --journal FILE    write "NAME begin|ready|end" there as it happens
    --name NAME       what the journal calls it

GET / answers its process number and the signals that were blocked when it began.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

BLOCKED = sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
IGNORES_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


class Answer(BaseHTTPRequestHandler):
    """Answers who it is."""

    def do_GET(self) -> None:
        said = json.dumps({"pid": os.getpid(), "blocked": BLOCKED}).encode()
        self.send_response_only(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """The log is the test's."""


class Tiny:
    """One run of the server."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def run(self) -> None:
        """Begin, wait, listen, serve, end."""
        options = self._options
        print(options.say, flush=True)
        self._note("begin")
        if options.fail_while and options.fail_while.exists():
            sys.exit(options.exit_code)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if options.ignore_term else self._end)
        if options.grandchild:
            start_grandchild(options.grandchild)
        time.sleep(options.delay)
        # Binding fails when the file is there: as with llama-server, a leftover would stop the start.
        with self._server() as server:
            self._note("ready")
            if options.exit_after is not None:
                threading.Timer(options.exit_after, os._exit, (options.exit_code,)).start()
            for number in range(options.flood):
                print(f"{number:06} ".ljust(1023, "x"))
            sys.stdout.flush()
            server.serve_forever(poll_interval=600)

    def _server(self) -> socketserver.TCPServer:
        if self._options.port is None:
            return socketserver.UnixStreamServer(str(self._options.socket), Answer)
        # What lingers of closed connections may be there, as with real servers; another listener may not.
        socketserver.TCPServer.allow_reuse_address = True
        return socketserver.TCPServer(("127.0.0.1", self._options.port), Answer)

    def _note(self, what: str) -> None:
        if self._options.journal:
            with self._options.journal.open("a") as journal:
                journal.write(f"{self._options.name} {what}\n")

    def _end(self, number: int, frame: object) -> None:
        self._note("end")
        os._exit(0)


def start_grandchild(file: Path) -> None:
    """Start a process that has to be killed, and say which it is once it ignores SIGTERM."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", IGNORES_TERM], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    file.write_text(str(child.pid))


def read_options() -> argparse.Namespace:
    """The options, as the head of this file has them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--exit-after", type=float)
    parser.add_argument("--exit-code", type=int, default=1)
    parser.add_argument("--fail-while", type=Path)
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--say", default="")
    parser.add_argument("--flood", type=int, default=0)
    parser.add_argument("--grandchild", type=Path)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--name", default="tiny")
    return parser.parse_args()


if __name__ == "__main__":
    Tiny(read_options()).run()
