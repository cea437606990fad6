"""Writes an unpacked image's bill of materials, as CycloneDX 1.6: python3 tools/sbom.py ROOT NAME VERSION

It lists what lies in the image, not what was meant to: the Python packages from their metadata, and
Debian's packages from dpkg's list. The same image gives the same octets. Only the standard library is used.
"""

import json
import re
import sys
import uuid
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Final
from urllib.parse import quote

# Random, and ours: the document's number follows from what it says.
_NAMESPACE: Final = uuid.UUID("6b0f3f0c-6a53-4c0e-9d0c-1c6d2f1b7a52")
_METADATA: Final = "**/lib/python3.*/site-packages/*.dist-info/METADATA"

Component = dict[str, object]


def _component(kind: str, name: str, version: str, origin: str = "", qualifiers: str = "") -> Component:
    purl = f"pkg:{kind}/{origin}{quote(name)}@{quote(version, safe='')}{qualifiers}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def python_components(root: Path) -> Iterator[Component]:
    """The Python packages, with the licence that they name."""
    for path in sorted(root.glob(_METADATA)):
        said = HeaderParser().parsestr(path.read_text(encoding="utf-8"))
        name = re.sub(r"[-_.]+", "-", str(said["Name"])).lower()
        component = _component("pypi", name, str(said["Version"]))
        if expression := said["License-Expression"]:
            component["licenses"] = [{"expression": str(expression)}]
        elif (licence := str(said["License"] or "").strip()) and "\n" not in licence:
            component["licenses"] = [{"license": {"name": licence}}]
        yield component


def debian_components(root: Path) -> Iterator[Component]:
    """Debian's packages that are installed."""
    release = (root / "etc/os-release").read_text()
    found = re.search(r'^VERSION_ID="?([\d.]+)', release, re.MULTILINE)
    distribution = f"debian-{found[1]}" if found else "debian"
    for block in (root / "var/lib/dpkg/status").read_text(encoding="utf-8").strip().split("\n\n"):
        said = HeaderParser().parsestr(block)
        if str(said["Status"]).split()[-1] == "installed":
            qualifiers = f"?arch={said['Architecture']}&distro={distribution}"
            yield _component("deb", str(said["Package"]), str(said["Version"]), "debian/", qualifiers)


def bill(root: Path, name: str, version: str) -> dict[str, object]:
    """The whole document."""
    components = [*python_components(root), *debian_components(root)]
    subject: Component = {"type": "container", "bom-ref": name, "name": name, "version": version}
    told = json.dumps([subject, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, told)}",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
    }


if __name__ == "__main__":
    json.dump(bill(Path(sys.argv[1]), sys.argv[2], sys.argv[3]), sys.stdout, indent=1)
    print()
