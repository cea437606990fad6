"""What a node that imports a tarball of `make image-tar` has then."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

from postroom_testing.image import ask_tree


def test_a_tarball_holds_one_image_by_the_name_that_a_node_looks_for() -> None:
    version = ask_tree("version", "bundled-nats")[0]
    built = Path(os.environ["POSTROOM_IMAGE_ROOTS"]).parent
    with tarfile.open(built / f"postroom-bundled-nats-{version}.tar") as archive:

        def read(name: str) -> Any:
            member = archive.extractfile(name)
            assert member is not None
            return json.load(member)

        (image,) = read("manifest.json")
        # Docker leaves out what containerd puts before a name that begins with no host.
        names = {name.removeprefix("docker.io/") for name in image["RepoTags"]}
        assert f"postroom/bundled-nats:{version}" in names
        config = read(image["Config"])
        assert (config["os"], config["config"]["User"]) == ("linux", "10001:10001")
        assert len(config["rootfs"]["diff_ids"]) == len(image["Layers"]) == len(set(image["Layers"]))
