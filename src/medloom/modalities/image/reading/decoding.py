"""Files decoded in processes of their own, which live as long as this one and whose memory is bounded.

What crosses to them and back is JSON and raw bytes. A process that dies, or thinks for too long, is replaced; the file
that it was reading is refused, and the others are not touched.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medloom.modalities.image.reading.scan import Refused, Scan, Wish

MEMORY_BYTES = 6 << 30
"""Address space of one decoding process; Python and the decoders take about 1 GiB of it."""
MOST_SECONDS = 300
MOST_PROCESSES = 8
Answer = tuple[dict[str, Any], np.ndarray | None]


class Decoder:
    """One process that decodes, started when it is first asked."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, most_seconds: float = MOST_SECONDS) -> None:
        self._memory, self._seconds = memory_bytes, most_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """What the process answers. Raises Refused where it dies on the file."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(self._seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            told = json.loads(line) if line else None
            if told is None:
                raise EOFError
            values = None
            if "dtype" in told:
                values = np.empty(tuple(told["shape"]), np.dtype(told["dtype"]))
                _fill(process, values)
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise Refused("could not be decoded within the memory and the time that one file is given") from error
        finally:
            timer.cancel()
        if "refused" in told:
            raise Refused(told["refused"], told.get("series"))
        return told, values

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass
        process.kill()
        process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "medloom.modalities.image.reading.worker", str(self._memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **one, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
            )
        return self._process


def _fill(process: subprocess.Popen[bytes], values: np.ndarray) -> None:
    if not values.size:
        return
    view: memoryview = values.reshape(-1).view(np.uint8).data
    done = 0
    assert process.stdout is not None
    while done < len(view):
        got = process.stdout.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        done += got


class Pool:
    """Several decoders; as many start as are needed at once."""

    def __init__(self, processes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._threads = ThreadPoolExecutor(processes, "decoder")
        self._free: queue.LifoQueue[Decoder] = queue.LifoQueue()
        self._all = [Decoder(memory_bytes) for _ in range(processes)]
        for decoder in self._all:
            self._free.put(decoder)
        self._ahead = 2 * processes

    def answers(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[Answer | Refused]:
        """An answer for each request, in their order; a few are worked on ahead, so that memory stays flat."""
        waiting: deque[Future[Answer | Refused]] = deque()
        for request in requests:
            waiting.append(self._threads.submit(self._one, request))
            if len(waiting) > self._ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        """Ends all processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for decoder in self._all:
            decoder.close()

    def _one(self, request: Mapping[str, Any]) -> Answer | Refused:
        decoder = self._free.get()
        try:
            return decoder.ask(request)
        except Refused as error:
            return error
        finally:
            self._free.put(decoder)


def pool() -> Pool:
    """The decoders of this process; a forked one has its own."""
    return _pool_of(os.getpid())


@lru_cache(maxsize=1)
def _pool_of(_process: int) -> Pool:
    made = Pool(min(os.cpu_count() or 1, MOST_PROCESSES))
    atexit.register(made.close)
    return made


def read_scans(paths: Iterable[Path], wish: Wish, by: Pool | None = None) -> Iterator[Scan | Refused]:
    """Each file as a `Scan`, or why it cannot be used."""
    requests = ({"do": "scan", "path": str(path.absolute()), "wish": asdict(wish)} for path in paths)
    for answer in (by or pool()).answers(requests):
        yield answer if isinstance(answer, Refused) else scan_of(answer)


def read_scan(path: Path, wish: Wish) -> Scan:
    """One file as a `Scan`. Raises Refused."""
    (found,) = read_scans([path], wish)
    if isinstance(found, Refused):
        raise found
    return found


def scan_of(answer: Answer) -> Scan:
    """A scan from what a decoder answered."""
    told, values = answer
    assert values is not None
    return Scan(
        values,
        told["format"],
        tuple(told["file_shape"]),
        np.array(told["affine"]),
        tuple(told["codes"]),
        told["placed"],
        told["sized"],
        tuple(told["raw_shape"]),
    )
