"""Networks as text: what is said of them, how far they are listed, and DOT sources."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits, Text
from segmind_jupyter.content.tables.others import summarize_network
from segmind_jupyter.errors import ContentError


def text_of(obj: object, **options: object) -> str:
    (part,) = to_parts(obj, **options)
    assert isinstance(part, Text)
    return part.text


class Graph:
    """What a networkx graph looks like from outside, where networkx is not installed."""

    __module__ = "networkx.classes.graph"

    def __init__(self, edges, *, nodes=(), is_directed=False, **attributes):
        ends = [end for edge in edges for end in edge[:2]]
        self.names = dict(nodes) | {end: dict(nodes).get(end, {}) for end in ends}
        self.pairs, self.way, self.graph = edges, is_directed, attributes
        self.counts = {name: ends.count(name) for name in self.names}

    def is_directed(self):
        return self.way

    def number_of_nodes(self):
        return len(self.names)

    def number_of_edges(self):
        return len(self.pairs)

    def nodes(self, data):
        return iter(self.names.items())

    def edges(self, data):
        return (edge if len(edge) == 3 else (*edge, {}) for edge in self.pairs)

    def degree(self):
        return iter(self.counts.items())


def test_a_small_network_is_written_whole():
    """Size, kind, degrees, attributes, nodes and edges."""
    graph = Graph(
        [("a", "b", {"weight": 2}), ("b", "c")],
        nodes={"b": {"club": "x"}, "alone": {}},
        is_directed=True,
        name="demo",
    )
    (part,) = to_parts(graph, name="g")
    assert part.text.splitlines() == [
        "g: networkx Graph, 4 nodes, 2 edges, directed",
        "Attributes: {'name': 'demo'}",
        "Degree: 0 to 2, mean 1; highest: b (2), a (1), c (1), alone (0)",
        "Nodes: b {'club': 'x'}, alone, a, c",
        "Edges:",
        "a -> b {'weight': 2}",
        "b -> c",
    ]
    assert part.about == "networkx Graph, 4 nodes, 2 edges"


def test_an_empty_network_is_one_line():
    """There is no degree and nothing to list."""
    assert text_of(Graph([])) == "networkx Graph, 0 nodes, 0 edges, undirected"


def test_a_large_network_is_listed_as_far_as_it_fits():
    """Edges keep most of the room, the rest is counted, and it is read no further."""
    read = []

    class Ring(Graph):
        __module__ = "mine"

        def edges(self, data):
            for edge in super().edges(data):
                read.append(edge)
                yield edge

    size = 100_000
    ring = Ring([])
    ring.names = {number: {} for number in range(size)}
    ring.pairs = [(number, (number + 1) % size) for number in range(size)]
    ring.counts = dict.fromkeys(ring.names, 2)
    text = text_of(ring)
    assert len(text) <= 6_000
    shown = text.count(" -- ")
    assert 200 < shown < len(read) < 1_000
    assert text.endswith(f"[edges {shown + 1:,}-{size:,} of {size:,} not shown]")
    assert "100,000 not shown]\nEdges:\n0 -- 1\n" in text
    assert "mean 2;" in text


@pytest.mark.parametrize("tokens", [20, 60, 300])
def test_the_budget_holds(tokens):
    """However long the names are, and however little room there is."""
    graph = Graph([(f"{n}" * 90, "x", {"note": "y" * 500}) for n in range(50)])
    assert len(text_of(graph, limits=Limits(table_tokens=tokens))) <= 4 * tokens


def test_other_things_are_no_networks():
    """A namesake of another package is not taken for one."""
    with pytest.raises(ContentError, match="SimpleNamespace is no network"):
        summarize_network(SimpleNamespace())
    namesake = type("Graph", (), {"__module__": "mine"})()
    assert "Graph object" in text_of(namesake)


@pytest.mark.parametrize(
    ("name", "way", "edge"),
    [
        ("Graph", "undirected", "1 -- 2 {'w': 3}"),
        ("DiGraph", "directed", "1 -> 2 {'w': 3}"),
        ("MultiGraph", "undirected", "1 -- 2 {'w': 3}"),
        ("MultiDiGraph", "directed", "1 -> 2 {'w': 3}"),
    ],
)
def test_networkx(name, way, edge):
    """All its kinds of graphs, which have no common text of their own."""
    graph = getattr(pytest.importorskip("networkx"), name)()
    graph.add_edge(1, 2, w=3)
    graph.add_node("x", colour="red")
    text = text_of(graph)
    assert text.startswith(f"networkx {name}, 3 nodes, 1 edge, {way}\nDegree: 0 to 1")
    assert "Nodes: 1, 2, x {'colour': 'red'}\n" in text
    assert text.endswith(f"Edges:\n{edge}")


def test_networkx_views_are_graphs():
    """A subgraph counts its own nodes."""
    networkx = pytest.importorskip("networkx")
    text = text_of(networkx.path_graph(5).subgraph([0, 1]))
    assert "2 nodes, 1 edge" in text


def test_igraph():
    """Nodes go by their names where they have any, else by number."""
    igraph = pytest.importorskip("igraph")
    named = igraph.Graph.TupleList([("a", "b", 2)], weights=True, directed=True)
    assert text_of(named).splitlines() == [
        "igraph Graph, 2 nodes, 1 edge, directed",
        "Degree: 1 to 1, mean 1; highest: a (1), b (1)",
        "Nodes: a, b",
        "Edges:",
        "a -> b {'weight': 2}",
    ]
    assert text_of(igraph.Graph(n=3, edges=[(0, 2)])).endswith("Nodes: 0, 1, 2\nEdges:\n0 -- 2")
    assert text_of(igraph.Graph()) == "igraph Graph, 0 nodes, 0 edges, undirected"


def test_rustworkx():
    """Nodes are numbers that carry anything; both ways count in a degree."""
    rustworkx = pytest.importorskip("rustworkx")
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(["A", None, {"k": 1}])
    graph.add_edge(0, 1, {"w": 2})
    graph.add_edge(1, 2, None)
    assert text_of(graph).splitlines()[1:] == [
        "Degree: 1 to 2, mean 1.33; highest: 1 (2), 0 (1), 2 (1)",
        "Nodes: 0 A, 1, 2 {'k': 1}",
        "Edges:",
        "0 -> 1 {'w': 2}",
        "1 -> 2",
    ]
    assert "undirected" in text_of(rustworkx.generators.path_graph(2))


def test_a_dot_drawing_goes_as_its_source():
    """It needs no `dot` program, and says more than a picture."""
    graphviz = pytest.importorskip("graphviz")
    drawing = graphviz.Digraph("flow")
    drawing.edge("in", "out")
    (part,) = to_parts(drawing)
    assert part.text == "```dot\ndigraph flow {\n\tin -> out\n}\n```"
    assert part.about == "Digraph, 3 lines of DOT"
    assert text_of(graphviz.Source("graph { a -- b }")) == "```dot\ngraph { a -- b }\n```"


def test_a_dot_drawing_of_pydot_goes_as_its_source():
    """As that of graphviz."""
    pydot = pytest.importorskip("pydot")
    drawing = pydot.Dot("flow")
    drawing.add_edge(pydot.Edge("in", "out"))
    assert "in -> out" in text_of(drawing)


def test_a_long_dot_source_is_cut_inside_its_fence():
    """The limit of one object holds, and the fence is closed."""
    digraph = type("Digraph", (), {"__module__": "graphviz.graphs"})()
    type(digraph).source = "digraph {\n" + "a -> b\n" * 10_000 + "}"
    text = text_of(digraph, limits=Limits(text_chars=1_000))
    assert len(text) <= 1_000
    assert " not shown]\n" in text
    assert text.endswith("a -> b\n}\n```")


def test_a_formula_of_sympy_reads_as_it_is():
    """Its text is its form; it needs no rule."""
    sympy = pytest.importorskip("sympy")
    x = sympy.symbols("x")
    assert text_of(x**2 + 1) == "x**2 + 1"
