"""The pages name only what exists: files of the repository, and links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpdau_tests import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "dpdau_assets/core/README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]
HISTORY = {"decisions"}
"""Folders whose pages tell what was, not what is."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
    def test_links_lead_somewhere(self, page: Path) -> None:
        """Every link within the repository names a file that exists, and a heading that the file has."""
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            found = (page.parent / target).resolve() if target else page
            assert found.exists(), f"{page.name} links to {target}, which does not exist"
            assert not anchor or anchor in anchors(found), f"{page.name} links to #{anchor}, which {target} lacks"

    @pytest.mark.parametrize(
        "page", [page for page in PAGES if page.parent.name not in HISTORY], ids=lambda page: page.name
    )
    def test_files_named_in_code_marks_exist(self, page: Path) -> None:
        """A path that begins with dpdau_assets/ or dpdau_tests/ is a file or folder of this checkout."""
        named = set(re.findall(r"`(dpdau_(?:assets|tests)/[\w./-]*)`", page.read_text(encoding="utf-8")))
        assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []

    def test_every_page_is_in_the_index(self) -> None:
        """docs/README.md leads to every page of docs/."""
        index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
        pages = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
        assert {name for name in pages if f"({name})" not in index} == set()

    def test_something_is_looked_at(self) -> None:
        """The architecture page names the files of the three paths."""
        text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
        assert len(set(re.findall(r"`(dpdau_assets/[\w./-]*\.py)`", text))) > 15
