"""The detached signature of a run's manifest.

In: the bytes of run.json, an Ed25519 key in a PEM file. Out: run.json.sig, 64 raw bytes that
OpenSSL verifies as well. Must stay true: a private key is read where it lies and copied nowhere;
a key that others may read, or that lies in the folder it signs, is refused. Extra `sign`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.record.files import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE = "run.json.sig"


def sign_manifest(folder: Path, key_file: Path) -> Path:
    """Write run.json.sig. Raises UserError for a key that cannot or must not be used."""
    key = _private_key(key_file, folder)
    path = folder / SIGNATURE
    write_atomically(path, key.sign((folder / "run.json").read_bytes()))
    return path


def is_signed_by(folder: Path, public_key_file: Path) -> bool:
    """Whether run.json.sig is this key's signature of run.json as it lies there; False without one.

    Raises UserError for a file that holds no public Ed25519 key.
    """
    key = _public_key(public_key_file)
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify((folder / SIGNATURE).read_bytes(), (folder / "run.json").read_bytes())
    except (InvalidSignature, FileNotFoundError):
        return False
    return True


def _private_key(path: Path, folder: Path) -> Ed25519PrivateKey:
    data = _read(path)
    if path.stat().st_mode & 0o077:
        raise UserError(
            "can be read by others than its owner",
            where=str(path),
            remedy=f"chmod 600 {path}",
        )
    if folder.resolve() in path.resolve().parents:
        raise UserError(
            "lies in the folder that it would sign, and would be filed with it",
            where=str(path),
            remedy="move it out of there",
        )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise UserError(
            "is encrypted",
            where=str(path),
            remedy="decrypt it with `openssl pkey` first",
        ) from None
    except Exception:  # the library's own, and what it lets through of a damaged file
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(
            "holds no private Ed25519 key",
            where=str(path),
            remedy=f"make one: openssl genpkey -algorithm ed25519 -out {path.name}",
        )
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    data = _read(path)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except Exception:  # as above
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(
            "holds no public Ed25519 key",
            where=str(path),
            remedy="write it: openssl pkey -in KEY -pubout -out PUBLIC",
        )
    return key


def _read(path: Path) -> bytes:
    if find_spec("cryptography") is None:
        raise UserError(
            "signatures need the package cryptography",
            remedy='install it: pip install "tailproof[sign]"',
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from None
