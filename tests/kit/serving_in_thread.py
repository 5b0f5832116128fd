"""A web service on a socket, in a thread of this process, for tests."""

from __future__ import annotations

import threading

import uvicorn

from hushfold_server import serving
from hushfold_server.connections import Connection
from hushfold_server.settings import Settings


class Serving:
    """An application on a socket, in a thread, as a process of the server has it."""

    def __init__(self, app, listener, connection=Connection, settings=None) -> None:
        self._server = _Server(serving.configure(app, settings or Settings(), connection))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        if not self._server.ready.wait(30):
            raise RuntimeError("the service did not start within 30 seconds")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)


class _Server(uvicorn.Server):
    def __init__(self, config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        self.ready.set()
