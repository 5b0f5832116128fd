"""A real server for tests: `hushfold-server up` as a process of its own, and what a test needs to know of it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import select

from hushfold_server.database import Database

WAITING = threading.Event()  # never set: `WAITING.wait(t)` is a pause


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LiveServer:
    """One home, one pair of ports; can be stopped and started again like a person's."""

    def __init__(self, home: Path):
        self.home = home
        self.ports = (free_port(), free_port())
        self.process = None
        self.ended = False  # by the test

    def start(self):
        command = Path(sys.executable).parent / "hushfold-server"
        options = ["--home", self.home, "--port", str(self.ports[0]), "--authority-port", str(self.ports[1])]
        log = (self.home.parent / "up.log").open("ab")
        self.process = subprocess.Popen([command, "up", *options], stdout=log, stderr=log, start_new_session=True)
        self.ended = False
        self.until(lambda: (self.home / "public" / "app.json").exists(), 60)
        return self

    def command(self, *words):
        command = Path(sys.executable).parent / "hushfold-server"
        done = subprocess.run([command, *words, "--home", self.home], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self):
        """Politely, as Ctrl-C does."""
        self.ended = True
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def kill(self):
        """kill -9 of everything at once."""
        self.ended = True
        os.killpg(self.process.pid, signal.SIGKILL)  # its children die with it
        self.process.wait(30)

    def rows(self, table, *where):
        with closing(Database(self.home / "hushfold.db")) as database, database.read() as connection:
            return connection.execute(select(table).where(*where)).all()

    def until(self, condition, seconds=120):
        """Waits for a condition; what the server said is in the message if it does not come true."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            crashed = not self.ended and self.process.poll() is not None
            if time.monotonic() > end or crashed:
                said = (self.home.parent / "up.log").read_text()
                raise AssertionError(f"it did not happen within {seconds} s; the server said: {said[-2000:]}")
            WAITING.wait(0.1)
        return value


class RecordingProxy:
    """Passes TCP connections on to a port, and keeps every byte that clients send."""

    def __init__(self, target: int):
        self.target, self.sent = target, bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                client.close()
                continue
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, sink, keep):
        try:
            while chunk := source.recv(1 << 16):
                if keep:
                    self.sent += chunk
                sink.sendall(chunk)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    def close(self):
        self._listener.close()
