"""Reading the report page as a browser would: tags that close in order, and what would be loaded."""

from __future__ import annotations

import html.parser

VOID = {"meta", "link"}


class Balance(html.parser.HTMLParser):
    """Collects tags and attributes and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)


def read(document: str) -> Balance:
    """The document, parsed."""
    parser = Balance()
    parser.feed(document)
    parser.close()
    return parser
