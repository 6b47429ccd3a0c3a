"""One view of the networks of networkx, igraph and rustworkx: nodes, edges, degrees, attributes.

Knows those libraries and nothing of how a network is written. Nothing is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from segmind_jupyter.content.kinds import is_kind


@dataclass(frozen=True, slots=True)
class Network:
    """A network, whichever library it is of; nodes and edges are read as they are asked for.

    Parameters
    ----------
    is_directed
        Whether an edge has a direction.
    n_nodes, n_edges
        How many there are.
    attributes
        Those of the network itself.
    nodes
        Each node, and its attributes.
    edges
        The two nodes of each edge, and its attributes.
    degrees
        Each node, and how many ends of edges it has.
    """

    is_directed: bool
    n_nodes: int
    n_edges: int
    attributes: Any
    nodes: Iterable[tuple[Any, Any]]
    edges: Iterable[tuple[Any, Any, Any]]
    degrees: Iterable[tuple[Any, int]]


def network_of(obj: Any) -> Network | None:
    """View an object as a network, or give `None` if it is none."""
    read = _reader(obj)
    return None if read is None else read(obj)


def is_network(obj: object) -> bool:
    """Tell whether `obj` is a network of a library that is known here."""
    return _reader(obj) is not None


def _reader(obj: object) -> Callable[[Any], Network] | None:
    names = ((str(kind.__module__).partition(".")[0], kind.__name__) for kind in type(obj).__mro__)
    return next((_READERS[name] for name in names if name in _READERS), None)


def _of_networkx(graph: Any) -> Network:
    return Network(
        is_directed=graph.is_directed(),
        n_nodes=graph.number_of_nodes(),
        n_edges=graph.number_of_edges(),
        attributes=graph.graph,
        nodes=graph.nodes(data=True),
        edges=graph.edges(data=True),
        degrees=graph.degree(),
    )


def _of_igraph(graph: Any) -> Network:
    names = graph.vs["name"] if "name" in graph.vs.attributes() else range(graph.vcount())
    return Network(
        is_directed=graph.is_directed(),
        n_nodes=graph.vcount(),
        n_edges=graph.ecount(),
        attributes={key: graph[key] for key in graph.attributes()},
        nodes=((names[node.index], _besides_name(node.attributes())) for node in graph.vs),
        edges=((names[edge.source], names[edge.target], edge.attributes()) for edge in graph.es),
        degrees=zip(names, graph.degree(), strict=True) if graph.vcount() else (),
    )


def _besides_name(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key != "name"}


def _of_rustworkx(graph: Any) -> Network:
    is_directed = is_kind(graph, "rustworkx", "PyDiGraph")
    degree = _both_degrees if is_directed else type(graph).degree
    return Network(
        is_directed=is_directed,
        n_nodes=graph.num_nodes(),
        n_edges=graph.num_edges(),
        attributes=graph.attrs,
        nodes=((index, graph[index]) for index in graph.node_indices()),
        edges=graph.weighted_edge_list(),
        degrees=((index, degree(graph, index)) for index in graph.node_indices()),
    )


def _both_degrees(graph: Any, index: int) -> int:
    return int(graph.in_degree(index) + graph.out_degree(index))


#: How to read a network, by the package and the name of a class in its ancestry.
_READERS: dict[tuple[str, str], Callable[[Any], Network]] = {
    ("networkx", "Graph"): _of_networkx,
    ("igraph", "Graph"): _of_igraph,
    ("rustworkx", "PyGraph"): _of_rustworkx,
    ("rustworkx", "PyDiGraph"): _of_rustworkx,
}
