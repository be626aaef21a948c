"""Settings: rows declared by each package, read from one TOML file, the environment and systemd credentials.

A setting is a row: a field of a `Section` with a type, a default and one sentence. `load` reads them and refuses
what it does not know, naming file, line and the nearest known key. `example` and `page` write the shipped example
file and the reference page from the same rows.
"""

from config.loader import ConfigError, load
from config.reference import example, page
from config.section import Section

__all__ = ["ConfigError", "Section", "example", "load", "page"]
