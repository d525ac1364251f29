"""PD-L1ES: a score for PD-L1 expression of non-small cell lung cancer from chest CT.

>>> from pdl1es import score_study
>>> result = score_study("study/")  # a CT series, and a SEG or structure set of the tumour
>>> result.score, result.groups, result.warnings
>>> result.save("report/", kinds=["sr", "pdf"])

The names below are imported when they are used. The rooms beneath hold the science as pure functions on frozen
dataclasses: they know no MONAI Deploy, no network and no global state, and the operators of the application and the
training call these same functions, so that the paper, the training and the service cannot drift apart.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdl1es.errors import Refusal, RefusalCode
    from pdl1es.inspection import Inspection
    from pdl1es.library import (
        StudyResult,
        extract_features,
        inspect_study,
        load_model,
        read_tumour,
        score_study,
    )
    from pdl1es.perturbation.perturbation import Perturbation, perturbations
    from pdl1es.perturbed_study import PerturbedTumour, StudySource, perturb, read_source_tumour
    from pdl1es.phantom.dicom import make_phantom_study
    from pdl1es.settings import Settings

# onnxruntime's own builds for Linux report every model that is loaded to Microsoft unless this is set before they are
# imported. Whoever wants that has to say so with a 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = [
    "Inspection",
    "Perturbation",
    "PerturbedTumour",
    "Refusal",
    "RefusalCode",
    "Settings",
    "StudyResult",
    "StudySource",
    "__version__",
    "extract_features",
    "inspect_study",
    "load_model",
    "make_phantom_study",
    "perturb",
    "perturbations",
    "read_source_tumour",
    "read_tumour",
    "score_study",
]

_MODULES = {
    "Inspection": "inspection",
    "Perturbation": "perturbation.perturbation",
    "PerturbedTumour": "perturbed_study",
    "Refusal": "errors",
    "RefusalCode": "errors",
    "Settings": "settings",
    "StudySource": "perturbed_study",
    "make_phantom_study": "phantom.dicom",
    "perturb": "perturbed_study",
    "perturbations": "perturbation.perturbation",
    "read_source_tumour": "perturbed_study",
}
"""Where the names lie that are not the library's own."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'library')}"), name)


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__})
