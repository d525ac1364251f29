"""The radiomics settings of the method, ``settings.yaml``, as one typed object.

The file follows pyradiomics' parameter file, so that pyradiomics itself can be run with it. Every key is either used by
the extraction or must have the one value that the extraction is written for; another key or value is an error.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator

from pdl1es.features.names import IMAGE_TYPES, log_image
from pdl1es.features.settings_file import radiomics_settings_text
from pdl1es.method import RADIOMICS_MARGIN_MM


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExtractionSettings(_Section):
    """pyradiomics' ``setting``; all lengths are mm, which are voxels on the 1 mm grid."""

    force_2d: Annotated[Literal[True], Field(alias="force2D", description="neighbours within slices")]
    force_2d_dimension: Annotated[Literal[0], Field(alias="force2Ddimension", description="axial slices")]
    bin_width: Annotated[
        PositiveInt | PositiveFloat, Field(alias="binWidth", description="of grey levels, in the image's own unit")
    ]
    pre_crop: Annotated[Literal[True], Field(alias="preCrop", description="filters see the crop alone")]
    pad_distance: Annotated[PositiveInt, Field(alias="padDistance", description="the crop's margin around the tumour")]
    lbp_radius: Annotated[PositiveInt, Field(alias="lbp2DRadius")]
    lbp_samples: Annotated[PositiveInt, Field(alias="lbp2DSamples")]
    lbp_method: Annotated[Literal["uniform"], Field(alias="lbp2DMethod")]

    @field_validator("pad_distance")
    @classmethod
    def _held_by_the_grid(cls, value: int) -> int:
        if value != RADIOMICS_MARGIN_MM:
            raise ValueError(f"the 1 mm grid holds {RADIOMICS_MARGIN_MM} mm around the tumour for radiomics")
        return value


class NoSettings(_Section):
    """A filter that has no settings."""


class WaveletSettings(_Section):
    """The undecimated wavelet transform within axial slices."""

    wavelet: Annotated[str, Field(description="PyWavelets' name")]
    level: Literal[1]


class LogSettings(_Section):
    """The Laplacian of Gaussian."""

    sigma: tuple[PositiveFloat, ...]

    @field_validator("sigma")
    @classmethod
    def _named(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        named = [name for name in IMAGE_TYPES if name.startswith("log-")]
        if [log_image(sigma) for sigma in value] != named:
            raise ValueError(f"the model's features are of {', '.join(named)}")
        return value


class ImageTypeSettings(_Section):
    """pyradiomics' ``imageType``: the method's filters, all of which are used."""

    original: Annotated[NoSettings, Field(alias="Original")]
    wavelet: Annotated[WaveletSettings, Field(alias="Wavelet")]
    log: Annotated[LogSettings, Field(alias="LoG")]
    square: Annotated[NoSettings, Field(alias="Square")]
    square_root: Annotated[NoSettings, Field(alias="SquareRoot")]
    logarithm: Annotated[NoSettings, Field(alias="Logarithm")]
    exponential: Annotated[NoSettings, Field(alias="Exponential")]
    gradient: Annotated[NoSettings, Field(alias="Gradient")]
    lbp_2d: Annotated[NoSettings, Field(alias="LBP2D")]


class FeatureClassSettings(_Section):
    """pyradiomics' ``featureClass``: the method's classes; None stands for all features of a class."""

    shape: None
    firstorder: None
    glcm: None
    gldm: None
    glrlm: None
    glszm: None
    ngtdm: None


class RadiomicsSettings(_Section):
    """The whole of ``settings.yaml``."""

    setting: ExtractionSettings
    image_types: Annotated[ImageTypeSettings, Field(alias="imageType")]
    feature_classes: Annotated[FeatureClassSettings, Field(alias="featureClass")]


def parse_settings(text: str) -> RadiomicsSettings:
    """Read radiomics settings.

    Parameters
    ----------
    text
        YAML, as pyradiomics' parameter files are written.

    Returns
    -------
    RadiomicsSettings

    Raises
    ------
    ValueError
        A key is missing or unknown, or has a value that the extraction is not written for.
    """
    return RadiomicsSettings.model_validate(yaml.safe_load(text))


SETTINGS: Final = parse_settings(radiomics_settings_text())
"""The method's own."""
