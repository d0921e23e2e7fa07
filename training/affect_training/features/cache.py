"""Features of a frozen base on disk, keyed by what they were computed from.

A folder holds the features of one base (backbone, weights, preprocessing). Its chunks are pairs of files named
by their content: ``NAME.features.npy``, float32 [k, d], and ``NAME.keys.npy``, uint8 [k, 32], the SHA-256 of each
picture's bytes. The keys are written last, so a chunk without keys does not count; chunks of several
machines can lie side by side.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affect_contract.atomic_files import write_atomically
from affect_contract.backbones import BackboneName
from affect_contract.preprocess import PREPROCESS_VERSION

_KEY_BYTES = hashlib.sha256().digest_size


class FeatureCache:
    """The features of one base."""

    def __init__(self, folder: Path, backbone: BackboneName, weights_digest: str) -> None:
        self._folder = folder / "features" / f"{backbone}-p{PREPROCESS_VERSION}-{weights_digest[:16]}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._places: dict[str, tuple[Path, int]] = {}
        for keys in sorted(self._folder.glob("*.keys.npy")):
            self._index(keys, np.load(keys, allow_pickle=False))

    def missing(self, digests: Sequence[str]) -> list[int]:
        """Positions in ``digests`` of the pictures that are not here; of two identical ones, the first alone."""
        first = {digest: position for position, digest in reversed(list(enumerate(digests)))}
        return sorted(position for digest, position in first.items() if digest not in self._places)

    def add(self, digests: Sequence[str], features: NDArray[np.float32]) -> None:
        """Keep the features of some pictures, float32 [k, d], as one chunk."""
        keys = np.frombuffer(b"".join(map(bytes.fromhex, digests)), np.uint8).reshape(-1, _KEY_BYTES)
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:32]
        write_atomically(self._folder / f"{name}.features.npy", _npy(features))
        write_atomically(self._folder / f"{name}.keys.npy", _npy(keys))
        self._index(self._folder / f"{name}.keys.npy", keys)

    def rows(self, digests: Sequence[str]) -> "CachedFeatures":
        """The features of pictures that are all here, in the order asked for; read when they are used.

        Raises:
            KeyError: a picture is missing.
        """
        return CachedFeatures([self._places[digest] for digest in digests])

    def _index(self, keys: Path, digests: NDArray[np.uint8]) -> None:
        chunk = keys.with_name(keys.name.replace(".keys.", ".features."))
        for row, key in enumerate(digests):
            self._places[key.tobytes().hex()] = (chunk, row)


class CachedFeatures:
    """Features on disk as inputs of a training, mapped and not read whole: there may be more than memory holds."""

    def __init__(self, places: Sequence[tuple[Path, int]]) -> None:
        numbers: dict[Path, int] = {}
        chunks = [numbers.setdefault(chunk, len(numbers)) for chunk, _ in places]
        self._chunk = np.array(chunks, np.int32)
        self._row = np.array([row for _, row in places], np.int32)
        # As plain arrays, which index ten times faster than their subclass for mapped files.
        self._maps = [np.asarray(np.load(chunk, mmap_mode="r", allow_pickle=False)) for chunk in numbers]

    def __len__(self) -> int:
        return len(self._row)

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.float32]]:
        """Rows by index, float32 [b, d] each."""
        return map(self._batch, indices)

    def _batch(self, indices: NDArray[np.intp]) -> NDArray[np.float32]:
        places = zip(self._chunk[indices].tolist(), self._row[indices].tolist(), strict=True)
        return np.stack([self._maps[chunk][row] for chunk, row in places])


def _npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
