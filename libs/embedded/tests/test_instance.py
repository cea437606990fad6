"""The data directory: whose it is, what it refuses, what it keeps."""

import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from postroom_embedded import users
from postroom_embedded.errors import (
    CorruptConfigurationError,
    DirectoryInUseError,
    DirectoryNotWritableError,
    DiskFullError,
    UnreadableCodeError,
)
from postroom_embedded.instance import Instance, open_instance
from postroom_embedded.users import POSTROOM_UID, User, check_readable, choose_user, is_root


def test_everything_in_it_is_for_its_owner_only(instance: Instance) -> None:
    for path in [instance.directory, instance.runtime, *instance.directory.rglob("*")]:
        if path.name != "passwd":  # a copy of what everybody may read
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_second_postroom_is_told_who_holds_the_directory(instance: Instance) -> None:
    with pytest.raises(DirectoryInUseError, match=f"process {os.getpid()}.*--data"):
        Instance.open(instance.directory)


def test_secrets_are_made_once_and_stay(place: Path) -> None:
    with open_instance(place / "data") as first:
        secrets = first.secrets
    with open_instance(place / "data") as second:
        assert second.secrets == secrets
    with open_instance(place / "other") as other:
        assert other.secrets.marker != secrets.marker
    assert secrets.s3_secret_key not in repr(secrets)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"marker": 1}', b'{"marker": "short"}']
)
def test_corrupt_secrets_are_named_and_left_alone(place: Path, content: bytes) -> None:
    with open_instance(place / "data"):
        pass
    file = place / "data" / "secrets.json"
    file.write_bytes(content)
    with pytest.raises(CorruptConfigurationError, match=r"secrets\.json is corrupt.*--data"):
        Instance.open(place / "data")
    assert file.read_bytes() == content


def test_new_secrets_are_not_made_for_old_data(place: Path) -> None:
    with open_instance(place / "data"):
        pass
    (place / "data" / "secrets.json").unlink()
    (place / "data" / "postgres").mkdir()
    with pytest.raises(CorruptConfigurationError, match="missing"):
        Instance.open(place / "data")


def test_a_refused_start_lets_go_of_the_lock(place: Path) -> None:
    with open_instance(place / "data"):
        pass
    file = place / "data" / "secrets.json"
    content = file.read_bytes()
    file.write_bytes(b"")
    with pytest.raises(CorruptConfigurationError):
        Instance.open(place / "data")
    file.write_bytes(content)
    with open_instance(place / "data"):
        pass


def test_a_directory_with_something_else_in_it_is_refused(place: Path) -> None:
    (place / "home").mkdir()
    (place / "home" / "letter.txt").write_text("dear")
    mode = (place / "home").stat().st_mode
    with pytest.raises(DirectoryNotWritableError, match=r"something else.*--data"):
        Instance.open(place / "home")
    assert (place / "home").stat().st_mode == mode


def test_a_place_where_no_directory_can_be_is_refused(place: Path) -> None:
    (place / "file").write_text("")
    with pytest.raises(DirectoryNotWritableError, match="--data"):
        Instance.open(place / "file" / "data")
    with pytest.raises(DirectoryNotWritableError, match="--data"):
        Instance.open(place / "file")


@pytest.mark.skipif(is_root(), reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_refused(place: Path) -> None:
    place.chmod(0o500)
    try:
        with pytest.raises(DirectoryNotWritableError, match=r"permission denied.*--data"):
            Instance.open(place / "data")
    finally:
        place.chmod(0o700)


def test_a_full_disk_is_named_before_anything_starts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=3 << 20)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(DiskFullError, match=r"3 MiB are free.*--data"):
        Instance.open(place / "data")


def test_a_runtime_directory_that_is_somebody_s_link_is_not_used(place: Path) -> None:
    with open_instance(place / "data") as first:
        runtime = first.runtime
    (place / "trap").mkdir()
    (place / "trap" / "precious").write_text("x")
    runtime.symlink_to(place / "trap")
    try:
        with pytest.raises(DirectoryNotWritableError):
            Instance.open(place / "data")
        assert (place / "trap" / "precious").exists()
    finally:
        runtime.unlink()


def test_stale_sockets_are_gone_at_the_next_start(place: Path) -> None:
    with open_instance(place / "data") as first:
        runtime = first.runtime
    runtime.mkdir(mode=0o700)
    if first.user is not None:
        os.chown(runtime, first.user.uid, first.user.gid)
    (runtime / "mailstore.grpc").write_text("")
    with open_instance(place / "data") as second:
        assert second.runtime == runtime
        assert list(runtime.iterdir()) == []


def test_socket_paths_fit_into_what_a_socket_address_holds(instance: Instance) -> None:
    assert len(os.fsencode(instance.runtime / "webmail-api.health")) <= 107


@pytest.mark.skipif(not is_root(), reason="only root can give a directory away")
def test_root_runs_as_the_owner_of_the_data(place: Path) -> None:
    (place / "data").mkdir()
    os.chown(place / "data", 61_050, 61_051)
    with open_instance(place / "data") as owned:
        assert owned.user == User(61_050, 61_051)
        assert (owned.directory / "secrets.json").stat().st_uid == 61_050


def test_a_fresh_directory_of_root_gets_a_user_without_an_account() -> None:
    chosen = choose_user(User(0, 0))
    assert chosen.uid != 0
    assert choose_user(User(1000, 1000)) == User(1000, 1000)
    assert POSTROOM_UID > 60_577


def test_code_that_the_user_may_not_read_is_named(place: Path) -> None:
    (place / "module").mkdir(mode=0o700)
    with pytest.raises(UnreadableCodeError, match=r"may not read .*/module"):
        check_readable(User(61_050, 61_050), place, (str(place / "module"),))


def test_without_mounts_a_way_that_is_closed_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "can_mount", lambda: False)
    (place / "home" / "data").mkdir(parents=True)
    (place / "home").chmod(0o700)
    user = User(61_050, 61_050)
    with pytest.raises(DirectoryNotWritableError, match=r"/home is closed to user 61050.*--data"):
        check_readable(user, place / "home" / "data", ())
    with pytest.raises(UnreadableCodeError, match=r"may not read .*/home \(.*closed"):
        check_readable(user, place, (str(place / "home" / "data"),))
