"""One file over HTTP: resumed across runs, verified, and never half there.

Environment: JNST_OFFLINE=1 forbids every download.
"""

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jnst.errors import WeightsError
from jnst.files import check_space, disk_errors, exclusive

# Bytes that are here so far, and bytes in all where that is known.
Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 18
_HEADWAY = 1 << 20  # bytes that an attempt must bring for the count of failures to start again
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_NETWORK = (OSError, http.client.HTTPException)


class Download(NamedTuple):
    """What to fetch. `checksum` is "sha256:…" or "md5:…"; empty where unknown, as is `size` (bytes) where 0."""

    url: str
    size: int = 0
    checksum: str = ""


class Patience(NamedTuple):
    """Seconds to wait for a connection and for data; failures in a row before giving up; seconds before the second
    attempt, doubled for each further one up to half a minute."""

    timeout: float = 30.0
    attempts: int = 4
    pause: float = 1.0


class _Interrupted(Exception):
    """The connection failed; what has come is kept, and the next attempt goes on from there."""


class _Changed(Exception):
    """What has come is no part of what the server now offers; the next attempt starts from nothing."""


def is_offline() -> bool:
    """Whether JNST_OFFLINE forbids downloads."""
    return os.environ.get("JNST_OFFLINE", "").lower() not in ("", "0", "false", "no")


def fetch(
    download: Download,
    path: Path,
    *,
    progress: Progress | None = None,
    reserve: int = 0,
    patience: Patience = Patience(),  # noqa: B008 (immutable)
) -> Path:
    """Downloads a file to `path` unless it is there already, whole and with the right hash.

    What has come of an interrupted download lies in PATH.part and is continued by the next call.

    Args:
        download: address, size and hash.
        path: where the verified file appears; its directory is made.
        progress: called with the bytes so far and their number, None where that is unknown.
        reserve: bytes that must stay free on the disk besides the file.
        patience: with a slow or failing server.

    Raises:
        WeightsError: offline, no such file, no space, wrong size or hash, unwritable place, or no connection.
    """
    with exclusive(path), disk_errors(path):
        if path.is_file() and not _fault(download, path):
            return path
        if is_offline():
            raise WeightsError(f"JNST_OFFLINE is set, and {path} is not there; unset it to download {download.url}")
        part = path.with_name(path.name + ".part")
        left_behind = part.exists()
        _transfer(download, part, progress, reserve, patience)
        fault = _fault(download, part)
        if fault and left_behind:  # the fault may lie in what an earlier run left behind
            part.unlink(missing_ok=True)
            _transfer(download, part, progress, reserve, patience)
            fault = _fault(download, part)
        if fault:
            part.unlink(missing_ok=True)
            raise WeightsError(f"{download.url} is not the file that was expected: {fault}")
        os.replace(part, path)
    return path


def received(path: Path) -> int:
    """Bytes that have come so far of the download to `path`."""
    part = path.with_name(path.name + ".part")
    return part.stat().st_size if part.exists() else 0


def _fault(download: Download, path: Path) -> str:
    """What is wrong with a finished file; empty if nothing is."""
    size = path.stat().st_size
    if download.size and size != download.size:
        return f"it has {size} bytes instead of {download.size}"
    if download.checksum:
        algorithm, _, expected = download.checksum.partition(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            return f"its {algorithm} is {found} instead of {expected}"
    return ""


def _transfer(download: Download, part: Path, progress: Progress | None, reserve: int, patience: Patience) -> None:
    """Attempts until the part is complete."""
    failures, best = 0, 0
    while True:
        try:
            return _attempt(download, part, progress, reserve, patience.timeout)
        except _Changed:
            part.unlink(missing_ok=True)
            reason = "the file on the server changed"
        except _Interrupted as error:
            reason = str(error)
        size = part.stat().st_size if part.exists() else 0
        failures = 1 if size >= best + _HEADWAY else failures + 1
        best = max(best, size)
        if failures >= patience.attempts:
            raise WeightsError(
                f"{download.url} cannot be downloaded: {reason}; "
                f"{size / 1e6:.1f} MB are here, and the next run goes on from there"
            )
        time.sleep(min(patience.pause * 2 ** (failures - 1), 30.0))


def _attempt(download: Download, part: Path, progress: Progress | None, reserve: int, timeout: float) -> None:
    have = _resumable(download, part)
    if download.size and have == download.size:
        return
    headers = {"User-Agent": "jnst", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with _open(download.url, headers, timeout) as response:
        if response.status == 206:
            total = _check_range(response, have)
        else:
            have, total = 0, _length(response)
        if download.size and total not in (None, download.size):
            raise WeightsError(f"{download.url} has {total} bytes instead of {download.size}: not the file expected")
        total = total or download.size or None
        check_space(part.parent, (total or 0) - have + reserve)
        if not have:
            part.unlink(missing_ok=True)
        have = _receive(response, part, have, total, progress)
    if total is not None and have != total:
        raise _Interrupted(f"the connection ended after {have} of {total} bytes")


def _resumable(download: Download, part: Path) -> int:
    """Bytes that can be kept: only a hash tells in the end whether they were the beginning of the right file."""
    have = part.stat().st_size if part.exists() else 0
    too_many = bool(download.size) and have > download.size
    return 0 if too_many or not download.checksum else have


def _open(url: str, headers: dict[str, str], timeout: float) -> Any:
    """The response; failures that may pass come out as `_Interrupted`, the others as WeightsError."""
    if not url.startswith(("https://", "http://")):
        raise WeightsError(f"{url} is not a web address")
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            raise _Changed from error
        if error.code in _PASSING:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        raise WeightsError(
            f"{url}: the server answered {error.code} {error.reason}; "
            "a file that you find elsewhere can be read with `jnst weights convert`"
        ) from error
    except _NETWORK as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise WeightsError(f"{url}: the server's certificate is not trusted ({reason})") from error
        raise _Interrupted(f"no connection ({reason})") from error
    except ValueError as error:
        raise WeightsError(f"{url} is not a web address: {error}") from error


def _check_range(response: Any, have: int) -> int | None:
    """The whole file's size from a partial answer; `_Changed` where it does not continue what is here."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match or int(match[1]) != have:
        raise _Changed
    return None if match[2] == "*" else int(match[2])


def _length(response: Any) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _receive(response: Any, part: Path, have: int, total: int | None, progress: Progress | None) -> int:
    """Appends what comes to the part and returns its size; what has come is kept, whatever ends it."""
    with part.open("ab") as file:
        while True:
            if progress is not None:
                progress(have, total)
            try:
                chunk = response.read1(_CHUNK)
            except _NETWORK as error:
                raise _Interrupted(f"the connection failed after {have} bytes ({error})") from error
            if not chunk:
                break
            have += len(chunk)
            if total is not None and have > total:
                raise _Changed
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return have
