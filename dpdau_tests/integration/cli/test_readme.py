"""What README tells a newcomer to paste works as it is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dpdau_assets.settings.settings import child_environment
from dpdau_tests.conftest import REPOSITORY

pytestmark = [pytest.mark.untraced, pytest.mark.slow]

DAYS = ("2025-01-05", "2025-01-06", "2025-01-07")
AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as it is after `make setup`, with one commit; its environment is the one these tests run in."""
    folder = tmp_path / "checkout"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").write_text(
        f'PATH="{Path(sys.executable).parent}:$PATH"\n', encoding="utf-8"
    )
    for name in ("workspace.yaml", ".env.example"):
        shutil.copy(REPOSITORY / name, folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", *AUTHOR, "commit", "--quiet", "--allow-empty", "-m", "first"], cwd=folder, check=True)
    return folder


def _block() -> str:
    """The one paste of "On your own data"."""
    section = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("## On your own data", 1)[1]
    found = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found.group(1)


def _paste(checkout: Path, text: str) -> str:
    """What the shell prints for `text`, every line of which must succeed."""
    environment = child_environment()
    environment.pop("DAGSTER_HOME", None)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _released(printed: str) -> dict[str, str]:
    """The lines of the release table by day."""
    return {line.strip()[:10]: line for line in printed.splitlines() if line.strip().startswith(DAYS)}


class TestPaste:
    def test_the_paste_releases_three_metrics_and_can_be_pasted_again(self, checkout: Path) -> None:
        """Four sources are read, one user is erased and every day has DAU, WAU and MAU; pasted again, the same values
        come back, and neither settings of one's own nor the counts change."""
        (temporary := checkout.parent / "tmp").mkdir()
        block = _block().replace("/tmp/", f"{temporary}/")  # the only change: other tests may paste at the same time
        first = _released(_paste(checkout, block))
        assert set(first) == set(DAYS)
        assert all(len(re.findall(r"[\d,.]+ \[[\d,]+, [\d,]+\]", line)) == 3 for line in first.values())
        with (checkout / ".env").open("a", encoding="utf-8") as settings:
            settings.write("EPSILON_DAU=0.2\n")
        mine = (checkout / ".env").read_text(encoding="utf-8")
        assert _released(_paste(checkout, block)) == first
        assert (checkout / ".env").read_text(encoding="utf-8") == mine
        counting = f"source .venv/bin/activate\ndpdau trusted-counts --start {DAYS[0]} --end {DAYS[-1]} --json"
        assert [row["dau"] for row in json.loads(_paste(checkout, counting))] == [1, 2, 1]
