"""The templates of this folder, filled in: a name that a template does not get is an error, no empty text."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=PackageLoader("haha_exabgp.rollout"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **values: object) -> str:
    """The text of one template. Raises jinja2.UndefinedError for a value that is missing."""
    return _TEMPLATES.get_template(template).render(values)
