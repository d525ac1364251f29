"""The demonstration's file with the words that a reader gets today: the same network, the same numbers.

    python -m training.release.restate MODEL VERSION COHORT NOTE

``MODEL`` is a folder with ``model.onnx``, ``metadata.json`` and ``MODEL_CARD.md``, changed in place; ``COHORT`` is the sentence
on its cohort that `pdl1es export` takes. What is said follows from the training's summary and the analyses that
``metadata.json`` holds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx

from pdl1es.atomic import write_atomically
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import EXPECTATION_FILE, METADATA_FILE, MODEL_FILE
from pdl1es.model.metadata import METADATA_KEY, CutOff, ModelMetadata
from training.errors import FailedError
from training.release.bundle import DEMONSTRATION, described
from training.release.calibration_claim import calibration_claim
from training.release.card import DIRECTION, of_phantoms
from training.release.export_run import CARD_FILE, cohort_sentence
from training.release.performance import Performance
from training.release.reader_words import expression_accuracy, limitations, told
from training.statistics.estimability import NotEstimable


class RestateError(FailedError):
    """The model was trained on patients; what its file says of them is not known here."""


def restate(folder: Path, *, version: str, cohort: str, note: str) -> ModelMetadata:
    """Write what a model of phantoms says of itself again.

    Parameters
    ----------
    folder
        Of the model.
    version
        The model's next.
    cohort
        What is said of the cohort besides its numbers.
    note
        Of the changelog: what is new.

    Returns
    -------
    ModelMetadata
        As it now stands in the file.

    Raises
    ------
    RestateError
        The model was not trained on phantoms.
    """
    model = onnx.load(folder / MODEL_FILE)
    (entry,) = (item for item in model.metadata_props if item.key == METADATA_KEY)
    before = json.loads(entry.value)
    if before["training_data"] != "synthetic":
        raise RestateError(f"{folder.name} was trained on {before['training_data']} data: export it again instead")
    document = json.loads((folder / METADATA_FILE).read_bytes())
    summary = document["pdl1es"]["training"]
    performance = Performance.model_validate(document["pdl1es"]["performance"])
    claim = calibration_claim(False, NotEstimable("phantoms"))
    cut_offs = {
        name: told(CutOff.model_validate(before[name]), summary, performance, synthetic=True).model_dump()
        for name in ("expression_cut_off", "progression_cut_off", "clinical_cut_off", "fusion_cut_off")
        if before[name] is not None
    }
    accuracy = expression_accuracy(performance, synthetic=True)
    fresh: dict[str, Any] = {
        **cut_offs,
        "version": version,
        "trained_on": cohort_sentence(summary, True, cohort),
        "limitations": limitations(summary, (), synthetic=True, claim=claim),
        "expression_accuracy": None if accuracy is None else accuracy.model_dump(),
    }
    metadata = ModelMetadata.model_validate_json(json.dumps({**before, **fresh}))
    entry.value = metadata.model_dump_json()
    write_atomically(folder / MODEL_FILE, model.SerializeToString(deterministic=True))
    document["version"] = version
    document["changelog"][version] = note
    document["description"] = f"{DEMONSTRATION}. {metadata.trained_on}"
    document["data_source"] = metadata.trained_on
    document["pdl1es"].update(described(metadata))
    write_atomically(folder / METADATA_FILE, (json.dumps(document, indent=2) + "\n").encode("utf-8"))
    card = _card((folder / CARD_FILE).read_text(encoding="utf-8"), before, metadata)
    write_atomically(folder / CARD_FILE, card.encode("utf-8"))
    digests = write_digests(folder)
    expectation = folder / EXPECTATION_FILE
    if expectation.exists():  # the score is the network's, which is the same
        expected = json.loads(expectation.read_bytes()) | {"model_sha256": digests[MODEL_FILE]}
        write_atomically(expectation, (json.dumps(expected, indent=2) + "\n").encode("utf-8"))
        write_digests(folder)
    return metadata


def _card(card: str, before: dict[str, Any], metadata: ModelMetadata) -> str:
    card = card.replace(f"# {metadata.name} {before['version']}", f"# {metadata.name} {metadata.version}", 1)
    card = card.replace(f"--model-version {before['version']}", f"--model-version {metadata.version}")
    card = card.replace(before["trained_on"], metadata.trained_on)
    for name in ("expression_cut_off", "progression_cut_off", "clinical_cut_off", "fusion_cut_off"):
        cut_off = getattr(metadata, name)
        if cut_off is not None:
            card = card.replace(f"| {before[name]['method']} |", f"| {cut_off.method} |")
    if DIRECTION not in card:
        card = card.replace("\n## Beyond the training\n", f"\n{DIRECTION}\n\n## Beyond the training\n", 1)
    start = card.index("## Limits\n")
    end = card.index("\n## ", start)
    notes = "\n".join(f"- {sentence}" for sentence in metadata.limitations)
    return of_phantoms(f"{card[:start]}## Limits\n\n{notes}\n{card[end:]}")


def main(arguments: list[str] | None = None) -> int:
    """Write a model's words again, and print them."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 4:
        print("usage: python -m training.release.restate MODEL VERSION COHORT NOTE", file=sys.stderr)
        return 2
    folder, version, cohort, note = arguments
    metadata = restate(Path(folder), version=version, cohort=cohort, note=note)
    print("\n".join((metadata.trained_on, *metadata.limitations)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
