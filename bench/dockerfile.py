"""Replays the Dockerfile's RUN and COPY steps in a clean Debian root, so that it is known to build without a Docker engine.

`python -m bench.dockerfile [--root DIR] [--keep]` needs root and Debian's debootstrap. Steps run in a chroot, as Docker would run
them: with the ARG and ENV values, in WORKDIR, as USER. The finished image's CMD is started and its health check asked.
Prints one line a step; exit code 1 at the first that fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DEBIAN = "bookworm"
HOST_FILES = (
    "etc/resolv.conf",
    "etc/pip.conf",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/hosts",
)  # how this machine reaches packages
HOST_CERTIFICATES = "opt/host-certificates.crt"  # installing ca-certificates inside replaces the usual file
HEALTH_TRIES = 60


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield (instruction, rest) of a Dockerfile, continuation lines joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def replay(root: Path, arguments: dict[str, str]) -> None:
    """Run every step inside `root`. Raises `CalledProcessError` at the first that fails."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    if (root / HOST_CERTIFICATES).is_file():
        environment["PIP_CERT"] = f"/{HOST_CERTIFICATES}"
    folder, user = "/", "0"
    command: list[str] = []
    health: list[str] = []
    for name, rest in instructions((REPOSITORY / "Dockerfile").read_text()):
        started = time.monotonic()
        if name == "ARG":
            key, _, default = rest.partition("=")
            environment[key] = arguments.get(key, default)
        elif name == "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                environment[key] = re.sub(r"\$(\w+)", lambda found: environment.get(found[1], ""), value)
        elif name == "WORKDIR":
            folder = rest
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            user = rest
        elif name == "COPY":
            *sources, target = rest.split()
            place = root / folder.lstrip("/") / target
            for source in sources:
                path = REPOSITORY / source
                if path.is_dir():
                    shutil.copytree(path, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, place / path.name)
        elif name == "RUN":
            inside(root, folder, user, environment, ["/bin/bash", "-o", "pipefail", "-c", rest])
        elif name == "CMD":
            command = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
        elif name == "HEALTHCHECK":
            health = re.findall(r'"((?:[^"\\]|\\.)*)"', rest.partition("CMD")[2])
        print(f"{name:12} {time.monotonic() - started:6.1f} s  {rest[:90]}", flush=True)
    start_and_ask(root, folder, user, environment, command, health)


def start_and_ask(root: Path, folder: str, user: str, environment: dict[str, str], command: list[str], health: list[str]) -> None:
    """Start what the image would start, and wait until its health check passes."""
    process = subprocess.Popen(in_root(root, folder, user, environment, command))
    try:
        for _ in range(HEALTH_TRIES):
            time.sleep(1)
            if process.poll() is not None:
                sys.exit(f"the image's command ended with exit code {process.returncode}")
            check = subprocess.run(in_root(root, folder, user, environment, health), capture_output=True, check=False)
            if check.returncode == 0:
                print("the health check passes")
                return
        sys.exit("the health check never passed")
    finally:
        process.terminate()
        process.wait(timeout=20)


def in_root(root: Path, folder: str, user: str, environment: dict[str, str], command: list[str]) -> list[str]:
    """Return the command that runs `command` inside `root`."""
    setting = [f"{name}={value}" for name, value in environment.items()]
    return ["chroot", f"--userspec={user}:{user}", str(root), "/usr/bin/env", "-i", "-C", folder, *setting, *command]


def inside(root: Path, folder: str, user: str, environment: dict[str, str], command: list[str]) -> None:
    """Run a command inside `root`."""
    subprocess.run(in_root(root, folder, user, environment, command), check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Make the root, replay, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="where the Debian root is made (default: a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="leave the root for a look")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as docker build takes it")
    parser.add_argument(
        "--copy", action="append", default=[], metavar="PATH", help="a folder of this machine that pip needs inside"
    )
    flags = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        sys.exit("This needs root and debootstrap. Debian: sudo apt-get install debootstrap")
    root = flags.root or Path(tempfile.mkdtemp(prefix="earmark-root-"))
    try:
        subprocess.run(["debootstrap", "--variant=minbase", DEBIAN, str(root)], check=True, stdout=subprocess.DEVNULL)
        for name in HOST_FILES:
            if Path("/", name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(Path("/", name), root / name)
        certificates = Path("/etc/ssl/certs/ca-certificates.crt")
        if certificates.is_file():
            shutil.copy2(certificates, root / HOST_CERTIFICATES)
        for path in flags.copy:
            shutil.copytree(path, root / path.lstrip("/"), dirs_exist_ok=True)
        replay(root, dict(pair.partition("=")[::2] for pair in flags.build_arg))
    finally:
        if not flags.keep:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
