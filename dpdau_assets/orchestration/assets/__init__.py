"""The software-defined assets: each reads, calls one operation and returns metadata; no rule lives here.

`raw_events` folds sources into days, `erasure_replay` replays erasures over them, `sketches` counts days and windows,
`releases` publishes private numbers. Metadata is shown by Dagster and kept for ever: it never holds an id, an exact
count, a file size or which days an erasure touched.
"""
