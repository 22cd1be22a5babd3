"""Free ports for the servers of tests."""

import itertools
import os
import random
import socket

GRPC_OFFSET = 10000
"""How far above its port seaweedfs puts its gRPC."""
FIRST = 11000
"""Lowest port of the tests."""
_PER_WORKER = 1000
_WORKERS = 10

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_own = range(FIRST + _worker * _PER_WORKER, FIRST + (_worker + 1) * _PER_WORKER)
_candidates = itertools.cycle(random.sample(_own, _PER_WORKER))


def free_ports(count: int) -> list[int]:
    """Ports that are free together with the one `GRPC_OFFSET` above.

    They lie below those that the kernel gives to clients, and differ from those of pytest-xdist's other workers: nobody
    takes them until the server does.
    """
    free = filter(lambda port: _is_free(port) and _is_free(port + GRPC_OFFSET), _candidates)
    return list(itertools.islice(free, count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
