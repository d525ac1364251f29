"""PD-L1ES: the science, as pure functions on frozen dataclasses.

Nothing here knows MONAI Deploy, a network or global state. The operators of the application and the training call
these same functions, so that the paper, the training and the service cannot drift apart.
"""

import os

# onnxruntime's own builds for Linux report every model that is loaded to Microsoft unless this is set before they are
# imported. Whoever wants that has to say so with a 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
