"""How gunicorn serves the API: few processes, threads that mostly wait for store and Redis."""

import os
from pathlib import Path

workers = int(os.environ.get("NEUROBATCH_API_PROCESSES", "1"))
worker_class = "gthread"
threads = 16
timeout = 120  # seconds without a sign of life from a process, not of a request
graceful_timeout = 20  # seconds for requests under way when it is stopped
keepalive = 30  # seconds
max_requests = 0
accesslog = None  # request lines can hold what people named their files
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True  # nobody steers it from outside, and a home may be read-only
