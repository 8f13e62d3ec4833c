"""What comes from the environment: secrets, in a variable or in a file that it names, and the certificates of TLS.

A secret in a file (`DATABASE_URL_FILE=/run/secrets/database_url`) shows in no list of processes and no description of a
container. A certificate is a file anyway. Whatever is wrong here is told by the name of the variable, never by what was
in it.
"""

import os
from pathlib import Path

from pydantic import SecretStr

from configs.base import Settings


class UnfitEnvironment(ValueError):
    """A variable, or the file that it names, cannot be used; the sentence says which, and what to do."""


def secret(name: str) -> SecretStr | None:
    """What NAME holds, or the file that NAME_FILE names without the end of its line; None without both.

    Raises UnfitEnvironment when both are there, or the file cannot be read or is empty.
    """
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not path:
        return SecretStr(value) if value else None
    if value:
        raise UnfitEnvironment(f"{name} and {name}_FILE are both set; take one of them away")
    try:
        content = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError):
        raise UnfitEnvironment(
            f"the file that {name}_FILE names cannot be read; check its path and who owns it"
        ) from None
    if not content:
        raise UnfitEnvironment(f"the file that {name}_FILE names is empty; write the secret into it")
    return SecretStr(content)


class Tls(Settings):
    """How the gRPC door speaks TLS: PEM files, and where it listens."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    address: str = "[::]:50052"

    @classmethod
    def from_environment(cls) -> "Tls | None":
        """Reads GRPC_TLS_CERT_FILE, GRPC_TLS_KEY_FILE, GRPC_TLS_CLIENT_CA_FILE and GRPC_TLS_ADDRESS.

        None without the first two. Raises UnfitEnvironment when one of them is alone, or a file is not there.
        """
        names = {
            "certificate": "GRPC_TLS_CERT_FILE",
            "key": "GRPC_TLS_KEY_FILE",
            "client_ca": "GRPC_TLS_CLIENT_CA_FILE",
        }
        given = {field: os.environ[name] for field, name in names.items() if os.environ.get(name)}
        if not given:
            return None
        for field in ("certificate", "key"):
            if field not in given:
                raise UnfitEnvironment(
                    f"TLS needs {names[field]} too; GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE go together"
                )
        for field, path in given.items():
            if not os.access(path, os.R_OK):
                raise UnfitEnvironment(
                    f"the file that {names[field]} names cannot be read; check its path and who owns it"
                )
        files = {field: Path(path).resolve() for field, path in given.items()}
        return cls(**files, **({"address": where} if (where := os.environ.get("GRPC_TLS_ADDRESS")) else {}))

    @property
    def port(self) -> int:
        """Raises UnfitEnvironment when the address has none."""
        port = self.address.rpartition(":")[2]
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise UnfitEnvironment("GRPC_TLS_ADDRESS is HOST:PORT, such as 0.0.0.0:50052 or [::]:50052")
        return int(port)
