"""The images, unpacked: what lies in them, and processes in them as a pod would start them.

`tools/image root` unpacks them; no container runtime is needed, but root is.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

TREE: Final = Path(__file__).resolve().parents[4]


class ImageConfig(BaseModel):
    """What the image says of itself (the fields' names are those of the OCI image specification)."""

    model_config = ConfigDict(frozen=True, alias_generator=str.capitalize)

    user: str
    env: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Image:
    """The image of a service, or of a part that the chart bundles, in a folder of its own."""

    service: str
    root: Path
    config: ImageConfig = field(repr=False)

    @property
    def package(self) -> str:
        """What `python -m` runs."""
        return self.service.replace("-", "_")

    @property
    def version(self) -> str:
        """The tag that it is built with."""
        return self.config.labels["org.opencontainers.image.version"]

    @property
    def packages(self) -> Path:
        """Where its Python packages lie."""
        (found,) = self.root.glob("opt/postroom/lib/python3.*/site-packages")
        return found

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The image's own variables, then those of the pod."""
        return dict(line.split("=", 1) for line in self.config.env) | dict(more)

    def command(
        self, *words: str, hostname: str = "localhost", volumes: Mapping[str, Path] | None = None
    ) -> list[str]:
        """Start a program in it as uid 10001 with a root that nobody can write to.

        `volumes` says what is mounted at a path.
        """
        mounts = [word for there, here in (volumes or {}).items() for word in ("--volume", f"{here}:{there}")]
        return [
            str(TREE / "tools/run-in-root"), str(self.root), "--hostname", hostname, *mounts, *words,
        ]  # fmt: skip

    def run(
        self,
        *arguments: str,
        entry_point: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the image's entry point, or another, to its end (50 s at most)."""
        started = self.config.entrypoint if entry_point is None else entry_point
        return subprocess.run(
            self.command(*started, *arguments),
            env=self.environment(environment or {}),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )


def unpacked_images(folder: Path) -> list[Image]:
    """The images below the folder that `tools/image root` fills."""
    return [
        Image(file.stem, file.with_suffix(""), ImageConfig.model_validate(json.loads(file.read_text())))
        for file in sorted(folder.glob("*.json"))
    ]


def ask_tree(question: str, *service: str) -> list[str]:
    """What `tools/service_requirements.py`, which the images are built by, answers; in lines."""
    tool = [sys.executable, str(TREE / "tools/service_requirements.py"), question, *service]
    return subprocess.run(tool, capture_output=True, text=True, check=True).stdout.splitlines()
