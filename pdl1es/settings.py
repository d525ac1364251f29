"""``app.yaml`` as a validated model: read once, checked once, here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pdl1es import __version__
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.settings_file import read_settings_mapping, settings_error, without_empty_keys
from pdl1es.shipped import shipped_path

DEFAULT_FILE: Final = shipped_path("app.yaml")
"""The settings that ship; every key that another file leaves out has the value that stands in it."""

RESOURCES: Final[dict[str, int | str]] = {"cpu": 2, "gpu": 0, "memory": "4Gi", "gpuMemory": "0Gi"}

OutputKind = Literal["sr", "cam", "pdf", "kos", "fhir", "json"]
StabilityMode = Literal["on", "borderline", "off"]
"""When a tumour is scored again with contours that differ by 1 mm."""


def _with_all_resources(given: Any) -> Any:
    """Return what the orchestrator is asked for, with the default of each resource that is left out."""
    if not isinstance(given, Mapping):
        return given
    return RESOURCES | {key: value for key, value in given.items() if value is not None}


def _in_words_of_yaml(given: Any) -> Any:
    """Return on or off for a truth value: YAML reads the words ``on`` and ``off`` as such."""
    return {True: "on", False: "off"}[given] if isinstance(given, bool) else given


class ApplicationSection(BaseModel):
    """What the MAP packager writes into the manifests; other keys of the packager's are let through.

    `package.manifests.DEFAULTS` repeats these defaults for the image's build.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    title: str = "PD-L1ES - PD-L1 expression score from chest CT"
    version: str = __version__
    input_formats: tuple[str, ...] = Field(default=("file",), alias="input-formats")
    output_formats: tuple[str, ...] = Field(default=("file",), alias="output-formats")


class ModelSettings(BaseModel):
    """How the fusion model is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    require_gpu: bool = Field(default=False, description="refuse to run where no GPU can be used")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2, description="threads of onnxruntime; fixed, so that results do not depend on the machine's cores"
    )


class ReportSettings(BaseModel):
    """Settings that all reports of a site share."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    series_number: Annotated[int, Field(ge=1, le=2_000_000_000)] = Field(
        default=9601, description="of the structured reports; picture, PDF and Key Object Selection have the next three"
    )
    comprehensive_3d: bool = Field(
        default=False,
        description="whether structured reports are Comprehensive 3D SR, as IHE AI Results asks, instead of Comprehensive SR, "
        "which more archives and viewers take; their content is the same",
    )
    show_clinical_values: bool = Field(
        default=True, description="whether age, sex, smoking and family history stand in reports and result.json"
    )
    show_free_text: bool = Field(
        default=False,
        description="whether text that people or vendors wrote (labels, code meanings, kernels that no table knows) stands in "
        "logs, messages and result.json as it is; else by its length and a hash, because it can hold a name",
    )
    file_mode: Annotated[str, Field(pattern=r"^06[046][046]$")] = Field(
        default="0640",
        description="mode of the files of a run, in quotes; the process's umask takes away from it. A report holds its "
        "patient's identity",
    )

    @property
    def mode(self) -> int:
        """The files' mode as a number."""
        return int(self.file_mode, 8)


class LoggingSettings(BaseModel):
    """What is logged to standard error; never a patient's name, id or date."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(BaseModel):
    """The whole of ``app.yaml``; every key may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    application: ApplicationSection = ApplicationSection()
    resources: Annotated[dict[str, int | str], BeforeValidator(_with_all_resources)] = Field(
        default=RESOURCES,
        description="for the MAP packager and the orchestrator",
    )
    selection: SelectionRules = SelectionRules()
    protocol: ProtocolRules = ProtocolRules()
    plausibility: PlausibilityRules = PlausibilityRules()
    limits: ScanLimits = ScanLimits()
    model: ModelSettings = ModelSettings()
    outputs: tuple[OutputKind, ...] = Field(
        default=("sr", "json"),
        description="sr: structured report; cam: class activation map; pdf: one page; kos: Key Object Selection; fhir: a Bundle of "
        "FHIR R4; json is always written",
    )
    report_refusals: bool = Field(
        default=False, description="a refused study yields a short SR that says so, and exit code 0 instead of 3"
    )
    report: ReportSettings = ReportSettings()
    contour_stability: Annotated[StabilityMode, BeforeValidator(_in_words_of_yaml)] = Field(
        default="on",
        description="score again with contours that differ by 1 mm, and report the interval: on; borderline, only where the "
        "score lies so near a cut-off that such a contour could decide; off",
    )
    log: LoggingSettings = LoggingSettings()

    def __repr__(self) -> str:
        """Name the sections that differ from the defaults; ``model_dump()`` has every value."""
        changed = ", ".join(self.model_dump(exclude_defaults=True))
        return f"<Settings: {changed} changed>" if changed else "<Settings: the defaults>"

    __str__ = __repr__

    @model_validator(mode="before")
    @classmethod
    def _empty_keys_are_left_out(cls, given: Any) -> Any:
        return without_empty_keys(given, cls)


def settings_file(given: Path | None) -> Path:
    """Return the file of the settings: ``--config``, else ``HOLOSCAN_CONFIG_PATH``, else ``app.yaml`` beside the application."""
    if given is not None:
        return given
    from_environment = os.environ.get("HOLOSCAN_CONFIG_PATH")
    return Path(from_environment) if from_environment else DEFAULT_FILE


def read_settings(given: Settings | Mapping[str, Any] | str | os.PathLike[str] | None) -> Settings:
    """Return settings, however they are given.

    Parameters
    ----------
    given
        Settings; a mapping with the sections of ``app.yaml``; a file; or None for what `settings_file` finds.

    Returns
    -------
    Settings

    Raises
    ------
    SettingsError
        As `load_settings`.
    """
    if isinstance(given, Settings):
        return given
    if isinstance(given, Mapping):
        return _validated(dict(given), "the mapping")
    return load_settings(settings_file(Path(given) if given is not None else None))


def load_settings(file: Path) -> Settings:
    """Read and validate ``app.yaml``.

    Raises
    ------
    SettingsError
        Where it is missing, not YAML, or holds a key or value that is not allowed: every fault at once.
    """
    return _validated(read_settings_mapping(file), str(file))


def _validated(document: Mapping[Any, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise settings_error(error, Settings, where) from error
