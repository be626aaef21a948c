"""Signatures: vectors from elsewhere, agreement with two other libraries, and a set of attacks."""

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.jwk import OKPKey

from sync.codes import Code
from sync.jws import (
    JwsError,
    KeyFileError,
    Keyring,
    Signer,
    generate_key,
    load_keyring,
    load_signer,
    public_part,
    thumbprint,
    write_key,
)

# RFC 8037 Appendix A.1: key; A.4: payload and signature. RFC 9864 only renames the algorithm.
RFC_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC_TOKEN = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
PAYLOAD = b'{"type":"order","serial":1}'


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str | bytes) -> bytes:
    text = text.decode() if isinstance(text, bytes) else text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_bytes(signer: Signer) -> bytes:
    return unb64(str(signer._key.as_dict(private=False)["x"]))


@pytest.fixture
def signer() -> Signer:
    return Signer(generate_key(), "reg-1")


def code_of(keyring: Keyring, token: bytes | str) -> Code | None:
    try:
        keyring.verify(token.encode() if isinstance(token, str) else token)
    except JwsError as error:
        return error.code
    return None


def test_the_key_of_rfc_8037_signs_what_the_rfc_signs() -> None:
    private = Ed25519PrivateKey.from_private_bytes(unb64(RFC_KEY["d"]))
    head, body, signature = RFC_TOKEN.split(".")
    assert b64(private.sign(f"{head}.{body}".encode())) == signature
    token = Signer(OKPKey.import_key(dict(RFC_KEY)), "rfc").sign(unb64(body))
    ours = token.decode().split(".")
    assert ours[1] == body
    assert json.loads(unb64(ours[0])) == {"alg": "Ed25519", "typ": "palang+jws", "kid": "rfc"}
    # The same bytes, by the RFC's own key, in another implementation of RFC 8032.
    assert b64(private.sign(f"{ours[0]}.{ours[1]}".encode())) == ours[2]
    assert thumbprint(OKPKey.import_key(dict(RFC_KEY))) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"[:16]  # A.3


def test_the_rfcs_own_token_is_refused_for_its_deprecated_algorithm_name() -> None:
    keyring = Signer(OKPKey.import_key(dict(RFC_KEY)), "rfc").keyring()
    assert code_of(keyring, RFC_TOKEN) is Code.WRONG_ALGORITHM


def test_what_we_sign_another_library_verifies(signer: Signer) -> None:
    token = signer.sign(PAYLOAD)
    head, body, signature = token.split(b".")
    raw = public_bytes(signer)
    Ed25519PublicKey.from_public_bytes(raw).verify(unb64(signature), head + b"." + body)
    assert unb64(body) == PAYLOAD
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(raw).verify(unb64(signature), head + b"." + body + b"A")


def test_what_pyjwt_signs_we_verify() -> None:
    """PyJWT calls the algorithm EdDSA (RFC 8037); registered under its new name the bytes are ours."""
    key = Ed25519PrivateKey.generate()
    library = jwt.PyJWS(algorithms=[])
    library.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())
    token = library.encode(PAYLOAD, key, "Ed25519", headers={"typ": "palang+jws", "kid": "py"})
    public = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())})
    assert Keyring({"py": public}).verify(token.encode()).payload == PAYLOAD
    mine = Signer(generate_key(), "reg-1")
    raw = public_bytes(mine)
    decoded = library.decode(mine.sign(PAYLOAD), Ed25519PublicKey.from_public_bytes(raw), algorithms=["Ed25519"])
    assert decoded == PAYLOAD


def test_a_good_token_gives_payload_and_key(signer: Signer) -> None:
    verified = signer.keyring().verify(signer.sign(PAYLOAD))
    assert (verified.payload, verified.kid) == (PAYLOAD, "reg-1")


def test_a_payload_of_megabytes_is_signed_and_verified(signer: Signer) -> None:
    big = os.urandom(3_000_000)
    assert signer.keyring().verify(signer.sign(big)).payload == big


def test_every_flipped_byte_is_refused(signer: Signer) -> None:
    token = bytearray(signer.sign(PAYLOAD))
    keyring = signer.keyring()
    for place in range(len(token)):
        for bit in (1, 2, 4, 16, 32, 64, 128):
            token[place] ^= bit
            assert code_of(keyring, bytes(token)) is not None, (place, bit)
            token[place] ^= bit
    assert code_of(keyring, bytes(token)) is None


def test_every_truncation_and_any_tail_is_refused(signer: Signer) -> None:
    token = signer.sign(PAYLOAD)
    keyring = signer.keyring()
    for length in range(len(token)):
        assert code_of(keyring, token[:length]) is not None, length
    for tail in (b"A", b"=", b"\n", b" ", b".", b"\x00", b".AAAA"):
        assert code_of(keyring, token + tail) is not None, tail
        assert code_of(keyring, tail + token) is not None, tail


def forged(signer: Signer, header: dict[str, object] | str, payload: bytes = PAYLOAD) -> str:
    """A token with any header, signed with the right key all the same."""
    text = header if isinstance(header, str) else json.dumps(header)
    head = f"{b64(text.encode())}.{b64(payload)}"
    private = Ed25519PrivateKey.from_private_bytes(unb64(str(signer._key.as_dict(private=True)["d"])))
    return f"{head}.{b64(private.sign(head.encode()))}"


GOOD: dict[str, object] = {"alg": "Ed25519", "typ": "palang+jws", "kid": "reg-1"}


def test_the_forger_itself_makes_good_tokens(signer: Signer) -> None:
    assert code_of(signer.keyring(), forged(signer, GOOD)) is None


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({**GOOD, "alg": "none"}, Code.UNSIGNED),
        ({**GOOD, "alg": "None"}, Code.WRONG_ALGORITHM),
        ({**GOOD, "alg": "EdDSA"}, Code.WRONG_ALGORITHM),
        ({**GOOD, "alg": "HS256"}, Code.WRONG_ALGORITHM),
        ({**GOOD, "alg": ["Ed25519"]}, Code.WRONG_ALGORITHM),
        ({**GOOD, "alg": None}, Code.WRONG_ALGORITHM),
        ({"typ": "palang+jws", "kid": "reg-1"}, Code.WRONG_ALGORITHM),
        ({**GOOD, "kid": "reg-2"}, Code.UNKNOWN_KEY),
        ({**GOOD, "kid": "../reg-1"}, Code.UNKNOWN_KEY),
        ({**GOOD, "kid": 1}, Code.MALFORMED),
        ({**GOOD, "kid": ["reg-1"]}, Code.MALFORMED),
        ({**GOOD, "typ": "JWT"}, Code.MALFORMED),
        ({**GOOD, "typ": "palang-checkpoint+jws"}, Code.MALFORMED),
        ({**GOOD, "crit": ["b64"], "b64": False}, Code.MALFORMED),
        ({**GOOD, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}}, Code.MALFORMED),
        ({**GOOD, "jku": "https://example.org/keys"}, Code.MALFORMED),
        ('{"alg":"none","alg":"Ed25519","typ":"palang+jws","kid":"reg-1"}', Code.MALFORMED),
        ("[]", Code.MALFORMED),
        ("", Code.MALFORMED),
        ("{" * 5000, Code.MALFORMED),
    ],
)
def test_no_header_talks_its_way_in(signer: Signer, header: dict[str, object] | str, code: Code) -> None:
    assert code_of(signer.keyring(), forged(signer, header)) is code


def test_no_signature_is_unsigned(signer: Signer) -> None:
    keyring = signer.keyring()
    head, body, _ = signer.sign(PAYLOAD).decode().split(".")
    none = b64(json.dumps({**GOOD, "alg": "none"}).encode())
    assert code_of(keyring, f"{head}.{body}.") is Code.UNSIGNED
    assert code_of(keyring, f"{none}.{body}.") is Code.UNSIGNED
    assert code_of(keyring, PAYLOAD) is Code.UNSIGNED
    assert code_of(keyring, b"") is Code.MALFORMED


def test_the_public_key_is_no_hmac_secret(signer: Signer) -> None:
    """Key confusion: HS256 with the public key as the secret."""
    public = public_bytes(signer)
    for name in ("HS256", "Ed25519"):
        head = f"{b64(json.dumps({**GOOD, 'alg': name}).encode())}.{b64(PAYLOAD)}"
        token = f"{head}.{b64(hmac.new(public, head.encode(), hashlib.sha256).digest())}"
        assert code_of(signer.keyring(), token) in (Code.WRONG_ALGORITHM, Code.BAD_SIGNATURE)


def test_another_key_of_the_same_name_is_refused(signer: Signer) -> None:
    assert code_of(signer.keyring(), Signer(generate_key(), "reg-1").sign(PAYLOAD)) is Code.BAD_SIGNATURE


def test_keys_rotate_with_overlap_and_a_revoked_one_is_refused_at_once(signer: Signer) -> None:
    fresh = Signer(generate_key(), "reg-2")
    keys = {"reg-1": public_part(signer._key), "reg-2": public_part(fresh._key)}
    both = Keyring(keys)
    assert code_of(both, signer.sign(PAYLOAD)) is None and code_of(both, fresh.sign(PAYLOAD)) is None
    after = Keyring(keys, revoked=["reg-1"])
    assert code_of(after, signer.sign(PAYLOAD)) is Code.REVOKED_KEY and code_of(after, fresh.sign(PAYLOAD)) is None


def test_key_files(tmp_path: Path) -> None:
    key = generate_key()
    private, public = tmp_path / "keys" / "op.jwk", tmp_path / "op.pub.jwk"
    write_key(private, key, "op-1", private=True)
    write_key(public, key, "op-1", private=False)
    assert private.stat().st_mode & 0o777 == 0o600
    assert '"d"' not in public.read_text()
    signer = load_signer(private)
    assert load_keyring([public]).verify(signer.sign(PAYLOAD)).kid == "op-1"
    assert "d" not in load_keyring([private])._keys["op-1"].as_dict(private=False)
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_key(private, key, "op-1", private=True)
    with pytest.raises(KeyFileError, match="public key; a private one is needed"):
        load_signer(public)
    with pytest.raises(KeyFileError, match="named by two files"):
        load_keyring([public, private])
    private.chmod(0o640)
    with pytest.raises(KeyFileError, match="mode 0640 lets others read"):
        load_signer(private)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kty":"oct","k":"AA"}', '{"kty":"OKP","crv":"X25519","x":"AA"}', "\xff"]
)
def test_a_file_that_is_no_key_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.jwk"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(KeyFileError, match=r"bad\.jwk"):
        load_keyring([path])
    with pytest.raises(KeyFileError, match=r"absent\.jwk: No such file"):
        load_keyring([tmp_path / "absent.jwk"])
