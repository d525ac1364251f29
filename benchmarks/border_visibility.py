"""Can the network see the border factor at all? It is trained on the true factor instead of the label.

Run from the repository, with the training's requirements, on a folder that `make reproduce` made::

    python -m benchmarks.border_visibility runs/full [--epochs 10] [--threads 1] [--output FILE]

DenseNet121 on the training patients' patches, with the rates, batches and augmentation that `make reproduce` trains DLM
with, by the squared error of the border factor, which the cohort's truth tells without noise. Beside each epoch stands
Pearson's correlation with the factor on the validation patients. Where it is high, and DLM's low on the same patients,
then DLM lacks labels, not sight. Test and further cases are not looked at.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from training.cohort.prepared import PreparedCohort
from training.cohort.synthesise import TRUTH_TABLE_FILE
from training.fit import fit_preprocessing
from training.network import DLM, FusionNetwork
from training.reproduce import COHORT, PREPARED
from training.reproduction_settings import full_settings
from training.train.augmentation import Augmentation
from training.train.data import EpochSampler, NetworkInputs, TrainingSamples, WholePatients
from training.train.run import initial_network, network_inputs

PATIENTS = 32


def mean_prediction(network: FusionNetwork, head: nn.Linear, inputs: NetworkInputs) -> np.ndarray:
    """Return the mean over the slices of each patient's prediction.

    Parameters
    ----------
    network
        Gives the feature maps.
    head
        Linear layer on their means.
    inputs
        N patients.

    Returns
    -------
    ndarray
        float32, shape (N,).
    """
    whole, found = WholePatients(inputs), []
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(inputs), PATIENTS):
            batch = whole.__getitems__(range(start, min(start + PATIENTS, len(inputs))))
            found.append(head(network.feature_maps(batch.patches).mean((2, 3))).reshape(-1, 3).mean(1))
    network.train()
    return torch.cat(found).numpy()


def main() -> int:
    """Train, and print a row per epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = full_settings().training
    prepared = PreparedCohort.load(arguments.folder / PREPARED)
    truth = pd.read_csv(arguments.folder / COHORT / TRUTH_TABLE_FILE).set_index("case_id")["border"]
    training, validation = prepared.subset("train"), prepared.subset("validation")
    fitted = fit_preprocessing(training.clinical, training.radiomics, training.labels, training.smoking_graded)
    network = initial_network(fitted, "DLM", config)
    assert network.parts == DLM
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # torch's stub lacks it
    head = nn.Linear(network.layers.deep_features, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    inputs = network_inputs(network, training, fitted.smoker_grade)
    held_out = network_inputs(network, validation, fitted.smoker_grade)
    wanted = torch.from_numpy(truth.loc[list(training.case_ids)].to_numpy(dtype=np.float32))
    held_truth = truth.loc[list(validation.case_ids)].to_numpy()
    rate = config.stages[0].learning_rate
    adam = torch.optim.Adam(
        [
            {"params": network.densenet.parameters(), "lr": rate},
            {"params": head.parameters(), "lr": rate * config.linear_rate_factor},
        ]
    )
    samples = TrainingSamples(inputs, Augmentation(config.seed))
    sampler = EpochSampler(len(samples), config.seed)
    rows = ["| epoch | mean squared error | correlation on validation | s |", "|---|---|---|---|"]
    for epoch in range(arguments.epochs):
        started, losses = time.perf_counter(), []
        sampler.set_epoch(epoch)
        keys = list(sampler)
        for start in range(0, len(keys), config.batch_size):
            chosen = keys[start : start + config.batch_size]
            batch = samples.__getitems__(chosen)
            target = wanted[torch.tensor(chosen) % len(samples) // 3]
            with torch.autocast("cpu", torch.bfloat16):
                features = network.feature_maps(batch.patches).mean((2, 3))
            loss = nn.functional.mse_loss(head(features.float()).squeeze(1), target)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
        found = np.corrcoef(mean_prediction(network, head, held_out), held_truth)[0, 1]
        rows.append(f"| {epoch + 1} | {np.mean(losses):.3f} | {found:.2f} | {time.perf_counter() - started:.0f} |")
        print(rows[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
