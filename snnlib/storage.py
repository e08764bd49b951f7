"""Files that are whole or absent: tensors with metadata, no code inside.

A safetensors file holds plain arrays and text, so loading one cannot run code
(a pickle can).  Every file written here carries the SHA-256 of its tensors and
takes its name only when complete: a killed run leaves the old file untouched.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


class StorageError(ValueError):
    """A file is truncated, altered, or of another kind than the caller asked for."""


def write_whole(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file, then give it its name in one step.

    Parameters
    ----------
    path : str or Path
    write : callable
        Called with the path of the temporary file, which stands beside the real one.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        write(partial)
        partial.chmod(mode)  # safetensors would keep other users from reading it
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def save_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict) -> None:
    """Write tensors and metadata to one safetensors file, whole or not at all.

    Parameters
    ----------
    path : str or Path
    tensors : dict of str to Tensor
    metadata : dict
        Anything that JSON holds.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    meta = json.dumps(metadata)
    text = {"meta": meta, "sha256": _checksum(tensors, meta)}
    write_whole(path, lambda partial: save_file(tensors, partial, metadata=text))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read back what ``save_tensors`` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    tensors : dict of str to Tensor
    metadata : dict

    Raises
    ------
    FileNotFoundError
        For a missing file.
    StorageError
        For one that is truncated, altered, or was not written by ``save_tensors``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; restore it from the repository or reinstall.")
    tensors, text = _read(path)
    if "meta" not in text or "sha256" not in text:
        raise StorageError(f"{path} was not written by this course: it carries no checksum.")
    if text["sha256"] != _checksum(tensors, text["meta"]):
        raise StorageError(f"{path} was altered: its checksum differs; restore the original.")
    return tensors, json.loads(text["meta"])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())  # the file object itself cannot be iterated
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise StorageError(f"{path} is truncated or no safetensors file ({error}).") from error


def _checksum(tensors: dict[str, Tensor], meta: str) -> str:
    digest = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
