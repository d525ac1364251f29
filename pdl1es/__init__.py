"""PD-L1ES: the science, as pure functions on frozen dataclasses.

Nothing here knows MONAI Deploy, a network or global state. The operators of the application and the training call
these same functions, so that the paper, the training and the service cannot drift apart.
"""

__version__ = "0.1.0"
