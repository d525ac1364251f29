"""The fusion network (paper, Figure 1): DenseNet121 features, radiomics and clinical variables into one linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from monai.networks.nets import DenseNet
from numpy.typing import NDArray
from torch import Tensor, nn

from pdl1es.method import Z_CLIP
from pdl1es.model.imputation import NEIGHBOURS
from training.preprocessing import CoxTerms, FittedPreprocessing


@dataclass(frozen=True, slots=True)
class Layers:
    """Size of the DenseNet: DenseNet121 by default.

    Four blocks and no other number: then 112 x 112 pixels end in the 3 x 3 cells that the exported file promises.
    """

    init_features: int = 64
    growth_rate: int = 32
    block_config: tuple[int, int, int, int] = (6, 12, 24, 16)

    @property
    def deep_features(self) -> int:
        """Channels of the last block: each block adds its layers' growth, each transition halves."""
        channels = self.init_features
        for number, layers in enumerate(self.block_config, start=1):
            channels += layers * self.growth_rate
            if number < len(self.block_config):
                channels //= 2
        return channels


DENSENET121: Final = Layers()
SMALL: Final = Layers(init_features=8, growth_rate=4, block_config=(1, 1, 1, 1))
"""For tests of the mechanics: the same path in milliseconds. It learns little."""
DEFAULT_WINDOW_HU: Final = (-1000.0, 400.0)
"""Air to dense enhancement: the border of a lung tumour spans -900 to 100 HU, so a mediastinal window would cut it
off; bone and calcification above 400 HU are alike."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts feed the linear layer: all for PD-L1ES, one for each of the paper's comparators."""

    deep: bool = True
    radiomics: bool = True
    clinical: bool = True

    def __post_init__(self) -> None:
        if not (self.deep or self.radiomics or self.clinical):
            raise ValueError("a network needs at least one part")


PDL1ES: Final = Parts()
CM: Final = Parts(deep=False, radiomics=False)
"""Clinical variables only."""
RM: Final = Parts(deep=False, clinical=False)
"""Radiomic features only."""
DLM: Final = Parts(radiomics=False, clinical=False)
"""Deep features only."""


class Preprocessor(nn.Module):
    """Raw values to the linear layer's inputs, as a module, so that training and the exported file share it.

    Parameters
    ----------
    fitted
        What the training cohort gave.
    """

    selected: Tensor
    radiomic_mean: Tensor
    radiomic_sd: Tensor
    clinical_mean: Tensor
    clinical_sd: Tensor
    profiles: Tensor
    counts: Tensor
    training_mean: Tensor

    def __init__(self, fitted: FittedPreprocessing) -> None:
        super().__init__()
        self.register_buffer("selected", torch.tensor(fitted.selected, dtype=torch.int64))
        for name, array in (
            ("radiomic_mean", fitted.radiomic_mean),
            ("radiomic_sd", fitted.radiomic_sd),
            ("clinical_mean", fitted.clinical_mean),
            ("clinical_sd", fitted.clinical_sd),
            ("profiles", fitted.profiles.values),
            ("counts", fitted.profiles.counts),
            ("training_mean", fitted.profiles.training_mean),
        ):
            self.register_buffer(name, _float64(array))

    def radiomic_z(self, radiomics: Tensor) -> Tensor:
        """Select and standardise.

        Parameters
        ----------
        radiomics
            float64, shape (..., 1316).

        Returns
        -------
        Tensor
            float64, shape (..., n_selected): before clipping, NaN where a feature is not finite.
        """
        values = radiomics.index_select(-1, self.selected)
        # Not isinf, because its export casts to float32, in which 1e39 is infinite. A comparison with NaN is false.
        finite = values.abs() < torch.inf
        return torch.where(finite, (values - self.radiomic_mean) / self.radiomic_sd, torch.nan)

    def clipped(self, radiomic_z: Tensor) -> Tensor:
        """Replace NaN by the training mean (0) and clip at |z| = 5; float64, same shape."""
        return torch.where(torch.isnan(radiomic_z), 0.0, radiomic_z).clamp(-Z_CLIP, Z_CLIP)

    def impute(self, clinical: Tensor) -> Tensor:
        """Fill the missing clinical variables: :func:`pdl1es.model.imputation.impute` for a batch, in tensors.

        Parameters
        ----------
        clinical
            float64, shape (..., 4), raw scale; NaN where missing.

        Returns
        -------
        Tensor
            float64, same shape.
        """
        missing = torch.isnan(clinical)
        if not len(self.counts):
            return torch.where(missing, self.training_mean, clinical)
        known = torch.where(missing, 0.0, clinical)
        difference = torch.where(missing.unsqueeze(-2), 0.0, self.profiles - known.unsqueeze(-2))
        squares = difference * difference
        # Added one by one: a reduction's order of additions is the runtime's own, and ties must stay ties.
        squared = squares[..., 0] + squares[..., 1] + squares[..., 2] + squares[..., 3]
        strictly_nearer = (squared.unsqueeze(-2) < squared.unsqueeze(-1)).to(torch.float64)
        nearer = (strictly_nearer * self.counts).sum(-1)
        distance = squared.sqrt()
        same = distance == 0.0
        by_distance = torch.where(nearer < NEIGHBOURS, self.counts, 0.0) / torch.where(same, 1.0, distance)
        weight = torch.where(same.any(-1, keepdim=True), torch.where(same, self.counts, 0.0), by_distance)
        estimate = (weight.unsqueeze(-1) * self.profiles).sum(-2) / weight.sum(-1, keepdim=True)
        estimate = torch.where(missing.all(-1, keepdim=True), self.training_mean, estimate)
        return torch.where(missing, estimate, clinical)

    def clinical_z(self, imputed: Tensor) -> Tensor:
        """Standardise imputed clinical variables; float64, shape (..., 4)."""
        return (imputed - self.clinical_mean) / self.clinical_sd


class FusionNetwork(nn.Module):
    """PD-L1ES, or with parts switched off the paper's CM, RM and DLM.

    The linear layer has two outputs and is trained by cross-entropy over their softmax, as in the paper; what counts
    for a score is their difference, the logit of high expression.

    Parameters
    ----------
    fitted
        What the training cohort gave.
    parts
        Which parts feed the linear layer.
    window_hu
        Lower and upper end of the patch's HU window, scaled to 0..1.
    layers
        Size of the DenseNet.
    """

    def __init__(
        self,
        fitted: FittedPreprocessing,
        parts: Parts = PDL1ES,
        window_hu: tuple[float, float] = DEFAULT_WINDOW_HU,
        layers: Layers = DENSENET121,
    ) -> None:
        super().__init__()
        if not window_hu[0] < window_hu[1]:
            raise ValueError(f"the window must rise, got {window_hu}")
        if parts == RM and not fitted.selected:
            raise ValueError("a network of radiomics alone needs a selected feature")
        self.parts = parts
        self.window_hu = window_hu
        self.layers = layers
        self.n_selected = len(fitted.selected)
        self.preprocessor = Preprocessor(fitted)
        self.densenet = dense_blocks(layers) if parts.deep else nn.Identity()
        inputs = layers.deep_features * parts.deep + self.n_selected * parts.radiomics + 4 * parts.clinical
        self.classifier = nn.Linear(inputs, 2)

    def preprocess(self, radiomics: Tensor, clinical: Tensor) -> tuple[Tensor, Tensor]:
        """Turn raw values of patients into the linear layer's inputs. Nothing here is learnt, so one call is enough.

        Parameters
        ----------
        radiomics
            float64, shape (N, 1316).
        clinical
            float64, shape (N, 4), NaN where missing.

        Returns
        -------
        tuple[Tensor, Tensor]
            float64 z-scores, shapes (N, n_selected) and (N, 4).
        """
        z = self.preprocessor.clipped(self.preprocessor.radiomic_z(radiomics))
        return z, self.preprocessor.clinical_z(self.preprocessor.impute(clinical))

    def feature_maps(self, patches: Tensor) -> Tensor:
        """HU patches (N, 1, 112, 112) to the last block's maps after ReLU, float32, shape (N, 1024, 3, 3)."""
        return last_maps(self.densenet, patches, self.window_hu)

    def forward(self, patches: Tensor, radiomic_z: Tensor, clinical_z: Tensor) -> Tensor:
        """Two logits for each patch, for training.

        Parameters
        ----------
        patches
            float32 HU, shape (N, 1, 112, 112); not looked at where the deep part is off.
        radiomic_z, clinical_z
            As `preprocess` gives them, one row per patch; not looked at where their part is off.

        Returns
        -------
        Tensor
            Shape (N, 2): low, high expression.
        """
        inputs = []
        if self.parts.deep:
            inputs.append(self.feature_maps(patches).mean((2, 3)))
        if self.parts.radiomics:
            inputs.append(radiomic_z)
        if self.parts.clinical:
            inputs.append(clinical_z)
        # In full precision also under bf16: three digits of a z-score are too few, and the layer costs nothing.
        with torch.autocast(self.classifier.weight.device.type, enabled=False):
            return self.classifier(torch.cat([part.to(self.classifier.weight.dtype) for part in inputs], dim=1))

    def logit_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fold the two outputs into the one logit.

        Returns
        -------
        tuple[Tensor, Tensor, Tensor, Tensor]
            float64 bias (), deep weights (1024,) for DenseNet121, radiomic weights (n_selected,), clinical weights
            (4,); zeros for a part that is off.
        """
        weight = self.classifier.weight.detach().to(torch.float64)
        bias = self.classifier.bias.detach().to(torch.float64)
        difference = weight[1] - weight[0]
        sizes = (self.layers.deep_features, self.n_selected, 4)
        folded = []
        for size, on in zip(sizes, (self.parts.deep, self.parts.radiomics, self.parts.clinical), strict=True):
            folded.append(difference[:size] if on else difference.new_zeros(size))
            difference = difference[size:] if on else difference
        return bias[1] - bias[0], folded[0], folded[1], folded[2]


class ServingOutputs(NamedTuple):
    """What the exported file gives, in its order; all float64.

    ``pdl1es`` (), ``slice_scores`` (S,), ``cam`` (S, 3, 3), ``contributions`` (2 + n_selected + 4,): bias, deep, each
    selected feature, each clinical variable; ``imputed_clinical`` (4,), ``radiomic_z`` (n_selected,) before clipping;
    ``clinical_risk`` () and ``fusion_risk`` () where there are Cox models.
    """

    pdl1es: Tensor
    slice_scores: Tensor
    cam: Tensor
    contributions: Tensor
    imputed_clinical: Tensor
    radiomic_z: Tensor
    clinical_risk: Tensor | None = None
    fusion_risk: Tensor | None = None


class ServingGraph(nn.Module):
    """One patient from raw inputs to every output of the contract; this is what is exported.

    Parameters
    ----------
    network
        Trained; put into evaluation mode.
    cox
        Cox models, or None.
    """

    bias: Tensor
    deep_weight: Tensor
    radiomic_weight: Tensor
    clinical_weight: Tensor
    cox_clinical: Tensor
    cox_clinical_means: Tensor
    cox_fusion: Tensor
    cox_fusion_means: Tensor

    def __init__(self, network: FusionNetwork, cox: CoxTerms | None = None) -> None:
        super().__init__()
        self.network = network.eval()
        bias, deep, radiomic, clinical = network.logit_weights()
        self.register_buffer("bias", bias)
        self.register_buffer("deep_weight", deep)
        self.register_buffer("radiomic_weight", radiomic)
        self.register_buffer("clinical_weight", clinical)
        self.has_clinical_risk = cox is not None
        self.has_fusion_risk = cox is not None and cox.fusion_coefficients is not None
        if cox is not None:
            self.register_buffer("cox_clinical", _float64(cox.clinical_coefficients))
            self.register_buffer("cox_clinical_means", _float64(cox.clinical_means))
            if cox.fusion_coefficients is not None and cox.fusion_means is not None:
                self.register_buffer("cox_fusion", _float64(cox.fusion_coefficients))
                self.register_buffer("cox_fusion_means", _float64(cox.fusion_means))

    def forward(self, patches: Tensor, radiomics: Tensor, clinical: Tensor) -> tuple[Tensor, ...]:
        """Score one patient.

        Parameters
        ----------
        patches
            float32 HU, shape (S, 1, 112, 112).
        radiomics
            float64, shape (1316,).
        clinical
            float64, shape (4,), NaN where missing.

        Returns
        -------
        tuple[Tensor, ...]
            The fields of `ServingOutputs`, without those that are None.
        """
        preprocessor = self.network.preprocessor
        if self.network.parts.deep:
            maps = self.network.feature_maps(patches).to(torch.float64)
            # The mean over cells is linear, so each cell's share of the slice's deep term is exact (CAM).
            cam = (maps * self.deep_weight[None, :, None, None]).sum(1) / 9.0
        else:
            cam = torch.zeros_like(patches[:, 0, :3, :3], dtype=torch.float64)
        radiomic_z = preprocessor.radiomic_z(radiomics)
        imputed = preprocessor.impute(clinical)
        radiomic = preprocessor.clipped(radiomic_z) * self.radiomic_weight
        clinical_terms = preprocessor.clinical_z(imputed) * self.clinical_weight
        deep = cam.sum((1, 2))
        rest = self.bias + radiomic.sum() + clinical_terms.sum()
        pdl1es = torch.sigmoid(rest + deep.mean())
        contributions = torch.cat([self.bias[None], deep.mean()[None], radiomic, clinical_terms])
        outputs = [pdl1es, torch.sigmoid(rest + deep), cam, contributions, imputed, radiomic_z]
        if self.has_clinical_risk:
            clinical_risk = ((imputed - self.cox_clinical_means) * self.cox_clinical).sum()
            outputs.append(clinical_risk)
            if self.has_fusion_risk:
                both = torch.stack([pdl1es, clinical_risk])
                outputs.append(((both - self.cox_fusion_means) * self.cox_fusion).sum())
        return tuple(outputs)

    def output_names(self) -> tuple[str, ...]:
        """Names of what `forward` gives."""
        count = 6 + self.has_clinical_risk + self.has_fusion_risk
        return ServingOutputs._fields[:count]


def last_maps(densenet: nn.Module, patches: Tensor, window_hu: tuple[float, float]) -> Tensor:
    """Return what the last block sees.

    Parameters
    ----------
    densenet
        As `dense_blocks` makes it.
    patches
        float32 HU, shape (N, 1, 112, 112).
    window_hu
        Scaled to 0..1; what lies outside is clamped.

    Returns
    -------
    Tensor
        After ReLU, shape (N, 1024, 3, 3) for DenseNet121.
    """
    low, high = window_hu
    return torch.relu(densenet(((patches - low) / (high - low)).clamp(0.0, 1.0)))


def dense_blocks(layers: Layers) -> nn.Module:
    """MONAI's DenseNet up to its last block.

    Parameters
    ----------
    layers
        Its size.

    Returns
    -------
    nn.Module
        From one channel to the maps of the last block.
    """
    network = DenseNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        init_features=layers.init_features,
        growth_rate=layers.growth_rate,
        block_config=layers.block_config,
    )
    return network.features


def _float64(array: NDArray[np.float64]) -> Tensor:
    return torch.tensor(np.asarray(array, dtype=np.float64))
