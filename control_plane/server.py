"""How gunicorn serves the control plane: `gunicorn --config python:control_plane.server control_plane.wsgi`.

The names are gunicorn's own settings (https://docs.gunicorn.org/en/stable/settings.html). The command line and
GUNICORN_CMD_ARGS win over what is here.
"""

from __future__ import annotations

import os

from control_plane.environment import count_from

bind = os.environ.get("BURSAR_BIND", "127.0.0.1:8080")
workers = count_from(os.environ, "BURSAR_WEB_WORKERS", 2)
threads = count_from(os.environ, "BURSAR_WEB_THREADS", 8)
worker_class = "gthread"

# Longer than a request waits for Postgres and Redis; what is underway when it stops has as long.
timeout = graceful_timeout = 60
# Longer than proxies keep their connections by default, so that it is they who close one that idles.
keepalive = 75
# A worker that has served so many requests is replaced, and not all of them at once.
max_requests = 10_000
max_requests_jitter = 1_000

# Without the query: what people search for, and codes of a log-in, are not for logs. %(L)s is seconds.
accesslog = "-"
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(B)s %(L)ss %({x-request-id}o)s'

# Nobody asks it anything, and it would write to the home directory.
control_socket_disable = True
