"""The key that follows the gateways' shared one."""

from pathlib import Path

import pytest

from agent.keys import make_keys, next_key


def test_the_next_key_keeps_the_names(tmp_path: Path) -> None:
    file = Path(make_keys(tmp_path, "operator")["gateways' shared key"])
    first = file.read_text().strip()
    key = next_key(file)
    assert len(key) == 64 and key[32:] == first[32:] and key[:32] != first[:32]
    file.write_text(f"{key}\n{first}\n")
    assert next_key(file)[:32] not in (key[:32], first[:32])
    file.write_text("xy")
    with pytest.raises(ValueError, match="key 1 must be 64 hex digits"):
        next_key(file)
