"""Real clients: curl and lftp, as a user has them."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


async def _run(*command: str, home: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(50):
            octets, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    assert process.returncode == 0, octets.decode()
    return octets.decode()


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("secure", [False, True])
async def test_curl_takes_files_up_and_down(
    gateway: Any, behind: Any, tmp_path: Path, debian_tool: Callable[[str], Path], secure: bool
) -> None:
    curl, up, down = str(debian_tool("curl")), tmp_path / "up", tmp_path / "down"
    up.write_bytes(os.urandom(7_000_000))
    base = [curl, "-sS", "--user", f"{behind.account()}:secret"]
    if secure:
        base += ["--ssl-reqd", "--cacert", str(gateway.certificate.ca_file)]
    url = f"ftp://localhost:{gateway.port}/a/b/file.bin"
    await _run(*base, "--ftp-create-dirs", "-T", str(up), url, home=tmp_path)
    await _run(*base, "-o", str(down), url, home=tmp_path)
    assert down.read_bytes() == up.read_bytes()
    await _run(*base, "--append", "-T", str(up), url, home=tmp_path)
    await _run(*base, "-r", "7000000-", "-o", str(down), url, home=tmp_path)
    assert down.read_bytes() == up.read_bytes()
    assert "file.bin" in await _run(*base, f"ftp://localhost:{gateway.port}/a/b/", home=tmp_path)


async def test_curl_speaks_tls_from_the_start(
    gateway: Any, behind: Any, tmp_path: Path, debian_tool: Callable[[str], Path]
) -> None:
    up, down = tmp_path / "up", tmp_path / "down"
    up.write_bytes(b"octets")
    base = [str(debian_tool("curl")), "-sS", "--user", f"{behind.account()}:secret"]
    base += ["--cacert", str(gateway.certificate.ca_file)]
    url = f"ftps://localhost:{gateway.ftps_port}/file.bin"
    await _run(*base, "-T", str(up), url, home=tmp_path)
    await _run(*base, "-o", str(down), url, home=tmp_path)
    assert down.read_bytes() == b"octets"


@pytest.mark.parametrize(("secure", "files"), [(False, 20), (True, 200)])
async def test_lftp_mirrors_a_folder_up_and_down(
    gateway: Any, behind: Any, tmp_path: Path, debian_tool: Callable[[str], Path], secure: bool, files: int
) -> None:
    up, down = tmp_path / "up", tmp_path / "down"
    for number in range(files):
        file = up / f"folder {number % 7}" / f"ä{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(number * 100))
    script = (
        f"set ssl:ca-file {gateway.certificate.ca_file}; set ftp:ssl-force {str(secure).lower()}; "
        f"set ftp:ssl-allow {str(secure).lower()}; set ftp:ssl-protect-data true; set net:max-retries 1; "
        f"set cmd:fail-exit true; set ftp:sync-mode false; open -u {behind.account()},secret "
        f"ftp://localhost:{gateway.port}; mirror -R --parallel=4 {up} /copy; "
        f"mirror --parallel=4 /copy {down}; bye"
    )
    await _run(str(debian_tool("lftp")), "-f", _script(tmp_path, script), home=tmp_path)
    assert _digests(down) == _digests(up)
    assert len(_digests(down)) == files


def _script(folder: Path, text: str) -> str:
    file = folder / "script.lftp"
    file.write_text(text)
    return str(file)
