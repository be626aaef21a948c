"""Writes the names of countries in English and Indonesian.

    python agent/traffic/countries/generate.py >agent/traffic/countries/names.py

They are in libphonenumber's geocoding data, whose import takes 15 s and 190 MB: far too much for a daemon.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import phonenumbers

HEAD = '''\
"""Names of countries by ISO 3166 code, in English and Indonesian.

Written by agent/traffic/countries/generate.py from phonenumbers {version}; don't edit.
"""

NAMES: dict[str, tuple[str, str]] = {{
'''


MISSING = {
    "AC": ("Ascension Island", "Pulau Ascension"),
    "TA": ("Tristan da Cunha", "Tristan da Cunha"),
    "XK": ("Kosovo", "Kosovo"),
}
"""Regions with a number plan and without a name there."""


def _locale() -> ModuleType:
    """The module of names alone: its package would load all the rest."""
    path = Path(phonenumbers.__file__).parent / "geodata" / "locale.py"
    spec = importlib.util.spec_from_file_location("phonenumbers.names.locale", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    names = _locale().LOCALE_DATA
    out = HEAD.format(version=phonenumbers.__version__)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        if known := names.get(region):
            both = tuple(
                known[known[word][1:]] if known[word].startswith("*") else known[word] for word in ("en", "id")
            )
        else:
            both = MISSING[region]
        both = tuple(name.replace(" Of ", " of ") for name in both)
        out += f"    {json.dumps(region)}: ({', '.join(json.dumps(name, ensure_ascii=False) for name in both)}),\n"
    sys.stdout.write(out + "}\n")


if __name__ == "__main__":
    main()
