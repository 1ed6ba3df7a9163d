"""From where data lie to a store that studies read: `medloom ingest SOURCE --to DIR`.

`source` is the contract of a kind of source, `sources` holds one file a kind, `door` finds the kind and runs it.
Events of every kind go one way: `blocks` of lines are cleaned (`clean`, `times`), sorted in runs on disk (`runs`) and
merged into the store (`merge`).
"""
