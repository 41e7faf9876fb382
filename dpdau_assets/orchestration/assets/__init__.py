"""The software-defined assets: each reads, calls one operation and returns metadata; no rule lives here.

`ingest` folds sources into days, `erasure` replays erasures over them, `sketches` counts days and windows, `releases`
publishes private numbers. Metadata is shown by Dagster and kept for ever: it never holds an id, an exact count, a file
size or which days an erasure touched.
"""
