"""nchan in nginx, one process, messages in its memory.  It has no echo.

Both come from Debian: apt-get install nginx-light libnginx-mod-nchan

Run with `python -m` this module becomes nginx: it writes a configuration with a free port, leaves a child
behind that prints the port once nginx listens, and is replaced by nginx.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from pathlib import Path

from bench.rivals.rival import Rival

_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_FOLDER = Path(__file__).resolve().parents[2] / "build" / "bench" / "nchan"
_CONFIGURATION = """
load_module {module};
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 18000; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  nchan_max_reserved_memory 128m; nchan_message_buffer_length 4096; nchan_message_timeout 10s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /subscribe {{ nchan_subscriber websocket; nchan_channel_id room;
                             nchan_subscriber_first_message newest; }}
    location = /publish {{ nchan_publisher websocket; nchan_channel_id room; }}
  }}
}}
"""


def _missing() -> str:
    if not shutil.which("nginx"):
        return "nginx (nginx-light)"
    return "" if _MODULE.is_file() else "nchan (libnginx-mod-nchan)"


RIVAL = Rival(
    "nchan (nginx)",
    lambda scenario: [sys.executable, "-m", "bench.rivals.nchan"],
    _missing,
    scenarios=("fanout", "connect", "idle"),
)


def _tell(port: int) -> None:
    """Print the port as soon as something listens there."""
    give_up_s = time.monotonic() + 10
    while time.monotonic() < give_up_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                print(port, flush=True)
                return
        time.sleep(0.05)


def main() -> None:
    """Become nginx."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(module=_MODULE, folder=folder, port=port))
    if os.fork() == 0:
        _tell(port)
        os._exit(0)
    os.execvp("nginx", ["nginx", "-c", str(file), "-p", str(folder)])  # noqa: S606, S607 - the one found


if __name__ == "__main__":
    main()
