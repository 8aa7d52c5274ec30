"""One set of masking rules (masking.toml) for every log: numbers of people, addresses, secrets, names."""

from ai102.masking.masker import Found, Masker
from ai102.masking.rules import Rules, load

__all__ = ["Found", "Masker", "Rules", "load"]
