"""A server process with a linear teacher, so that its time goes into the ledger; its argument is the ledger's URL.

Prints its URL once it accepts connections; ends, without a drain, by SIGKILL.
"""

import socket
import sys

import uvicorn

from server.app import create_app
from server.ledger import open_ledger
from server.settings import Settings
from tests.fakes import LinearTeacher


def main() -> None:
    with open_ledger(sys.argv[1]) as ledger, socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(Settings(), LinearTeacher(), ledger)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - for the starter to read
        uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False)).run(sockets=[listener])
