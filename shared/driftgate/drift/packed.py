"""numpy arrays in a checkpoint: shape, and little-endian bytes in base64."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator


def packed(array: NDArray[Any]) -> dict[str, Any]:
    data = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    return {"shape": list(array.shape), "bytes": base64.b64encode(data.tobytes()).decode()}


def unpacked(stored: dict[str, Any] | NDArray[Any], dtype: str) -> NDArray[Any]:
    """What `packed` wrote, with numbers of that type.

    Raises:
        ValueError, KeyError, TypeError: nobody wrote that.
    """
    if isinstance(stored, np.ndarray):
        return stored
    flat = np.frombuffer(base64.b64decode(stored["bytes"]), dtype)
    return flat.reshape(stored["shape"]).astype(np.dtype(dtype).newbyteorder("="))


Doubles = Annotated[
    NDArray[np.float64],
    PlainValidator(lambda stored: unpacked(stored, "<f8")),
    PlainSerializer(packed),
]
Singles = Annotated[
    NDArray[np.float32],
    PlainValidator(lambda stored: unpacked(stored, "<f4")),
    PlainSerializer(packed),
]
