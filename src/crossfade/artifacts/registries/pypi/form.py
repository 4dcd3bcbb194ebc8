"""A form with a file in it (multipart/form-data, RFC 7578), whose file is read only as it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crossfade.artifacts.answers import FileBody


@dataclass(frozen=True, slots=True)
class FormBody(FileBody):
    """The body: what stands before the file, the file, and what stands after it. `size` counts all three."""

    before: bytes = b""
    after: bytes = b""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes in order."""
        yield self.before
        file = FileBody(self.path, self.size - len(self.before) - len(self.after))
        async for chunk in file.chunks():
            yield chunk
        yield self.after


def form_body(
    fields: Mapping[str, str | list[str]], file: tuple[str, Path], last: tuple[str, str], boundary: str
) -> tuple[str, FormBody]:
    """The content type and the body: `fields` (a list stands for a field several times), the file, and one field more.

    The last field proves to a server that the file before it is whole: a body that broke off does not have it.
    `boundary` must not occur in any of the bytes: the caller takes it from a digest of them.
    """
    name, path = file
    head = b"".join(
        _part(key, value, boundary)
        for key, values in fields.items()
        for value in ([values] if isinstance(values, str) else values)
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"; filename="{_quoted(path.name)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = b"\r\n" + _part(*last, boundary) + f"--{boundary}--\r\n".encode()
    size = len(head) + path.stat().st_size + len(tail)
    return f"multipart/form-data; boundary={boundary}", FormBody(path, size, before=head, after=tail)


def _part(name: str, value: str, boundary: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'.encode()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
