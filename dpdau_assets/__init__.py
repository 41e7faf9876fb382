"""Active-user counts with a differential-privacy guarantee that honour every erasure request.

settings       every setting; written_values, addresses: how each is written; combinations: which go together, and why
core           the mathematics: pure functions, no input or output, no clock, no global randomness
               probability, accounting, mechanisms, sketches, release; horizon: research that releases never use
storage        disk: locks and durable files; lake: Parquet files, their names and schemas; ledger: SQL; scan
               journal: every change once more; keys: salts and keys of shared noise; backups
engines        sources: reading files of any format once; duckdb: pseudonymising them, set-wise
operations     floors, lowest first: session; erase, budget; ingest, pipeline, verify, exports;
               release, monitor, recover; lifecycle. A room imports its own floor and those below it
orchestration  Dagster: assets (a file for each), automation (sensors, schedules), instance
service        HTTP; cli: the `dpdau` command (commands) and what starts others (launch)
evaluation     accuracy, audit, horizon, privacy_tables, benchmarks, streams: synthetic data only
definitions    what `workspace.yaml` names
"""

__version__ = "0.1.0"
