"""Networks as text: how large, how connected, and as many nodes and edges as fit.

Drawings in the DOT language (graphviz, pydot) go as their source, which says more than a picture.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from segmind_jupyter.content.cells import cell
from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.networks import Network, is_network, network_of
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, STANDARD, Limits, Text
from segmind_jupyter.content.tables import bounded, counted
from segmind_jupyter.content.text import as_text, cut, fenced
from segmind_jupyter.errors import ContentError

__all__ = ["is_dot", "is_network", "summarize_dot", "summarize_network"]

#: Longest written node, and longest written attributes, in characters.
_NODE_CHARS, _ATTRIBUTES_CHARS = 40, 120

#: The degrees of larger networks are not summed up: that takes seconds.
_MEASURED_NODES = 500_000

#: How many nodes of the highest degree are named.
_NAMED_NODES = 5

#: Nodes take no more than one part in so many of the room, so that edges keep the rest.
_NODES_SHARE = 3

#: Room kept for the notes on what was left out, and for a fence, in characters.
_NOTES_CHARS, _FENCE_CHARS = 160, 40

#: Between two nodes, or two edges, in characters.
_GAP_CHARS = 2

#: An edge is written so, by whether it has a direction.
_ARROWS = {True: "->", False: "--"}


def summarize_network(graph: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a network.

    Parameters
    ----------
    graph
        A graph of networkx, igraph or rustworkx; it is read in place.
    limits
        `limits.table_tokens` bounds the summary; nodes and edges are listed as far as they fit.
    name
        What the user calls it.

    Returns
    -------
    Text
        About, for instance, ``"networkx DiGraph, 34 nodes, 78 edges"``.

    Raises
    ------
    ContentError
        `graph` is no network.
    """
    network = network_of(graph)
    if network is None:
        raise ContentError(f"A {type_name(graph)} is no network. Name the graph itself.")
    kind = f"{type(graph).__module__.partition('.')[0]} {type_name(graph)}"
    size = f"{counted(network.n_nodes, 'node')}, {counted(network.n_edges, 'edge')}"
    way = "directed" if network.is_directed else "undirected"
    head = [f"{f'{name}: ' if name else ''}{kind}, {size}, {way}", *_facts(network)]
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in head)
    text = "\n".join((*head, *_lists(network, room - _NOTES_CHARS)))
    return bounded(text, about=f"{kind}, {size}", limits=limits)


def is_dot(obj: object) -> bool:
    """Tell whether `obj` is a drawing in the DOT language."""
    return is_kind(obj, "graphviz", "Graph", "Digraph", "Source") or is_kind(obj, "pydot", "Dot")


def summarize_dot(drawing: Any, *, limits: Limits = STANDARD) -> Text:
    """Give the source of a drawing of graphviz or pydot, in a fence."""
    source = drawing.to_string() if is_kind(drawing, "pydot", "Dot") else drawing.source
    about = f"{type_name(drawing)}, {len(source.splitlines()):,} lines of DOT"
    code = cut(source, max_chars=limits.text_chars - _FENCE_CHARS)
    return as_text(fenced(code, language="dot"), limits=limits, about=about, lines=True)


def _facts(network: Network) -> Iterator[str]:
    if network.attributes:
        yield f"Attributes: {_attributes(network.attributes)}"
    if 0 < network.n_nodes <= _MEASURED_NODES:
        yield _degrees(list(network.degrees))


def _degrees(degrees: list[tuple[Any, int]]) -> str:
    numbers = [degree for _, degree in degrees]
    mean = sum(numbers) / len(numbers)
    highest = heapq.nlargest(_NAMED_NODES, degrees, key=lambda pair: pair[1])
    named = ", ".join(f"{_node(node)} ({degree:,})" for node, degree in highest)
    return f"Degree: {min(numbers):,} to {max(numbers):,}, mean {mean:.3g}; highest: {named}"


def _lists(network: Network, room: int) -> Iterator[str]:
    """List nodes on one line, then edges on one each, as far as there is room."""
    nodes = (_with_attributes(_node(node), attributes) for node, attributes in network.nodes)
    shown = list(_fitting(nodes, room // _NODES_SHARE))
    if shown:
        yield f"Nodes: {', '.join(shown)}"
    yield from _left_out("nodes", len(shown), network.n_nodes)
    room -= sum(len(node) + _GAP_CHARS for node in shown)
    edges = list(_fitting(_edges(network), room))
    if edges:
        yield "Edges:"
    yield from edges
    yield from _left_out("edges", len(edges), network.n_edges)


def _left_out(noun: str, shown: int, total: int) -> Iterator[str]:
    if shown < total:
        yield f"[{noun} {shown + 1:,}-{total:,} of {total:,} not shown]"


def _fitting(texts: Iterable[str], room: int) -> Iterator[str]:
    """Take texts until the room is used up; no more of them are made."""
    for text in texts:
        room -= len(text) + _GAP_CHARS
        if room < 0:
            return
        yield text


def _edges(network: Network) -> Iterator[str]:
    arrow = _ARROWS[network.is_directed]
    for start, end, attributes in network.edges:
        yield _with_attributes(f"{_node(start)} {arrow} {_node(end)}", attributes)


def _with_attributes(text: str, attributes: Any) -> str:
    is_empty = attributes is None or (isinstance(attributes, dict) and not attributes)
    return text if is_empty else f"{text} {_attributes(attributes)}"


def _node(node: Any) -> str:
    return cell(node, max_chars=_NODE_CHARS)


def _attributes(attributes: Any) -> str:
    return cell(attributes, max_chars=_ATTRIBUTES_CHARS)
