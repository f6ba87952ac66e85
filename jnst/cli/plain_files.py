"""Names that are no files: standard streams and URLs, for the commands that do without them."""

from collections.abc import Iterable

from jnst.batch.discovery import check_path
from jnst.batch.folders import is_remote
from jnst.errors import ConfigError, quote


def check_files(names: Iterable[str], *, urls: bool = False) -> None:
    """Finds out whether names can be those of files.

    Args:
        names: as they were given.
        urls: whether they may be URLs as well.

    Raises:
        ConfigError: for a path that no file can have, - for a standard stream, or a URL.
    """
    for name in names:
        check_path(name)
        if name == "-":
            raise ConfigError(
                "- is standard input or output, which `jnst stylize` alone uses; give a file (one called - is ./-)"
            )
        if is_remote(name) and not urls:
            raise ConfigError(f"{quote(name)} is a URL, which `jnst stylize` and `jnst batch` use; give a file")
