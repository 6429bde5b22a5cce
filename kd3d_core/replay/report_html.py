"""HTML and SVG that cannot be broken by what is written into it."""

import html
from collections.abc import Iterable


class Html(str):
    """Text that is markup already; every other text is escaped when it enters an element."""

    __slots__ = ()


#: Elements without an end tag.
_VOID = {"img", "meta", "br"}
#: Control characters, which HTML forbids; paths of strange files may hold them.
_CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127], "\ufffd")


def tag(element: str, *children: "str | Html", **attributes: str | float | None) -> Html:
    """An element of HTML or SVG.

    Args:
        element: Its name.
        *children: `Html` is taken as it is, other text is escaped.
        **attributes: `class_` gives class, `stroke_width` gives stroke-width; numbers are written
            with at most two decimals; None leaves the attribute out.
    """
    words = "".join(
        f' {key.strip("_").replace("_", "-")}="{_escaped(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in _VOID:
        return Html(f"<{element}{words}>")
    return Html(f"<{element}{words}>{join(*children)}</{element}>")


def join(*parts: "str | Html") -> Html:
    """One piece of markup of several; what is not `Html` is escaped."""
    return Html("".join(part if isinstance(part, Html) else _escaped(part) for part in parts))


def bullets(texts: Iterable[str]) -> Html:
    """A list."""
    return tag("ul", *(tag("li", text) for text in texts))


def _text(value: str | float) -> str:
    """An attribute's value as text, not yet escaped."""
    if isinstance(value, str):
        return value
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _escaped(text: str) -> str:
    """Text that means itself in HTML and can be written as UTF-8, whatever a path holds."""
    clean = text.encode("utf-8", "replace").decode().translate(_CONTROL)
    return html.escape(clean)
