"""The detached signature: one key's, of one manifest, checked by another program too; keys stay
where they are.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bench.errors import UserError
from bench.record.signature import SIGNATURE, is_signed_by, sign_manifest

PEM, PKCS8 = Encoding.PEM, PrivateFormat.PKCS8


def pair(at: Path, seed: int = 1) -> tuple[Path, Path]:
    """(private, public) PEM files of a key made from a stated seed."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    private, public = at / f"{seed}.pem", at / f"{seed}.pub.pem"
    private.write_bytes(key.private_bytes(PEM, PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a manifest of some bytes."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(b'{"format": 1}\n')
    return tmp_path / "run"


def test_a_signature_holds_for_its_key_and_its_bytes_alone(folder: Path, tmp_path: Path) -> None:
    """Another key, one byte more in the manifest, one bit less in the signature: no longer
    signed.
    """
    private, public = pair(tmp_path)
    assert not is_signed_by(folder, public)
    assert sign_manifest(folder, private) == folder / SIGNATURE
    assert is_signed_by(folder, public)
    assert not is_signed_by(folder, pair(tmp_path, 2)[1])
    whole = (folder / SIGNATURE).read_bytes()
    for damaged in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1], b""):
        (folder / SIGNATURE).write_bytes(damaged)
        assert not is_signed_by(folder, public)
    (folder / SIGNATURE).write_bytes(whole)
    with (folder / "run.json").open("ab") as handle:
        handle.write(b" ")
    assert not is_signed_by(folder, public)


def test_openssl_verifies_it_too(folder: Path, tmp_path: Path) -> None:
    """The file is a bare Ed25519 signature of run.json, as another program reads it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    private, public = pair(tmp_path)
    sign_manifest(folder, private)
    command = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        str(public),
        "-rawin",
        "-in",
        str(folder / "run.json"),
        "-sigfile",
        str(folder / SIGNATURE),
    ]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (folder / "run.json").write_bytes(b"{}")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_the_key_is_nowhere_copied(folder: Path, tmp_path: Path) -> None:
    """The folder gains 64 bytes, private to the user, and neither key nor its encoding is among
    them.
    """
    private, _ = pair(tmp_path)
    before = set(folder.iterdir())
    path = sign_manifest(folder, private)
    assert set(folder.iterdir()) - before == {path}
    assert (len(path.read_bytes()), path.stat().st_mode & 0o777) == (64, 0o600)
    held = b"".join(each.read_bytes() for each in folder.iterdir())
    assert b"PRIVATE" not in held
    assert bytes([1]) * 32 not in held


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_that_others_may_read_or_write_is_refused(
    folder: Path, tmp_path: Path, mode: int
) -> None:
    """With the command that would mend it; nothing is signed."""
    private, _ = pair(tmp_path)
    private.chmod(mode)
    with pytest.raises(UserError, match=r"can be read by others than its owner; chmod 600"):
        sign_manifest(folder, private)
    assert not (folder / SIGNATURE).exists()


def test_a_key_within_the_folder_is_refused(folder: Path) -> None:
    """It would be filed with what it vouches for, also where it lies deeper or behind a link."""
    (folder / "keys").mkdir()
    private, _ = pair(folder / "keys")
    link = folder.parent / "link.pem"
    link.symlink_to(private)
    for path in (private, link):
        with pytest.raises(UserError, match="lies in the folder that it would sign"):
            sign_manifest(folder, path)


def test_what_is_no_private_ed25519_key_is_refused(folder: Path, tmp_path: Path) -> None:
    """A public key, another kind of key, an encrypted one, none at all: one sentence each, and how
    to make one.
    """
    private, public = pair(tmp_path)
    other, locked, empty = (tmp_path / name for name in ("ec.pem", "locked.pem", "empty.pem"))
    other.write_bytes(generate_private_key(SECP256R1()).private_bytes(PEM, PKCS8, NoEncryption()))
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    locked.write_bytes(key.private_bytes(PEM, PKCS8, BestAvailableEncryption(b"word")))
    empty.write_bytes(b"\xff\0")
    for path, text in (
        (public, "no private Ed25519 key; make one"),
        (other, "no private Ed25519 key"),
        (empty, "no private Ed25519 key"),
        (locked, "is encrypted; decrypt it"),
        (tmp_path / "none", "cannot be read"),
    ):
        if path.exists():
            path.chmod(0o600)
        with pytest.raises(UserError, match=text):
            sign_manifest(folder, path)
    for path in (private, other, empty):
        with pytest.raises(UserError, match="holds no public Ed25519 key; write it"):
            is_signed_by(folder, path)
