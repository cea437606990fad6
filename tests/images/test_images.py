"""What lies in an image and what does not, and how its entry point runs as a pod would run it."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom_testing.image import Image, ask_tree, unpacked_images

_UNPACKED = unpacked_images(Path(os.environ["POSTROOM_IMAGE_ROOTS"]))
BUILT = [image for image in _UNPACKED if image.service in ask_tree("services")]
CORE = {"directory", "mailstore", "filestore"}
STORAGE = {"alembic", "asyncpg", "minio", "obstore", "postroom_storage", "psycopg", "psycopg2", "sqlalchemy"}
NOT_IN_AN_IMAGE = {"postroom_cli", "postroom_embedded", "postroom_testing", "pytest", "hypothesis", "trustme"}
INSTALLERS = {
    "pip",
    "pip3",
    "uv",
    "uvx",
    "cc",
    "gcc",
    "g++",
    "c++",
    "ld",
    "as",
    "make",
    "git",
    "curl",
    "wget",
}
# Nobody answers there, and nobody has to for what is asked of the entry point.
AWAY = {
    "POSTROOM_NATS_URL": "nats://127.0.0.1:9",
    "POSTROOM_DIRECTORY_ADDRESS": "unix:/tmp/nobody",
    "POSTROOM_MAILSTORE_ADDRESS": "unix:/tmp/nobody",
    "POSTROOM_FILESTORE_ADDRESS": "unix:/tmp/nobody",
    "POSTROOM_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:9/postroom",
    "POSTROOM_S3_ENDPOINT": "http://127.0.0.1:9",
    "POSTROOM_S3_REGION": "here",
    "POSTROOM_S3_ACCESS_KEY": "nobody",
    "POSTROOM_S3_SECRET_KEY": "nothing",
    "POSTROOM_DIRECTORY_ADMIN_TOKEN": "no-administrator-has-this-token",
    "POSTROOM_SMTP_INBOUND_HOSTNAME": "mail.postroom.test",
    "POSTROOM_SMTP_OUTBOUND_HELO_NAME": "mail.postroom.test",
}

each_image = pytest.mark.parametrize("image", BUILT, ids=[image.service for image in BUILT])


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in names)


def _pins(lines: list[str]) -> set[str]:
    """Name and version, without what only another system wants."""
    wanted = (re.match(r"[A-Za-z0-9._-]+==[^ ;]+", line) for line in lines if "'win32'" not in line)
    return {found[0].lower().replace("_", "-") for found in wanted if found}


def test_there_are_images_to_look_at() -> None:
    assert BUILT


@each_image
def test_an_image_has_the_locked_packages_that_its_service_needs_and_no_other(image: Image) -> None:
    ours = {
        f"postroom-{Path(folder).name}=={ask_tree('version', image.service)[0]}"
        for folder in ask_tree("members", image.service)
    }
    installed = (re.fullmatch(r"(.+)-([^-]+)\.dist-info", path.name) for path in image.packages.iterdir())
    found = {f"{name[1].lower().replace('_', '-')}=={name[2]}" for name in installed if name}
    assert found == _pins(ask_tree("requirements", image.service)) | ours


@each_image
def test_an_image_has_no_other_service_and_nothing_for_tests_or_trials(image: Image) -> None:
    others = {name.replace("-", "_") for name in ask_tree("services")} - {image.package}
    present = {path.name for path in image.packages.iterdir()}
    assert image.package in present
    assert not present & (others | NOT_IN_AN_IMAGE)
    assert [path for path in _files(image.root / "opt") if path.parent.name in ("tests", "test")] == []


@each_image
def test_the_edge_has_no_way_to_a_database_or_a_bucket(image: Image) -> None:
    present = {path.name for path in image.packages.iterdir()} & STORAGE
    assert ("postroom_storage" in present) is (image.service in CORE)
    if image.service not in CORE:
        assert present == set()
        assert [path for path in _files(image.root) if path.name.startswith(("libpq", "libmysql"))] == []


@each_image
def test_an_image_can_neither_install_nor_compile(image: Image) -> None:
    programs = [path for path in _files(image.root) if path.parent.name in ("bin", "sbin")]
    assert len(programs) > 50
    assert {path.name for path in programs} & INSTALLERS == set()
    modules = "import importlib.util, sys; sys.exit(any(map(importlib.util.find_spec, ('pip', 'ensurepip'))))"
    assert image.run(entry_point=("python", "-c", modules)).returncode == 0


@each_image
def test_no_program_gives_more_rights_than_its_caller_has(image: Image) -> None:
    files = (path for path in _files(image.root) if not path.is_symlink())
    assert [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []


@each_image
def test_nothing_of_ours_belongs_to_or_can_be_written_by_the_service(image: Image) -> None:
    files = [path for path in _files(image.root / "opt") if not path.is_symlink()]
    assert [path for path in files if path.stat().st_uid != 0 or path.stat().st_mode & stat.S_IWOTH] == []


@each_image
def test_every_module_is_there_as_bytecode_that_is_never_compared_with_its_source(image: Image) -> None:
    sources = [path for path in _files(image.packages) if path.suffix == ".py"]
    tag = f"cpython-{image.packages.parent.name.removeprefix('python').replace('.', '')}"
    compiled = [path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc" for path in sources]
    assert [path for path in compiled if not path.exists()] == []
    # The flags after the magic number: based on a hash, and the hash is not checked.
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\0\0\0"}


@each_image
def test_an_image_says_what_it_is(image: Image) -> None:
    label = {
        name.removeprefix("org.opencontainers.image."): text for name, text in image.config.labels.items()
    }
    assert label["title"] == f"postroom-{image.service}"
    assert [label["version"]] == ask_tree("version", image.service)
    assert [label["description"]] == ask_tree("description", image.service)
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", label["revision"])
    assert label["base.name"]
    assert image.config.user == "10001:10001"
    assert image.config.cmd == ("serve",)


@each_image
def test_a_process_in_it_has_no_rights_and_nowhere_to_write_but_tmp(image: Image) -> None:
    code = (
        "import os, pathlib\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "assert os.getuid() == os.getgid() == 10001 and os.getgroups() == [10001]\n"
        "assert int(status['CapEff'], 16) == 0 and int(status['NoNewPrivs']) == 1\n"
        "pathlib.Path('/tmp/written').write_text('here')\n"
        "for place in ('/', '/opt/postroom', '/var/tmp', '/run', '/etc'):\n"
        "    try:\n"
        "        pathlib.Path(place, 'written').write_text('there')\n"
        "    except OSError:\n"
        "        continue\n"
        "    raise SystemExit(place)\n"
    )
    ran = image.run(entry_point=("python", "-c", code))
    assert (ran.returncode, ran.stderr) == (0, "")


@each_image
@pytest.mark.parametrize("verb", ["serve", "check"])
@pytest.mark.parametrize("by", ["entry point", "module"])
def test_without_settings_it_says_which_and_ends_with_status_2(image: Image, verb: str, by: str) -> None:
    module = ("python", "-m", image.package) if by == "module" else None
    ran = image.run(verb, entry_point=module)
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"{image.service}: POSTROOM_")
    assert "Field required" in ran.stderr
    assert "Traceback" not in ran.stderr


@each_image
def test_a_wrong_word_is_answered_by_the_right_ones(image: Image) -> None:
    ran = image.run("severe")
    words = "serve|migrate|check" if image.service in CORE else "serve|check"
    words += {"directory": "|declare|drift", "smtp-inbound": "|reach"}.get(image.service, "")
    assert (ran.returncode, ran.stderr) == (2, f"{image.service}: usage: {words}\n")


@each_image
def test_check_tells_that_what_it_stands_on_is_away(image: Image) -> None:
    ran = image.run("check", environment=AWAY)
    asks = image.service in {*CORE, "smtp-inbound", "ftp-gateway"}  # the others look at their settings
    assert ran.returncode == (3 if asks else 0), ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout


@each_image
def test_every_module_of_ours_can_be_imported_in_it(image: Image) -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        "packages = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]\n"
        "for name in packages:\n"
        "    module = importlib.import_module(name)\n"
        "    for found in pkgutil.walk_packages(module.__path__, name + '.'):\n"
        "        parts = found.name.split('.')\n"
        "        if '__main__' not in parts and not ({'versions', 'migrations'} & set(parts[1:])):\n"
        "            importlib.import_module(found.name)\n"
        "print(len(sys.modules))\n"
    )
    ours = [
        path.name for path in image.packages.iterdir() if path.name.startswith("postroom_") and path.is_dir()
    ]
    names = [name for name in ours if "." not in name]
    ran = image.run(image.package, *names, entry_point=("python", "-c", "import importlib.util\n" + code))
    assert (ran.returncode, ran.stderr) == (0, "")
