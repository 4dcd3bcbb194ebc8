"""Pack a folder as an OCI image layout, FROM scratch: the same files make the same bytes."""

import gzip
import hashlib
import io
import json
import shutil
import sys
import tarfile
from pathlib import Path


def main(source: str, target: str) -> None:
    layout = Path(target)
    shutil.rmtree(layout, ignore_errors=True)
    (layout / "blobs" / "sha256").mkdir(parents=True)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as layer:
        for path in sorted(each for each in Path(source).rglob("*") if each.is_file()):
            entry = tarfile.TarInfo("srv/" + path.relative_to(source).as_posix())
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as stream:
                layer.addfile(entry, stream)

    def blob(data: bytes, media: str) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    packed = blob(gzip.compress(tar.getvalue(), mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    diff = "sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff]}}
    config_blob = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config_blob, "layers": [packed]}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), kind)]}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps(index))


main(*sys.argv[1:])
