"""The process that decodes: reads requests as lines of JSON, answers with a line of JSON and raw bytes.

Started by `decoding.py` as `python -m`. Its memory is bounded, so that a file that asks for more ends here and not in
the process that trains.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np


def bound_memory(most: int) -> None:
    """Limits this process's address space, where the system can."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


def answer(request: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
    """What a request asks for; `{"refused": …}` where the file cannot be used."""
    from medloom.modalities.image.reading.scan import Refused

    try:
        if request["do"] == "headers":
            return _headers(request["path"]), None
        if request["do"] == "grid":
            from medloom.modalities.image.looking import grid_of

            shape, gaps = grid_of(Path(request["path"]), request["dims"])
            return {"shape": shape, "spacing_mm": gaps}, None
        if request["do"] == "digest":
            from medloom.modalities.image.reading.dicom_header import Plane
            from medloom.modalities.image.reading.dicom_pixels import digest_of

            plane = part_of(Plane, request["plane"])
            return {"digest": digest_of(Path(plane.path), plane)}, None
        return _scan(request)
    except Refused as error:
        return {"refused": str(error), "series": error.series}, None
    except MemoryError:
        return {"refused": "need more memory than decoding is given"}, None
    except RecursionError:
        return {"refused": "nest so deep that they cannot be read"}, None
    except Exception as error:  # noqa: BLE001  (a hostile file raises almost anything; the process stays for the next one)
        return {"refused": f"could not be read ({type(error).__name__})"}, None


def _headers(path: str) -> dict[str, Any]:
    from medloom.modalities.image.reading.dicom_header import Header, Plane, read_header

    header = read_header(Path(path))
    # Not `asdict`, which copies every word of every plane, and takes a good part of the time of a header.
    told = {name: getattr(header, name) for name in Header.__slots__}
    return {
        "header": {**told, "planes": [{name: getattr(one, name) for name in Plane.__slots__} for one in header.planes]}
    }


def _scan(request: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    from medloom.modalities.image.reading.files import read_scan
    from medloom.modalities.image.reading.scan import Wish

    wish = part_of(Wish, request["wish"])
    if "stack" in request:
        from medloom.modalities.image.reading.dicom import read_stack
        from medloom.modalities.image.reading.dicom_header import Header, Plane
        from medloom.modalities.image.reading.grids import as_wished
        from medloom.modalities.image.reading.stacks import stacks

        found = request["stack"]
        planes = tuple(part_of(Plane, one) for one in found["planes"])
        header = Header(**{**found["header"], "planes": planes})
        scan = as_wished(read_stack(stacks([header], lambda plane: f"{plane.uid}/{plane.frame}")[0], wish), wish)
    else:
        scan = read_scan(Path(request["path"]), wish)
    values = np.ascontiguousarray(scan.values)
    told = {
        "dtype": values.dtype.str,
        "shape": list(values.shape),
        "format": scan.format,
        "file_shape": list(scan.file_shape),
        "affine": scan.affine.tolist(),
        "codes": list(scan.codes),
        "placed": scan.placed,
        "sized": scan.sized,
        "raw_shape": list(scan.raw_shape),
    }
    return told, values


def part_of(kind: Any, told: Mapping[str, Any]) -> Any:
    """A `Plane` or a `Wish` from JSON, whose tuples came as lists."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()})


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers every line until there are no more."""
    for line in requests:
        told, values = answer(json.loads(line))
        answers.write(json.dumps(told).encode() + b"\n")
        if values is not None and values.size:
            answers.write(values.reshape(-1).view(np.uint8).data)
        answers.flush()


def main() -> None:
    """Binds the memory, takes the answers' pipe away from libraries that print, and serves."""
    bound_memory(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
