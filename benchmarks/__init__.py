"""Our figure beside the published one and beside the baseline: `python -m benchmarks --data DIR --only ID`.

A benchmark is one file of this folder that holds `ID` and `run(data: Path | None) -> list[Result]`.
"""
