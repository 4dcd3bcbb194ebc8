"""Small npm packages, packed without npm: the same arguments make the same bytes."""

import gzip
import io
import json
import tarfile

from crossfade.artifacts.port import Artifact


def tarball(files):
    """A package's tarball from the paths and contents of its files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(f"package/{path}")
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def packed(folder, at, content=b"", manifest=None, **files):
    """An artifact in a file of its own below `folder`."""
    said = {"name": at.name, "version": at.version, "main": "index.js", **(manifest or {})}
    body = tarball({"package.json": json.dumps(said).encode(), "index.js": content, **files})
    root = folder / at.name.replace("/", "+") / at.version / content[:8].hex()
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{at.name.rpartition('/')[2]}-{at.version}.tgz"
    path.write_bytes(body)
    return Artifact(at.name, at, (path,), root)
