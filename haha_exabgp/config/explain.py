"""Turn what pydantic finds wrong in the shape of a configuration into faults in plain words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .errors import Fault, KeyPath, shown
from .schema import HomeConfig


class _Shape(NamedTuple):
    """What the schema wants at a key: a type without Annotated and Optional, and its bounds."""

    type: Any
    bounds: Sequence[object] = ()


def explain(error: ValidationError, root: type[BaseModel] = HomeConfig) -> Iterator[Fault]:
    """One fault for each error, but none for a missing key that was only misspelt. `root` is the model that
    the file as a whole did not fit."""
    details = error.errors(include_url=False)
    misspelt = {
        (*detail["loc"][:-1], nearest)
        for detail in details
        if detail["type"] == "extra_forbidden" and (nearest := _nearest_key(root, detail["loc"]))
    }
    for detail in details:
        key: KeyPath = detail["loc"]
        if detail["type"] == "missing" and key in misspelt:
            continue
        if key[-1:] == ("[key]",):
            key = key[:-1]
        if detail["type"] == "extra_forbidden":
            problem, remedy = _unknown_key(root, key)
        else:
            problem, remedy = _PHRASES.get(detail["type"], _wrong_type)(detail, _shape_at(root, key))
        yield Fault(key, problem, remedy)


def _shape_at(root: type[BaseModel], key: KeyPath) -> _Shape:
    shape = _Shape(root)
    for part in key:
        if _is_model(shape.type):
            field = shape.type.model_fields.get(part)
            shape = _Shape(object) if field is None else _bare(field.annotation, field.metadata)
        else:
            shape = _bare((get_args(shape.type) or (object,))[-1])
    return shape


def _bare(annotation: Any, bounds: Sequence[object] = ()) -> _Shape:
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        return _bare(inner, [*bounds, *(part for one in extra for part in getattr(one, "metadata", ()))])
    if type(None) in get_args(annotation):
        return _bare(next(part for part in get_args(annotation) if part is not type(None)), bounds)
    return _Shape(annotation, bounds)


def _is_model(shape_type: Any) -> bool:
    return isinstance(shape_type, type) and issubclass(shape_type, BaseModel)


def _keys_at(root: type[BaseModel], key: KeyPath) -> list[str]:
    model = _shape_at(root, key).type
    return list(model.model_fields) if _is_model(model) else []


def _nearest_key(root: type[BaseModel], key: KeyPath) -> str | None:
    return next(iter(difflib.get_close_matches(str(key[-1]), _keys_at(root, key[:-1]), n=1)), None)


_KINDS: dict[object, tuple[str, str]] = {
    IPv6Address: ("an IPv6 address", "write an address such as 2001:db8::1"),
    IPv6Network: ("an IPv6 prefix", "write a prefix such as 2001:db8::/32"),
    AwareDatetime: ("a time with its zone", "write a time such as 2027-07-01T00:00:00Z"),
    str: ("text", "write text, in quotes if it looks like a number"),
    Path: ("a file name", "write the name of a file, such as keys/mesh.key"),
    bool: ("true or false", "write true or false, without quotes"),
    dict: ("a mapping", "write names, each with its own keys indented below"),
    list: ("a list", 'write one item a line, each after "- "'),
}
"""Type -> what a value has to be, what to write."""


def _kind(shape: _Shape) -> tuple[str, str]:
    if shape.type in (int, float):
        least = next(bound.ge for bound in shape.bounds if hasattr(bound, "ge"))
        most = next((bound.le for bound in shape.bounds if hasattr(bound, "le")), None)
        span = f"from {_plain(least)} to {_plain(most)}" if most is not None else f"of {least} or more"
        return "a whole number" if shape.type is int else "a number", f"write a number {span}"
    if _is_model(shape.type):
        return "a mapping", f"write below it, indented: {', '.join(shape.type.model_fields)}"
    if isinstance(shape.type, type) and issubclass(shape.type, Enum):
        names = " or ".join(str(member.value) for member in shape.type)
        return f"one of the words allowed here ({names})", f"write {names}"
    return _KINDS.get(get_origin(shape.type) or shape.type, ("allowed here", "remove it"))


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _wrong_type(detail: ErrorDetails, shape: _Shape) -> tuple[str, str]:
    kind, remedy = _kind(shape)
    value = detail["input"]
    if value is None:
        return "is empty", remedy
    if isinstance(value, dict) and len(value) == 1 and (text := next(iter(value))).endswith(":"):
        return f'"{text}:" ends in ":", which makes it a key', f"{remedy}, or put it in quotes"
    if isinstance(value, str) and value.isdigit():
        return f"{shown(value)} is text, not {kind}", f"{remedy}, without quotes and leading zeros"
    return f"{shown(value)} is not {kind}", remedy


def _missing(_: ErrorDetails, shape: _Shape) -> tuple[str, str]:
    return "is missing", _kind(shape)[1]


def _unknown_key(root: type[BaseModel], key: KeyPath) -> tuple[str, str]:
    nearest = _nearest_key(root, key)
    allowed = f"the keys allowed here are {', '.join(_keys_at(root, key[:-1]))}"
    return "unknown key", f'did you mean "{nearest}"? {allowed}' if nearest else f"remove it; {allowed}"


def _out_of_range(detail: ErrorDetails, shape: _Shape) -> tuple[str, str]:
    return f"{shown(detail['input'])} is out of range", _kind(shape)[1]


def _bad_name(detail: ErrorDetails, _: _Shape) -> tuple[str, str]:
    rule = "use lower case letters, digits and dashes, a letter first, at most 15 characters"
    return f"{shown(detail['input'])} cannot be a name", rule


def _too_few(_: ErrorDetails, shape: _Shape) -> tuple[str, str]:
    return "has no entry", f"at least one is needed: {_kind(shape)[1]}"


def _bad_address(detail: ErrorDetails, shape: _Shape) -> tuple[str, str]:
    text = detail["input"]
    if isinstance(text, str) and "%" in text:
        return f"{shown(text)} has a zone (%)", "write an address that is valid everywhere, without %"
    if isinstance(text, str) and "/" in text:
        return f"{shown(text)} is a prefix", f"write one address: {shown(text.partition('/')[0])}"
    return _wrong_type(detail, shape)


def _bad_prefix(detail: ErrorDetails, shape: _Shape) -> tuple[str, str]:
    text = detail["input"]
    if not isinstance(text, str):
        return _wrong_type(detail, shape)
    try:
        network = IPv6Network(text, strict=False)
    except ValueError:
        return _wrong_type(detail, shape)
    if "/" not in text:
        wider = IPv6Network((network.network_address, 64), strict=False)
        return f"{shown(text)} has no prefix length", f"write address/length, such as {wider}"
    return f"{shown(text)} has bits set beyond its length", f"did you mean {network}?"


_PHRASES: dict[str, Callable[[ErrorDetails, _Shape], tuple[str, str]]] = {
    "missing": _missing,
    "greater_than_equal": _out_of_range,
    "less_than_equal": _out_of_range,
    "string_pattern_mismatch": _bad_name,
    "too_short": _too_few,
    "ip_v6_address": _bad_address,
    "address_text": _bad_address,
    "ip_v6_network": _bad_prefix,
    "prefix_text": _bad_prefix,
}
"""pydantic's error type -> what is wrong and what would be right; all others are of the wrong type."""
