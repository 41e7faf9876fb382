"""Active-user counts with a differential-privacy guarantee that honour every erasure request.

settings       every setting; written_values, addresses: how each is written; combinations: which go together, and why
core           the mathematics: pure functions, no input or output, no clock, no global randomness
storage        the lake (Parquet files), the ledger (SQL), the locks, the secrets
engines        reading a source once and pseudonymising it, set-wise
operations     one verb a file; the rules shared by everything below
orchestration  Dagster; service: HTTP; cli: the `dpdau` command; evaluation: synthetic data and benchmarks
definitions    what `workspace.yaml` names
"""

__version__ = "0.1.0"
