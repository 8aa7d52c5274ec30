"""Third-party programs in one cache: tools/parts.toml names them, `ai102 parts build` makes them."""

from ai102.parts.cache import Cache, program
from ai102.parts.table import Part, Parts, load

__all__ = ["Cache", "Part", "Parts", "load", "program"]
