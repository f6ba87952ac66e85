"""Folders here and elsewhere: plain paths, and URLs such as s3://bucket/photos through fsspec.

Here fsspec enters; it is imported only when a URL is given. Pictures pass through a temporary file of their own, so
that reading and writing them is the same code for both.
"""

import contextlib
import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jnst import files
from jnst.errors import ConfigError, ImageError
from jnst.files import check_regular, write_atomically, write_file
from jnst.images.opening import read_bytes as read_local
from jnst.images.reading import Picture, read_picture_bytes
from jnst.images.writing import read_metadata, write_image

# How long a web server may take to be connected to, and may be silent.
CONNECT_SECONDS, SILENT_SECONDS = 30, 60


def is_remote(path: str) -> bool:
    """Whether a path names a store (gs://…, s3://…) and not a local file."""
    return "://" in path


def open_filesystem(path: str) -> tuple[Any, str]:
    """The store's fsspec filesystem and the path inside it; ConfigError where what serves it is not installed."""
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(f"{path} needs fsspec: pip install 'jnst[urls]'") from error
    try:
        return fsspec.core.url_to_fs(path, **_web_options(path))
    except ImportError as error:
        raise ConfigError(f"cannot open {path}: {error}; for web addresses: pip install 'jnst[urls]'") from error
    except Exception as error:  # every storage service has its own exceptions, and chained URLs open files here
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"cannot open {path}: {reason}") from error


def _web_options(path: str) -> dict[str, Any]:
    """How long to wait for a web server: not five minutes, as aiohttp does, and not only so long for a large file."""
    if not path.startswith(("http://", "https://")):
        return {}
    import aiohttp  # pyright: ignore[reportMissingImports]

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    return {"client_kwargs": {"timeout": timeout}}


@contextlib.contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """What goes wrong on the other side comes out as one ImageError with the URL in it."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist") from error
    except Exception as error:  # every storage service has its own exceptions
        raise ImageError(f"cannot reach {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What went wrong, in a few words. The exceptions of aiohttp, which need not be installed, are known by name."""
    untrusted = getattr(error, "certificate_error", error)
    if isinstance(untrusted, ssl.SSLCertVerificationError):
        what = getattr(untrusted, "verify_message", "") or "certificate verify failed"
        return f"its certificate is not trusted ({what}); SSL_CERT_FILE names a file of further authorities"
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, TimeoutError) or "TimeoutError" in type(error).__name__:
        return f"no answer within {SILENT_SECONDS} seconds"
    if "TooManyRedirects" in names:
        return "it redirects too often"
    if "ClientResponseError" in names:
        return f"the server answered {getattr(error, 'status', '')} {getattr(error, 'message', '')}".rstrip()
    if "ClientPayloadError" in names:
        return "the answer broke off before its end"
    if "InvalidURL" in names:
        return "expected an address such as https://example.org/photo.jpg"
    return str(error).partition("\n")[0] or type(error).__name__


def join(folder: str, name: str) -> str:
    """The path of a file in a folder; `name` uses slashes."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder) / name)


def name_parts(path: str) -> tuple[str, str]:
    """Stem and suffix of a path or URL.

    >>> name_parts("s3://bucket/a.b/photo.one.jpg")
    ('photo.one', '.jpg')
    """
    stem, dot, suffix = path.replace("\\", "/").rstrip("/").rpartition("/")[2].rpartition(".")
    return (stem, dot + suffix) if stem else (suffix, "")


@contextlib.contextmanager
def making_folder(folder: str) -> Iterator[None]:
    """`jnst.files.making_folder` of a path or URL. Raises ImageError where the folder cannot be made."""
    with contextlib.ExitStack() as stack:
        if is_remote(folder):
            filesystem, inner = open_filesystem(folder)
            with storage_errors(folder):
                filesystem.makedirs(inner, exist_ok=True)
        else:
            try:
                stack.enter_context(files.making_folder(folder))
            except OSError as error:
                raise ImageError(f"cannot make the folder {folder}: {error.strerror or error}") from error
        yield


def exists(path: str) -> bool:
    """Whether a local or remote path exists."""
    if not is_remote(path):
        return os.path.exists(path)
    filesystem, inner = open_filesystem(path)
    with storage_errors(path):
        return bool(filesystem.exists(inner))


def is_taken(path: str) -> bool:
    """Whether something stands at a path, be it a link that leads nowhere."""
    return exists(path) or (not is_remote(path) and os.path.lexists(path))


def read_bytes(path: str, *, pipes: bool = False) -> bytes:
    """Raises ImageError where the file cannot be read, or is a pipe unless `pipes`."""
    if not is_remote(path):
        check_regular(path, pipes=pipes)
        try:
            return Path(path).read_bytes()
        except MemoryError as error:
            raise ImageError(f"{path} does not fit into memory ({os.path.getsize(path):,} bytes)") from error
        except OSError as error:
            raise ImageError(f"cannot read {path}: {error.strerror or error}") from error
    filesystem, inner = open_filesystem(path)
    with storage_errors(path):
        return filesystem.cat_file(inner)


def check_writable_url(path: str, *, overwrite: bool = False) -> None:
    """Finds out before the work starts whether a URL can be written, by writing an empty file beside it for a moment.

    Raises:
        ImageError: it exists and may not be overwritten, or the other side does not let us write.
    """
    filesystem, inner = open_filesystem(path)
    if not overwrite and exists(path):
        raise ImageError(f"{path} exists already; choose another name or pass --overwrite")
    try:
        _upload(f"{path}.part", b"")
        filesystem.rm_file(f"{inner}.part")
    except Exception as error:  # every storage service has its own exceptions
        reason = str(error.__cause__ or error) or "it can be read alone"
        raise ImageError(f"cannot write {path}: {reason}") from error


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file whole or not at all. Raises ImageError where it cannot be written."""
    if is_remote(path):
        _upload(path, data)
        return
    write_file(path, data)


def _upload(path: str, data: bytes) -> None:
    filesystem, inner = open_filesystem(path)
    with storage_errors(path):
        parent = inner.rpartition("/")[0]
        if parent:
            filesystem.makedirs(parent, exist_ok=True)
        # Object stores show an object only when it is complete; where a file is a file, it is renamed into place.
        protocol = filesystem.protocol
        if "file" in (protocol if isinstance(protocol, tuple | list) else (protocol,)):
            write_atomically(inner, data)
        else:
            filesystem.pipe_file(inner, data)


@contextlib.contextmanager
def _temporary(path: str, data: bytes | None) -> Iterator[Path]:
    """A local stand-in for a remote file; what is said about it is said about the URL."""
    with tempfile.TemporaryDirectory(prefix="jnst-") as folder:
        local = Path(folder) / ("picture" + name_parts(path)[1])
        if data is not None:
            local.write_bytes(data)
        try:
            yield local
        except ImageError as error:
            raise ImageError(str(error).replace(str(local), path)) from error.__cause__


def read_picture(path: str, **options: Any) -> tuple[Picture, str]:
    """`jnst.read_image` of a path or URL, with its options, and the SHA-256 of the bytes that were read."""
    data = read_bytes(path) if is_remote(path) else read_local(path)
    return read_picture_bytes(path, data, **options), hashlib.sha256(data).hexdigest()


def read_picture_metadata(path: str) -> dict[str, Any] | None:
    """`read_metadata` of a path or URL."""
    if not is_remote(path):
        return read_metadata(path)
    with _temporary(path, read_bytes(path)) as local:
        return read_metadata(local)


def write_picture(path: str, image: Any, *, overwrite: bool = False, **options: Any) -> None:
    """`jnst.write_image` to a path or URL; folders on the way are made."""
    if not is_remote(path):
        with making_folder(str(Path(path).parent)):
            write_image(path, image, overwrite=overwrite, **options)
        return
    if not overwrite and exists(path):
        raise ImageError(f"{path} exists already; choose another name or pass --overwrite")
    with _temporary(path, None) as local:
        write_image(local, image, **options)
        _upload(path, local.read_bytes())
