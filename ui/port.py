"""Whether the web app can listen where the settings say, found out before anything is loaded or started.

Comes in: settings. Goes out: nothing, or `SettingsError` in one sentence. Does not know: the app that will listen there.
"""

from __future__ import annotations

import errno
import os
import socket

from store.errors import SettingsError
from store.settings import Settings

PORT_MOST = 65_535
REASONS = {  # what the machine says -> what is wrong, what to do next
    errno.EADDRINUSE: ("another program listens on this port", "Stop it, or choose another --port"),
    errno.EACCES: ("only an administrator may listen on this port", "Choose a --port above 1023"),
    errno.EADDRNOTAVAIL: ("this machine has no such address", "Choose another --host: 127.0.0.1, or 0.0.0.0 for all"),
}
NO_ADDRESS = ("this is no address", "Choose another --host: 127.0.0.1, or 0.0.0.0 for all")


def check_port(settings: Settings) -> None:
    """Return if the address and port of `settings` are free. Raises `SettingsError`."""
    where = f"{settings.host}:{settings.port}"
    if not 0 < settings.port <= PORT_MOST:
        raise SettingsError("there is no such port", where=where, next_step=f"Choose a --port from 1 to {PORT_MOST}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            if os.name == "posix":  # elsewhere the option means that two may share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
            probe.bind(address)
    except (socket.gaierror, UnicodeError) as error:
        raise SettingsError(NO_ADDRESS[0], where=where, next_step=NO_ADDRESS[1]) from error
    except OSError as error:
        what, next_step = REASONS.get(error.errno or 0, (f"nobody can listen here ({error})", ""))
        raise SettingsError(what, where=where, next_step=next_step) from error
