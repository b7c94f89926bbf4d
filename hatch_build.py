"""What of the project's metadata is made when it is built: the README as PyPI shows it, and the project's addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ProjectMetadata(MetadataHookInterface):
    """Fills in `readme` and `urls`, from the address in `[tool.hatch.metadata.hooks.custom]`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling."""
        repository = str(self.config.get("repository", "")).rstrip("/")
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": pypi_readme(text, repository)}
        metadata["urls"] = project_urls(repository)


def pypi_readme(text: str, repository: str) -> str:
    """A README without relative links, which lead nowhere on PyPI.

    Args:
        text: Markdown.
        repository: address that the files are at; where it is empty, images are left out and links become their text.
    """

    def absolute(link: re.Match[str]) -> str:
        bang, label, target = link.groups()
        if re.match(r"[a-z]+:|#", target):
            return link[0]
        if not repository:
            return "" if bang else label
        return f"{bang}[{label}]({repository}/{'raw' if bang else 'blob'}/HEAD/{target})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)  # code stays as it is
    parts[::2] = [re.sub(r"(!?)\[([^]]*)\]\(([^)\s]+)\)", absolute, part) for part in parts[::2]]
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


def project_urls(repository: str) -> dict[str, str]:
    """The addresses that PyPI shows beside the project."""
    if not repository:
        return {}
    return {
        "Homepage": repository,
        "Documentation": f"{repository}/blob/HEAD/docs/index.md",
        "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
