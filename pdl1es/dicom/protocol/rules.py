"""What to do about a CT that breaks the acquisition protocol: settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["warn", "withhold_group", "refuse"]


class ProtocolRules(BaseModel):
    """What to do about each way in which a CT can break the protocol.

    Every rule says ``warn``, ``withhold_group`` (the score is reported, the risk group is not) or ``refuse``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smooth_kernel: Action = Field(
        default="withhold_group",
        description="a smooth reconstruction kernel: the paper excluded such CT (Siemens 30f)",
    )
    unknown_kernel: Action = Field(default="warn", description="a kernel that no table knows, or several kernels")
    missing_kernel: Action = Field(default="warn", description="Convolution Kernel is absent")
    thick_slices: Action = Field(default="warn", description="slices thicker than maximum_slice_thickness_mm")
    missing_slice_thickness: Action = Field(default="warn", description="Slice Thickness is absent")
    missing_manufacturer: Action = Field(default="warn", description="Manufacturer is absent")
    several_manufacturers: Action = Field(
        default="warn", description="the slices of the series name several manufacturers"
    )
    averaged_images: Action = Field(
        default="withhold_group", description="averages, sums or thick slabs of several images, or smoothed images"
    )
    spectral_images: Action = Field(
        default="withhold_group",
        description="images of a material, without one, or at one energy: iodine, virtual non-contrast, monoenergetic",
    )
    multi_energy: Action = Field(
        default="warn", description="a multi-energy CT that seems to be the conventional image of its scan"
    )
    attenuation_correction: Action = Field(
        default="withhold_group", description="the low dose CT that corrects a PET, where it is marked as one"
    )
    reformatted_images: Action = Field(
        default="withhold_group", description="images interpolated between slices (MPR); they may be averages as well"
    )
    gantry_tilt: Action = Field(
        default="warn", description="a tilted gantry; the resampling follows the true geometry of every slice"
    )
    lossy_compression: Action = Field(default="warn", description="the images are, or may be, compressed with loss")
    maximum_slice_thickness_mm: Annotated[float, Field(gt=0.0, le=100.0)] = Field(
        default=5.0, description="thickest slices that pass, mm"
    )
    maximum_tilt_degrees: Annotated[float, Field(ge=0.0, lt=90.0)] = Field(
        default=0.5, description="largest gantry tilt that counts as none, degrees"
    )
    sharp_kernels: tuple[str, ...] = Field(
        default=(), description="further kernels that count as sharp, whatever the tables say"
    )
    smooth_kernels: tuple[str, ...] = Field(
        default=(), description="further kernels that count as smooth, whatever the tables say"
    )
