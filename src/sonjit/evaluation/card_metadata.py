"""A card's metadata for Hugging Face."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TASK = "keypoint-detection"


def front_matter(model: str, records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Hugging Face's metadata, as YAML; JSON's strings are YAML's."""
    lines = ["---", f"license: {about.get('licence', 'other')}", "library_name: sonjit", f"pipeline_tag: {_TASK}"]
    lines += ["tags:", *(f"- {tag}" for tag in about.get("tags", ("landmarks",)))]
    lines += ["model-index:", f"- name: {json.dumps(model)}", "  results:"]
    for record in records:
        for run in record["runs"]:
            sets = ", ".join(f"{one['set']} {one['split']}" for one in record["data"])
            lines += [
                f"  - task: {{type: {_TASK}}}",
                f"    dataset: {{name: {json.dumps(sets)}, type: {record['protocol']['name']}}}",
            ]
            lines.append("    metrics:")
            lines += [
                f"    - {{type: {json.dumps(one['name'])}, name: {json.dumps(one['title'] + ', ' + run['mode'])}, "
                f"value: {one['value']:.6g}}}"
                for one in run["figures"]
                if one["value"] is not None
            ]
    return "\n".join([*lines, "---"])
