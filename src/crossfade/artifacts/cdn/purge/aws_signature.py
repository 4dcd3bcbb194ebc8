"""AWS's signature of a request, version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html). Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from crossfade.artifacts.port import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who signs: the key's id, the secret key, and the session's token of a temporary one."""

    id: str
    secret: Secret
    session: Secret | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for."""

    region: str
    service: str


def signed(
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: Keys,
    scope: Scope,
    now: float,
) -> dict[str, str]:
    """The headers to send: those given (`host` among them), the time, and the signature over all of them.

    `path` is encoded once, as it is sent; `now` is in seconds since 1970.

    >>> AWS_EXAMPLE = Keys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
    >>> said = signed(
    ...     "GET", "/", {}, {"host": "example.amazonaws.com"}, b"",
    ...     keys=AWS_EXAMPLE, scope=Scope("us-east-1", "service"), now=1440938160,
    ... )
    >>> said["authorization"].rpartition("Signature=")[2]
    '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'
    """
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"x-amz-date": moment}
    if keys.session is not None:
        sent["x-amz-security-token"] = keys.session.value
    names = ";".join(sorted(sent))
    canonical = "\n".join(
        (
            method,
            quote(path, safe="/-_.~"),
            "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query)),
            *(f"{name}:{sent[name]}" for name in sorted(sent)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    credential = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    text = "\n".join((_ALGORITHM, moment, credential, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret.value}".encode()
    for part in credential.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    value = f"{_ALGORITHM} Credential={keys.id}/{credential}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "authorization": value}
