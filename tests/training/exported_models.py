"""Exported models of random weights: the file's contract is whole, its scores mean nothing."""

from __future__ import annotations

from pathlib import Path

import torch

from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.metadata import CutOff
from training.export import export_model, model_metadata
from training.network import PDL1ES, SMALL, FusionNetwork
from training.preprocessing import CoxTerms, FittedPreprocessing

CUT_OFF = CutOff(value=0.5, method="test", above="above", below="below")


def export_random_model(
    folder: Path,
    fitted: FittedPreprocessing,
    *,
    seed: int = 0,
    cut_off: CutOff = CUT_OFF,
    cox: CoxTerms | None = None,
    clinical_cut_off: CutOff | None = None,
    fusion_cut_off: CutOff | None = None,
) -> None:
    """Export a small network of random weights into a folder, with Cox models where they are given."""
    torch.manual_seed(seed)
    network = FusionNetwork(fitted, PDL1ES, layers=SMALL).eval()
    metadata = model_metadata(
        network,
        fitted,
        name="PD-L1ES of a test",
        version="0",
        training_data="untrained",
        trained_on="nothing",
        intended_use="a test",
        limitations=(),
        expression_cut_off=cut_off,
        progression_cut_off=cut_off,
        calibrated=False,
        clinical_cut_off=clinical_cut_off,
        fusion_cut_off=fusion_cut_off,
    )
    export_model(network, fitted, metadata, folder / MODEL_FILE, cox=cox, cases=1)
