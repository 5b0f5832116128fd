"""A web service as a process: `python -m hushfold_server.serving MODULE:FACTORY --name NAME --home DIR`.

FACTORY takes a Home and gives the application. The listening socket is made here, or was made by the supervisor and
comes as a file descriptor (`--fd`): it then outlives a crash of this process, and devices that connect meanwhile wait
in its queue and are not refused.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import resource
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI

from hushfold_protocol.addresses import is_loopback

from .connections import MOST, Connection
from .errors import ConfigurationError
from .process import announce_ready, refusing, start_logging
from .settings import Home, Settings

BACKLOG = 512  # connections that wait to be accepted
KEEP_ALIVE = 75  # seconds
_OTHER_FILES = 256  # that a process has open besides its connections, at most
STOP_WITHIN = 5  # seconds for requests in progress when the process is told to stop

log = structlog.get_logger()

Factory = Callable[[Home], FastAPI]


def listen(host: str, port: int, what: str) -> socket.socket:
    """A listening TCP socket. Port 0 takes any free one. Raises ConfigurationError if the address is not to be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio turns Nagle's algorithm, which delays every answer by 40 ms, off only where it sees that this is TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} on {host}, for the {what}, is in use by another program",
                "Stop that program, or choose another port (--port, --authority-port, or server.toml)",
            ) from None
        raise ConfigurationError(f"the {what} cannot listen on {host}, port {port}: {error.strerror}") from None
    return listener


def check_exposure(listener: socket.socket, settings: Settings) -> None:
    """Raises ConfigurationError for a socket that other machines can reach unless devices speak TLS to it."""
    address = listener.getsockname()[0]
    if is_loopback(address) or settings.tls_certificate or settings.tls_proxy:
        return
    raise ConfigurationError(
        f"address {address} can be reached from other machines, and the service would speak plain HTTP",
        "Give tls_certificate and tls_key in server.toml, or listen on 127.0.0.1",
    )


class _Server(uvicorn.Server):
    """Says that it is ready once connections are accepted."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            announce_ready()


def serve(app: FastAPI, listener: socket.socket, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigurationError for TLS files that cannot be used."""
    check_exposure(listener, settings)
    Connection.most = max(1, min(MOST, _allow_files(MOST + _OTHER_FILES) - _OTHER_FILES))
    config = configure(app, settings)
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"the TLS files {settings.tls_certificate} and {settings.tls_key} cannot be used: {error}",
            "Give a PEM certificate chain and its private key",
        ) from None
    _Server(config).run(sockets=[listener])


def _allow_files(count: int) -> int:
    """Has the system allow this process so many open files; how many it does, which the log says if they are fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        most = soft
    if most < count:
        log.warning("few_open_files", allowed=most, needed=count, advice="Raise the hard limit (ulimit -Hn)")
    return most


def configure(app: FastAPI, settings: Settings, connection: type[Connection] = Connection) -> uvicorn.Config:
    """How uvicorn is to serve the application."""
    return uvicorn.Config(
        app,
        http=connection,
        log_config=None,  # records go to the process's own log
        access_log=False,  # who asked when is nobody's business
        server_header=False,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=STOP_WITHIN,
        proxy_headers=settings.tls_proxy,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: reads settings, opens the socket, serves."""
    parser = argparse.ArgumentParser(prog="python -m hushfold_server.serving")
    parser.add_argument("app", metavar="MODULE:FACTORY")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name", choices=("api", "authority"), required=True, help="which port, which log")
    parser.add_argument("--port", type=int, default=None, help="instead of the one in server.toml")
    parser.add_argument("--fd", type=int, default=None, help="a listening socket that the parent opened")
    options = parser.parse_args(arguments)
    with refusing():
        home = Home.open(options.home)
        settings = Settings.load(home)
        start_logging(home, options.name, settings.log_level)
        if options.fd is not None:
            listener = socket.socket(fileno=options.fd)
        else:
            configured = settings.authority_port if options.name == "authority" else settings.api_port
            listener = listen(settings.host, configured if options.port is None else options.port, options.name)
        serve(_factory(options.app)(home), listener, settings)


def _factory(name: str) -> Factory:
    module, _, attribute = name.partition(":")
    factory: Factory = getattr(importlib.import_module(module), attribute)
    return factory


if __name__ == "__main__":
    main()
