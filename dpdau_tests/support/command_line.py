"""Runs `dpdau` in a project folder of its own, in this process or as a real one, free of the caller's settings."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dpdau_assets.cli.main import run
from dpdau_assets.settings.settings import child_environment, create_project


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The last line of standard error as the JSON document it must be."""
        return json.loads(self.err.strip().splitlines()[-1])


class CommandLine:
    """A project folder and the commands given in it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        create_project(folder, **settings)

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Answer:
        """Run in this process."""
        out, err = io.StringIO(), io.StringIO()
        environment = patch.dict(os.environ, self._environment(), clear=True)
        standard_input = patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with environment, standard_input, chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            code = run([str(argument) for argument in arguments])
        return Answer(code, out.getvalue(), err.getvalue())

    def json(self, *arguments: str | Path, stdin: bytes = b"") -> Any:
        """The JSON document of a command that must succeed."""
        answer = self(*arguments, "--json", stdin=stdin)
        assert answer.code == 0, answer.err
        return answer.document

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a real process."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=self._environment(), text=True, **options
        )

    def process(self, *arguments: str | Path, stdin: str | None = None) -> Answer:
        """Run a real process to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self._environment(),
            text=True,
            capture_output=True,
            input=stdin,
            timeout=240,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    @staticmethod
    def command(*arguments: str | Path) -> Sequence[str]:
        """The command line of a real process."""
        return [sys.executable, "-m", "dpdau_assets.cli.main", *map(str, arguments)]

    @staticmethod
    def _environment() -> dict[str, str]:
        environment = child_environment()
        environment.pop("DAGSTER_HOME", None)
        return environment


def write_lines(path: Path, rows: Sequence[tuple[object, ...]], *, fields: Sequence[str] = ("user_id", "day")) -> Path:
    """A JSON-lines file of `rows`."""
    lines = (json.dumps(dict(zip(fields, row, strict=False)), default=str, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
