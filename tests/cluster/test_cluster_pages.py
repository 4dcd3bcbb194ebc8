"""What the pages about Kubernetes show can be used as it stands."""

import re
from pathlib import Path

import pytest

from crossfade.config.load import load_text, resolve
from crossfade.config.metrics import PrometheusMetrics

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
COMPONENT = "components: {api: {image: 'shop/api:{version}', port: 8000}}\n"


@pytest.mark.parametrize("page", ["run-on-kubernetes", "use-the-gateway-api", "use-ingress-nginx"])
def test_its_file_is_whole(page):
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (PAGES / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    (shown,) = (each for each in blocks if "environments:" in each)
    text = "project: shop\n" + ("" if "components:" in shown else COMPONENT) + shown
    settings = resolve(load_text(text, Path("/srv/crossfade.yaml")), "api", "production").settings
    assert settings.runtime.kind == "kubernetes"
    assert isinstance(settings.metrics, PrometheusMetrics)
    assert "{version}" in settings.metrics.requests
    assert "{version}" in settings.metrics.errors
