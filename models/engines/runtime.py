"""OpenVINO without its usage reporting: the one module that imports it.

`import openvino` alone sends an event to a server on the internet and writes into the home of the user, as long as
its package `openvino_telemetry` can be imported. Where it cannot, OpenVINO takes a stub that does nothing.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to say that it is not there

import openvino  # noqa: E402  after the line above

__all__ = ["openvino"]
