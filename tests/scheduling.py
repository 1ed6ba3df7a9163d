"""How tests are shared between processes: those of a contract case stay together, so that it is fitted once."""

from __future__ import annotations

from xdist.scheduler.loadscope import LoadScopeScheduling


class CaseScheduling(LoadScopeScheduling):
    """Every test by itself, but for those of one case of the contract."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/contract/") and nodeid.endswith("]"):
            return nodeid[nodeid.index("[") :]
        return nodeid
