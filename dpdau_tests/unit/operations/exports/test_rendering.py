"""Pages from templates: everything is escaped, nothing is left out silently, and the files come with the package."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import dpdau_assets
from dpdau_assets.operations.exports.rendering import render, whole_or_tenths
from dpdau_assets.operations.exports.report_page import render_page
from dpdau_tests import REPOSITORY
from dpdau_tests.unit.operations.exports.pages import page

PACKAGE = Path(dpdau_assets.__file__).parent


class TestRender:
    def test_text_is_escaped(self) -> None:
        """A value that is no markup shows as it is written and opens no tag."""
        document = render_page(replace(page(2), timezone="<b>'\"&", version="</footer>"))
        assert "days in &lt;b&gt;&#39;&#34;&amp;" in document
        assert "Made by dpdau &lt;/footer&gt;" in document

    def test_a_value_that_nobody_gave_is_an_error(self) -> None:
        """No place on a page stays empty by mistake."""
        with pytest.raises(UndefinedError):
            render("report.html.j2", days=[date(2026, 1, 1)])

    def test_style_and_script_stand_in_the_page_as_they_are_written(self) -> None:
        """Both files are in the page whole and unescaped: it loads nothing."""
        document = render_page(page(2))
        for name in ("style.css", "charts.js"):
            assert (PACKAGE / "operations/exports/static" / name).read_text(encoding="utf-8") in document

    def test_every_file_of_a_page_comes_with_the_package(self) -> None:
        """What is not Python is named as package data, or an installed package could not write the page."""
        configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
        patterns = configuration["tool"]["setuptools"]["package-data"]["dpdau_assets"]
        packed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
        exports = PACKAGE / "operations/exports"
        written = {path for folder in ("templates", "static") for path in (exports / folder).iterdir()}
        assert len(written) >= 5
        assert written <= packed

    def test_jinja_is_loaded_when_a_page_is_made(self) -> None:
        """Commands that write no page do not pay for the templates."""
        code = "import sys, dpdau_assets.operations.exports.report as _; print('jinja2' in sys.modules)"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == "False"


class TestWholeOrTenths:
    @pytest.mark.parametrize(("users", "text"), [(0, "0"), (1234.0, "1,234"), (1234.5, "1,234.5"), (-1.25, "-1.2")])
    def test_a_decimal_shows_only_where_there_is_one(self, users: float, text: str) -> None:
        """Halves keep one decimal, whole numbers none."""
        assert whole_or_tenths(users) == text
