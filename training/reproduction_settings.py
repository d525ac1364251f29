"""Settings of a reproduction: its sizes, and how its networks are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pdl1es import __version__
from pdl1es.model.metadata import Recipe
from training.cohort.synthesise import SynthesisSettings
from training.pretrain.config import PretrainingConfig
from training.train.config import Stage, TrainingConfig

RETESTED: Final = 40
"""Patients of the second scan, near RIDER's 32."""
UNLABELLED: Final = 400
PATCHES: Final = 45_000
"""Patients without a label, and patches shown, for the recipe ``label-free``: 40 minutes of one core. 12,800 patches of 691
patients and 31,360 of 2,250 brought the same distance from the truth (``benchmarks/results/synthetic-model.md``)."""


@dataclass(frozen=True, slots=True)
class ReproductionSettings:
    """Settings and sizes of a reproduction.

    Attributes
    ----------
    synthesis, training
        Of the cohort and of the networks.
    pretraining
        Of what the network learns before any label; None where it starts from random weights.
    permutations
        Behind each corrected P of a cut-off.
    retested
        Patients that are scanned a second time.
    control_splits
        Whose inputs are disturbed.
    """

    synthesis: SynthesisSettings
    training: TrainingConfig
    permutations: int = 2000
    retested: int = RETESTED
    control_splits: tuple[str, ...] = ("validation", "test")
    pretraining: PretrainingConfig | None = None

    def document(self) -> dict[str, Any]:
        """Return what the result depends on."""
        return {
            "synthesis": self.synthesis.document(),
            "training": self.training.model_dump(mode="json"),
            **({} if self.pretraining is None else {"pretraining": self.pretraining.model_dump(mode="json")}),
            "permutations": self.permutations,
            "retested": self.retested,
            "control_splits": list(self.control_splits),
            "version": __version__,
        }


def full_settings(seed: int = 0, recipe: Recipe = "paper") -> ReproductionSettings:
    """Return the paper's sizes, 1,000 further patients for the gates, and a recipe's settings.

    Parameters
    ----------
    seed
        Of the cohort and the training.
    recipe
        ``paper``: the paper's rates for the network. The linear layer learns ten times as fast as at the paper's one
        rate, in batches of 16. Otherwise it is still far from its best when a DenseNet121 begins to overfit on 750
        patients (``benchmarks/results/training-choices.md``). The second and third rate have 6 and 3 epochs instead of
        20, so that two processor cores finish in an evening. ``label-free``: 400 further patients without a label, whom
        the network is pretrained on together with the training patients.

    Returns
    -------
    ReproductionSettings
    """
    if recipe == "label-free":
        return ReproductionSettings(
            SynthesisSettings(seed=seed, pretrain=UNLABELLED),
            TrainingConfig(recipe=recipe, seed=seed),
            pretraining=PretrainingConfig(seed=seed, patches=PATCHES),
        )
    stages = tuple(Stage(learning_rate=rate, epochs=epochs) for rate, epochs in ((1e-4, 20), (1e-5, 6), (1e-6, 3)))
    training = TrainingConfig(seed=seed, stages=stages, batch_size=16, linear_rate_factor=10.0)
    return ReproductionSettings(SynthesisSettings(seed=seed), training)


def small_settings(seed: int = 0, recipe: Recipe = "paper") -> ReproductionSettings:
    """Return settings that test the mechanics only: 100 patients, one re-division, a small DenseNet.

    Parameters
    ----------
    seed
        Of the cohort and the training.
    recipe
        ``paper``: two epochs. ``label-free``: 12 further patients without a label, and 500 patches.

    Returns
    -------
    ReproductionSettings
    """
    label_free = recipe == "label-free"
    training = {"stages": [{"learning_rate": 1e-4, "epochs": 2}], "redivisions": 1, "layers": "small"}
    return ReproductionSettings(
        synthesis=SynthesisSettings(
            expression=60, prognosis=24, gate=16, dicom=1, seed=seed, pretrain=12 if label_free else 0
        ),
        training=TrainingConfig.model_validate({"recipe": recipe, "seed": seed, **training}),
        permutations=100,
        retested=4,
        control_splits=("test",),
        pretraining=PretrainingConfig(seed=seed, patches=500, layers="small") if label_free else None,
    )
