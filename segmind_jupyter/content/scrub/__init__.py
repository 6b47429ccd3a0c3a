"""Keeps secrets out of what is sent: by the names that they have, and by their form.

Pure: which key is in use here and now is for the caller to know.
"""

from segmind_jupyter.content.scrub.names import HIDDEN, hides
from segmind_jupyter.content.scrub.source import scrubbed_source, secrets_of_source
from segmind_jupyter.content.scrub.text import blanked, blanking, scrubbed
from segmind_jupyter.content.scrub.values import secrets_in

__all__ = [
    "HIDDEN", "blanked", "blanking", "hides", "scrubbed", "scrubbed_source", "secrets_in",
    "secrets_of_source",
]  # fmt: skip
