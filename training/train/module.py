"""The network under Lightning: cross-entropy over slices, Adam, validation AUC over patients."""

from __future__ import annotations

from collections.abc import Callable

import lightning
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from pdl1es.method import PATCH_SLICES
from training.network import FusionNetwork
from training.train.data import TrainingBatch

VALIDATION_AUC = "validation_auc"
LOSS = "loss"


class FusionModule(lightning.LightningModule):
    """One learning rate of one network.

    Parameters
    ----------
    network
        Trained in place.
    learning_rate
        Adam's.
    linear_rate_factor
        Learning rate of the linear layer over it.
    weight_decay
        Adam's.
    compiled
        Compile forward and backward pass of the training.
    """

    def __init__(
        self,
        network: FusionNetwork,
        learning_rate: float,
        *,
        linear_rate_factor: float = 1.0,
        weight_decay: float = 0.0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.linear_rate_factor = linear_rate_factor
        self.weight_decay = weight_decay
        # A bound method instead of a module, because a compiled module would hold the same weights under a second name.
        self._forward: Callable[[Tensor, Tensor, Tensor], Tensor] = (
            torch.compile(network.forward) if compiled else network.__call__
        )
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        """Return the mean cross-entropy of the slices.

        Parameters
        ----------
        batch
            Slices of several patients.

        Returns
        -------
        Tensor
            float32, a scalar.
        """
        logits = self._forward(batch.patches, batch.radiomic_z, batch.clinical_z)
        loss = nn.functional.cross_entropy(logits, batch.labels)
        self.log(LOSS, loss, on_step=False, on_epoch=True, batch_size=len(batch.labels))
        return loss

    def validation_step(self, batch: TrainingBatch, _: int) -> None:
        """Keep each patient's mean slice logit, in full precision as the exported file gives it.

        Parameters
        ----------
        batch
            Whole patients.
        """
        self._logits.append(patient_logits(self.network, batch))
        self._labels.append(batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Log the AUC over patients."""
        labels, logits = torch.cat(self._labels).cpu(), torch.cat(self._logits).cpu()
        self._logits.clear()
        self._labels.clear()
        # Not finite where training diverged; the area is then 0, so that these weights are never the best.
        area = float(roc_auc_score(labels, logits)) if bool(torch.isfinite(logits).all()) else 0.0
        self.log(VALIDATION_AUC, torch.tensor(area, dtype=torch.float64))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam; the linear layer has its own group."""
        linear = list(self.network.classifier.parameters())
        own = {id(parameter) for parameter in linear}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in own]
        groups = [{"params": linear, "lr": self.learning_rate * self.linear_rate_factor}]
        if rest:
            groups.append({"params": rest, "lr": self.learning_rate})
        # One kernel for all weights instead of a loop over DenseNet121's 364 tensors.
        return torch.optim.Adam(groups, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)


def patient_logits(network: FusionNetwork, batch: TrainingBatch) -> Tensor:
    """Return the mean slice logit of each patient, float32, shape (patients,).

    Parameters
    ----------
    network
        Any parts.
    batch
        Whole patients.

    Returns
    -------
    Tensor
    """
    with torch.autocast(batch.clinical_z.device.type, enabled=False):
        logits = network(batch.patches, batch.radiomic_z, batch.clinical_z).float()
    return (logits[:, 1] - logits[:, 0]).reshape(-1, PATCH_SLICES).mean(1)
