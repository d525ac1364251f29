"""ImageNet weights that a user has, as the start of the DenseNet: torchvision's file or MONAI's."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from training.errors import UsageError
from training.network import FusionNetwork, Layers, dense_blocks

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_SD: Final = (0.229, 0.224, 0.225)
"""Of the channels on the scale 0 to 1: what torchvision's weights were trained on."""
_TORCHVISION_LAYER = re.compile(r"^(.*denselayer\d+)\.(norm|conv)\.?([12])\.(.+)$")


class PretrainedError(UsageError):
    """A file does not hold the DenseNet's weights; the message says what is missing."""


def file_digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_pretrained(network: FusionNetwork, path: Path) -> int:
    """Copy weights into the network's DenseNet, all of them or none.

    Parameters
    ----------
    network
        With a deep part.
    path
        A state dictionary (``.pth``, ``.pt``): of torchvision's ``densenet121`` in either of its spellings, of MONAI's,
        or of a `FusionNetwork`. Other entries, as the 1000 ImageNet classes, are left aside. Nothing in it is executed.

    Returns
    -------
    int
        Tensors copied.

    Raises
    ------
    PretrainedError
        It is not a state dictionary, or a tensor is missing or has another shape.

    Notes
    -----
    The first convolution of three colours becomes one of grey values: a patch shown to all three, each normalised as
    ImageNet's were, is the same as one channel with the weights ``sum_c w_c / sd_c``; what ``sum_c w_c mean_c / sd_c``
    takes away is added to the running mean of the normalisation behind it.
    """
    if not network.parts.deep:
        raise PretrainedError("the network has no deep part to load weights into")
    chosen, count = _fitting(path, network.densenet.state_dict())
    network.densenet.load_state_dict(chosen)
    return count


def require_weights(path: Path, layers: Layers) -> None:
    """Refuse a file that does not hold a DenseNet's weights, before anything is trained.

    Parameters
    ----------
    path
        As for `load_pretrained`.
    layers
        Size of the DenseNet.

    Raises
    ------
    PretrainedError
        As `load_pretrained`.
    """
    _fitting(path, dense_blocks(layers).state_dict())


def _fitting(path: Path, wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Return the file's weights under the DenseNet's names, and how many the file holds."""
    given = {_monai_name(name): value for name, value in _read(path).items()}
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    if missing:
        raise PretrainedError(
            f"{path.name} lacks {len(missing)} of {len(wanted)} tensors, the first {missing[0]}: it is of another network than "
            "--layers names, or no network's at all"
        )
    first = given["conv0.weight"]
    if first.ndim == 4 and first.shape[1] == 3:
        sd, mean = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET_SD, IMAGENET_MEAN))
        normalised = first.float() / sd
        given["norm0.running_mean"] = given["norm0.running_mean"] + (normalised * mean).sum((1, 2, 3))
        given["conv0.weight"] = normalised.sum(1, keepdim=True)
    chosen = {name: given.get(name, value) for name, value in wanted.items()}
    for name, value in chosen.items():
        if value.shape != wanted[name].shape:
            raise PretrainedError(
                f"{path.name}: {name} has the shape {tuple(value.shape)}, not {tuple(wanted[name].shape)}"
            )
    return chosen, sum(name in given for name in wanted)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise PretrainedError(f"{path.name} cannot be read as weights: {str(error).splitlines()[0][:200]}") from None
    if isinstance(document, dict) and isinstance(document.get("state_dict"), dict):
        document = document["state_dict"]
    if not isinstance(document, dict) or not all(isinstance(value, Tensor) for value in document.values()):
        raise PretrainedError(f"{path.name} is not a state dictionary")
    return document


def _monai_name(name: str) -> str:
    """Return the name that the tensor has in the network's DenseNet."""
    name = re.sub(r"^(module\.|network\.)*(features\.|densenet\.)", "", name)
    # torchvision: denselayer1.norm1.weight, in its old files denselayer1.norm.1.weight
    return _TORCHVISION_LAYER.sub(r"\1.layers.\2\3.\4", name)
