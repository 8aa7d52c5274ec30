"""One set of masking rules (masking.toml) for every log: numbers of people, addresses, secrets, names."""

from ai102.masking.masker import Masker, Match
from ai102.masking.rules import Rules, load

__all__ = ["Masker", "Match", "Rules", "load"]
