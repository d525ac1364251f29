"""The SHA-256 of every file of a model's folder that is read: written when a model is exported, checked when it is loaded.

``python -m pdl1es.model.digests FOLDER`` writes them again after an intended change of a file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Final

from pdl1es.atomic import write_atomically
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.model.folder import EXPECTATION_FILE, METADATA_FILE, MODEL_FILE, model_folder_of
from pdl1es.regular_file import read_regular_file

DIGESTS_KEY: Final = "sha256"
"""Key of ``metadata.json``: digests by file name, hexadecimal."""
DIGESTED_FILES: Final = (MODEL_FILE, EXPECTATION_FILE)
MAX_METADATA_BYTES: Final = 16 * 1024 * 1024


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_digests(folder: Path) -> dict[str, str]:
    """Write the digests of a model's files into its ``metadata.json``; everything else in it is kept.

    Call it last, when every other file of the folder is written.

    Parameters
    ----------
    folder
        Folder of ``model.onnx``; without a ``metadata.json``, one of the digests alone is made.

    Returns
    -------
    dict
        Digest by file name.

    Raises
    ------
    ValueError
        ``metadata.json`` is there and is no JSON object.
    OSError
        A file cannot be read.
    Refusal
        OUTPUT_NOT_WRITABLE.
    """
    path = folder / METADATA_FILE
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not isinstance(document, dict):
        raise ValueError(f"{METADATA_FILE} is no JSON object")
    digests = {name: sha256_of((folder / name).read_bytes()) for name in DIGESTED_FILES if (folder / name).exists()}
    document[DIGESTS_KEY] = digests
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode("utf-8"))
    return digests


def check_digest(folder: Path, name: str, content: bytes) -> str:
    """Compare a file with the digest in ``metadata.json``.

    Parameters
    ----------
    folder
        Of the model.
    name
        The file's name, one of `DIGESTED_FILES`.
    content
        What was read from it.

    Returns
    -------
    str
        Its SHA-256, hexadecimal.

    Raises
    ------
    Refusal
        MODEL_CHANGED: the digest differs, or ``metadata.json`` does not hold it.
    """
    found = sha256_of(content)
    expected = _digests(folder).get(name)
    if not isinstance(expected, str):
        raise _changed(f"{METADATA_FILE} holds no SHA-256 of {name}")
    if found != expected.lower():
        raise _changed(f"{name} has the SHA-256 {found[:12]}..., and {METADATA_FILE} says {expected[:12]!r}...")
    return found


def _digests(folder: Path) -> dict[str, object]:
    try:
        content = read_regular_file(folder / METADATA_FILE, MAX_METADATA_BYTES)
    except OSError as error:
        raise _changed(f"{METADATA_FILE} cannot be read from the model's folder ({error.strerror})") from None
    try:
        if len(content) > MAX_METADATA_BYTES:
            raise ValueError
        digests = json.loads(content)[DIGESTS_KEY]
    except (ValueError, LookupError, TypeError, RecursionError):
        digests = None
    if not isinstance(digests, dict):
        raise _changed(f"{METADATA_FILE} is no JSON object with the key {DIGESTS_KEY!r}")
    return digests


def _changed(found: str) -> Refusal:
    return Refusal(RefusalCode.MODEL_CHANGED, found)


def main(arguments: list[str] | None = None) -> int:
    """Write the digests of a folder's files, and print them."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m pdl1es.model.digests FOLDER", file=sys.stderr)
        return 2
    for name, digest in write_digests(model_folder_of(Path(arguments[0]))).items():
        print(f"{digest}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
