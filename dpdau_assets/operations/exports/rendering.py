"""Pages from templates: `templates/*.html.j2` hold the wording and layout, `static/` holds the style sheet and script.

Belongs here: how a template is found, what it can use, and that everything in it is escaped. Does not belong here: what
is on a page. Jinja and the files are loaded when a page is made, never at the start of a command. A page holds its
style and script itself, because it must not load anything.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: Any) -> Markup:
    """The text of a template of this folder with these values; text that is not markup is escaped.

    Guarantee: a name that the template uses and nobody gave is an error, never an empty place on the page.

    Args:
        template: File name in `templates`.
        values: What the template calls by these names (public: what is published, or fit to be).
    """
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(values))


def whole_or_tenths(users: float) -> str:
    """A number of users with thousands separated by commas, and one decimal where it is not whole."""
    return f"{users:,.0f}" if float(users).is_integer() else f"{users:,.1f}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(__package__ or "", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters.update(written=format, place="{:.1f}".format, users=whole_or_tenths)
    environment.globals["static"] = lambda name: Markup(
        files(__package__).joinpath("static", name).read_text(encoding="utf-8")
    )
    return environment
