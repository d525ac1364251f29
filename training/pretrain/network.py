"""The network that is pretrained: the DenseNet of the fusion network, and a layer that predicts the rim's components."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from training.network import Layers, dense_blocks, last_maps
from training.pretrain.config import PretrainingConfig

LOSS = "loss"


class PretrainingBatch(NamedTuple):
    """``patches`` float32 HU (N, 1, 112, 112); ``targets`` float32 (N, components)."""

    patches: Tensor
    targets: Tensor


class ComponentNetwork(nn.Module):
    """One patch to the rim's components.

    Parameters
    ----------
    components
        How many.
    window_hu
        Of the patch.
    layers
        Size of the DenseNet.
    """

    def __init__(self, components: int, window_hu: tuple[float, float], layers: Layers) -> None:
        super().__init__()
        self.window_hu = window_hu
        self.densenet = dense_blocks(layers)
        self.head = nn.Linear(layers.deep_features, components)

    def forward(self, patches: Tensor) -> Tensor:
        """Predict.

        Parameters
        ----------
        patches
            float32 HU, shape (N, 1, 112, 112).

        Returns
        -------
        Tensor
            float32, shape (N, components).
        """
        pooled = last_maps(self.densenet, patches, self.window_hu).mean((2, 3))
        with torch.autocast(pooled.device.type, enabled=False):
            return self.head(pooled.float())


class PretrainingModule(lightning.LightningModule):
    """Mean squared error, Adam, and the learning rate of each step.

    Parameters
    ----------
    network
        Trained in place.
    config
        Rates.
    steps
        Of the whole pretraining.
    compiled
        Compile forward and backward pass.
    """

    def __init__(
        self, network: ComponentNetwork, config: PretrainingConfig, steps: int, *, compiled: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.steps = steps
        # A bound method, because a compiled module would hold the same weights under a second name.
        self._forward: Callable[[Tensor], Tensor] = torch.compile(network.forward) if compiled else network.__call__

    def training_step(self, batch: PretrainingBatch, _: int) -> Tensor:
        """Return the mean squared error.

        Parameters
        ----------
        batch
            Patches with their patients' targets.

        Returns
        -------
        Tensor
            float32, a scalar.
        """
        loss = nn.functional.mse_loss(self._forward(batch.patches), batch.targets)
        self.log(LOSS, loss, on_step=False, on_epoch=True, batch_size=len(batch.targets))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam with the schedule; the head has its own group."""
        groups = [
            {"params": self.network.head.parameters(), "lr": self.config.head_rate_factor},
            {"params": self.network.densenet.parameters(), "lr": 1.0},
        ]
        adam = torch.optim.Adam(groups, lr=1.0, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: self.config.rate(step / self.steps))
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
