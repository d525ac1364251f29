"""A model issued again: the same network under this version's method, with what is newly known of its training patients.

    python -m training.release.reissue MODEL PREPARED VERSION NOTE

``MODEL`` is a folder with ``model.onnx``, ``metadata.json`` and ``MODEL_CARD.md``, changed in place. ``PREPARED`` is the cohort
that it was trained on, prepared by this version. A change of the method that changes no feature and no patch of that cohort
needs no other network: whoever calls this has shown so. The network's AUC on the cohort is held against the recorded one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from pdl1es.atomic import write_atomically
from pdl1es.method_digest import method_digest
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from pdl1es.model.metadata import METADATA_KEY, ModelMetadata
from training.cohort.prepared import PreparedCohort
from training.errors import FailedError
from training.fit import coded_clinical
from training.reach import fit_reach
from training.release.bundle import described
from training.release.card import reach_section
from training.release.export_run import CARD_FILE
from training.statistics.discrimination import auc

SAME_AUC: Final = 1e-6


class ReissueError(FailedError):
    """The cohort is not the one that the model was trained on, or the folder holds no whole model."""


def reissue(folder: Path, prepared: PreparedCohort, *, version: str, note: str) -> dict[str, float]:
    """Write a model again under this version's method.

    Parameters
    ----------
    folder
        Of the model.
    prepared
        Its cohort.
    version
        The model's next.
    note
        Of the changelog: what is new.

    Returns
    -------
    dict
        AUC of each split, as found here.

    Raises
    ------
    ReissueError
        The network's AUC on a split differs from the recorded one.
    """
    model = onnx.load(folder / MODEL_FILE)
    (entry,) = (item for item in model.metadata_props if item.key == METADATA_KEY)
    document = json.loads((folder / METADATA_FILE).read_bytes())
    before = json.loads(entry.value)
    scores, radiomic_z = _outputs((folder / MODEL_FILE).read_bytes(), prepared, float(before["smoker_grade"]))
    found = _check(prepared, scores, document["eval_metrics"])
    training = (prepared.cases["split"] == "train").to_numpy(np.bool_)
    reach = fit_reach(
        radiomic_z[training],
        prepared.cases["volume_ml"].to_numpy(np.float64)[training],
        prepared.cases["longest_diameter_mm"].to_numpy(np.float64)[training],
    )
    fresh: dict[str, Any] = {
        "method_digest": method_digest(),
        "version": version,
        "training_reach": None if reach is None else reach.model_dump(mode="json"),
    }
    metadata = ModelMetadata.model_validate_json(json.dumps({**before, **fresh}))
    entry.value = metadata.model_dump_json()
    write_atomically(folder / MODEL_FILE, model.SerializeToString(deterministic=True))
    document["version"] = version
    document["changelog"][version] = note
    document["pdl1es"].update(described(metadata))
    write_atomically(folder / METADATA_FILE, (json.dumps(document, indent=2) + "\n").encode("utf-8"))
    card = _card((folder / CARD_FILE).read_text(encoding="utf-8"), before, metadata)
    write_atomically(folder / CARD_FILE, card.encode("utf-8"))
    write_digests(folder)
    return found


def _outputs(
    content: bytes, prepared: PreparedCohort, smoker_grade: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return every patient's score and standardised features."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    clinical = coded_clinical(prepared.clinical, prepared.smoking_graded, smoker_grade)
    scores, values = [], []
    for patches, radiomics, coded in zip(prepared.patches, prepared.radiomics, clinical, strict=True):
        feed = {"patches": patches[:, None].astype(np.float32), "radiomics": radiomics, "clinical": coded}
        score, radiomic_z = session.run(["pdl1es", "radiomic_z"], feed)
        scores.append(float(score))
        values.append(radiomic_z)
    return np.array(scores), np.array(values)


def _check(prepared: PreparedCohort, scores: NDArray[np.float64], recorded: dict[str, float]) -> dict[str, float]:
    found = {}
    for split in ("train", "validation", "test", "gate"):
        chosen = (prepared.cases["split"] == split).to_numpy(np.bool_)
        if chosen.any():
            found[split] = float(auc(prepared.labels[chosen], scores[chosen]).value)
            if abs(found[split] - recorded[f"auc_{split}"]) > SAME_AUC:
                raise ReissueError(
                    f"the model's AUC on {split} is {found[split]:.6f} here and {recorded[f'auc_{split}']:.6f} in its metadata: "
                    "this is another cohort, or the method gives other features"
                )
    return found


def _card(card: str, before: dict[str, Any], metadata: ModelMetadata) -> str:
    card = card.replace(str(before["method_digest"]), metadata.method_digest)
    card = card.replace(f"# {metadata.name} {before['version']}", f"# {metadata.name} {metadata.version}", 1)
    card = card.replace(f"--model-version {before['version']}", f"--model-version {metadata.version}")
    start, limits = card.find("## Beyond the training"), card.index("## Limits")
    return card[: start if start >= 0 else limits] + reach_section(metadata) + "\n" + card[limits:]


def main(arguments: list[str] | None = None) -> int:
    """Issue a model again, and print its AUC on the cohort."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 4:
        print("usage: python -m training.release.reissue MODEL PREPARED VERSION NOTE", file=sys.stderr)
        return 2
    folder, prepared, version, note = arguments
    found = reissue(Path(folder), PreparedCohort.load(Path(prepared)), version=version, note=note)
    print("; ".join(f"AUC {split} {value:.6f}" for split, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
