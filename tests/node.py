"""The JavaScript of the lab, called from tests: functions of snnlib/live in a process of node."""

import base64
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LIVE = Path(__file__).parent.parent / "snnlib" / "live"
SERVER = Path(__file__).parent / "live" / "serve.mjs"
NODE = shutil.which("node")
KINDS = {  # of arrays in JavaScript, by dtype of numpy
    "uint8": "Uint8Array",
    "int32": "Int32Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
}
DTYPES = {kind: dtype for dtype, kind in KINDS.items()}


class JavaScriptError(Exception):
    """What a function threw."""

    def __init__(self, name: str, message: str, reason: str | None = None) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message, self.reason = name, message, reason


@dataclass(frozen=True)
class Call:
    """What a function of a module gives, or one key of it; can be an argument of another."""

    module: str
    function: str
    args: tuple
    key: str | None = None


class Node:
    """A process of node that answers one call after the other."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([NODE, str(SERVER)], text=True, **pipes)

    def call(self, module: str, function: str, *args: Any, key: str | None = None) -> Any:
        """What ``snnlib/live/<module>.mjs`` gives; tensors, arrays and bytes are typed arrays."""
        request = json.dumps(_encode(Call(module, function, args, key)), allow_nan=False)
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline(), object_hook=_decode)
        if "error" in answer:
            raise JavaScriptError(**answer["error"])
        return answer.get("result")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def simulate_in_lab(node: Node, document: bytes, image: Tensor, **options: Any) -> dict:
    """What `simulate` of simulation.mjs gives for one image [C, H, W]."""
    network = Call("network", "readNetwork", (document,))
    return node.call("simulation", "simulate", network, image.flatten(), options)


def in_pythons_order(rows: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """[T, C, H, W] or [T, C] of a recording, whose rows are [H][W][C]."""
    *space, channels = *shape[1:], shape[0]
    places = torch.from_numpy(rows).reshape(-1, *space, channels)
    return places.movedim(-1, 1).contiguous()


def _encode(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _encode(value.numpy())
    if isinstance(value, bytes):
        return _encode(np.frombuffer(value, np.uint8))
    if isinstance(value, np.ndarray):
        text = base64.b64encode(value.tobytes()).decode()
        return {"$array": KINDS[value.dtype.name], "$bytes": text}
    if isinstance(value, Call):
        place = (LIVE / f"{value.module}.mjs").as_uri()
        args = [_encode(arg) for arg in value.args]
        return {"$module": place, "$call": value.function, "$args": args, "$get": value.key}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    return [_encode(item) for item in value] if isinstance(value, (list, tuple)) else value


def _decode(value: dict) -> Any:
    if "$array" not in value:
        return value
    content = bytearray(base64.b64decode(value["$bytes"]))
    return np.frombuffer(content, DTYPES[value["$array"]])
