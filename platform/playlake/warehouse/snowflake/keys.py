"""The builds' key pair. https://docs.snowflake.com/en/user-guide/key-pair-auth"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from playlake.errors import UsageError

_BITS = 2048


def make(path: Path, passphrase: str | None) -> bool:
    """Write a new private key (PKCS #8, PEM, mode 0600) unless there is one. Returns whether it was made."""
    if path.exists():
        return False
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    cipher: Any = serialization.NoEncryption()
    if passphrase:
        cipher = serialization.BestAvailableEncryption(passphrase.encode())
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Never there with a wider mode, and never half written under its own name.
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    new.replace(path)
    return True


def _load(path: Path, passphrase: str | None) -> Any:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), passphrase.encode() if passphrase else None)
    except OSError as error:
        raise UsageError(f"The private key {path} can't be read: {error.strerror}.") from None
    except (ValueError, TypeError):
        # The library's own words may hold parts of what it read.
        raise UsageError(
            f"The private key {path} can't be used: it is no PEM key, or SNOWFLAKE_PRIVATE_KEY_FILE_PWD is not its"
            " passphrase."
        ) from None


def public(path: Path, passphrase: str | None) -> str:
    """The public key as Snowflake takes it: base64 of its DER form, without header and line ends."""
    der = (
        _load(path, passphrase)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(der).decode()


def private(path: Path, passphrase: str | None) -> bytes:
    """The private key as the connector takes it: PKCS #8, DER. Never for a log."""
    der: bytes = _load(path, passphrase).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return der
