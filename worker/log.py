"""Logs: one line an event on standard error, a fixed word and then fields. No path, no name of a patient, no secret."""

import logging
import sys
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
QUIET = ("celery", "kombu", "botocore", "boto3", "urllib3", "amqp", "asyncio")  # they speak of each message


def log_to_stderr(level: str) -> None:
    """Set the process's logging up; once, by the function that wires it."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
