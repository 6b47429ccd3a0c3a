"""What a reply is to be: the schema that asks for it, and the object that is read from it."""

from segmind_jupyter.content.expected.expectation import Expected, expected

__all__ = ["Expected", "expected"]
