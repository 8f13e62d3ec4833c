"""The engines, one shelf for each kind, and the types that travel between them.

Two of the libraries under them tell their makers who runs them: ONNX Runtime with an identifier that it leaves on the
disk, the hub's client with each download. Both ask these variables when they are imported, which is after this.
"""

import os

import configs  # noqa: F401 - before NumPy

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
