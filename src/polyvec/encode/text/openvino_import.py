"""OpenVINO without its telemetry: its import would start a process that reports to the vendor over the network."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

_TELEMETRY = "openvino_telemetry"
_lock = threading.Lock()


def load_openvino() -> Any:
    """The module `openvino`; when this is its first import, its telemetry stays out (its own stub takes the place).

    Raises:
        ImportError: It is not installed.
    """
    with _lock:
        if "openvino" in sys.modules:
            return importlib.import_module("openvino")  # waits for an import that another thread has begun
        held = sys.modules.get(_TELEMETRY)
        # an import of it then fails as if it were not installed
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            return importlib.import_module("openvino")
        finally:
            if held is None:
                sys.modules.pop(_TELEMETRY, None)
            else:
                sys.modules[_TELEMETRY] = held
