"""The page of a job: its results beside their contents and styles, with their losses, and its failures."""

import html
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from jnst.batch import folders
from jnst.errors import ImageError, one_line

NAME = "index.html"
# A page with more pictures than this is no longer a page; the rest is named in the manifest.
_MOST_PICTURES = 2000
# What browsers show; other files are named only.
_SHOWN = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".bmp")

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>jnst: {title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #333 }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1.5em }}
figure {{ margin: 0; display: grid; grid-template-columns: 3fr 1fr; gap: 4px }}
figure .result {{ grid-row: span 2 }}
figcaption {{ grid-column: span 2 }}
img {{ width: 100%; height: 100%; object-fit: contain; background: #f4f4f4 }}
.result img {{ height: 240px }}
.input img, .input span {{ height: 118px; display: block; overflow: hidden }}
figcaption, td, span {{ overflow-wrap: anywhere }}
figcaption small {{ color: #666 }}
td {{ padding-right: 2em; vertical-align: top }}
</style>
<h1>{title}</h1>
<p>{about}</p>
"""


# How every page begins that was written here; another's is never replaced.
_OURS = _HEAD.partition("{title}")[0].encode()


def describe_job(records: Sequence[Mapping[str, Any]], total: int) -> str:
    """The whole job in a line, over all its runs and shards: pictures made, of how many, in how many styles.

    >>> describe_job([{"status": "done", "styles": ["a.png"]}, {"status": "failed", "styles": ["a.png"]}], 5)
    '1 of 5 pictures in the style a.png, 1 failed, 3 left'
    """
    count = Counter(record["status"] for record in records)
    styles = sorted({" + ".join(map(os.path.basename, record["styles"])) for record in records})
    total = max(total, len(records))
    where = f"in the style {styles[0]}" if len(styles) == 1 else f"in {len(styles)} styles"
    parts = [f"{count['done']} of {total} pictures {where}"]
    parts += [f"{count['failed']} failed"] if count["failed"] else []
    parts += [f"{total - len(records)} left"] if total > len(records) else []
    return one_line(", ".join(parts))


def write_contact_sheet(
    folder: str, records: Sequence[dict[str, Any]], about: str, *, total: int = 0, bad_rows: Sequence[str] = ()
) -> None:
    """Writes index.html into the output folder: results by name beside what they were made of, then failures.

    Pictures are loaded by the browser as it comes to them; nothing is copied.

    Args:
        folder: the output folder or its URL.
        records: the last record of each picture, as `latest` of the manifest gives them.
        about: what this run did, in a line.
        total: pictures of the whole job.
        bad_rows: rows of lists that no picture could be made of.

    Raises:
        ImageError: the page cannot be written, or what is there is no such page.
    """
    place = folders.join(folder, NAME)
    if folders.exists(place) and not folders.read_bytes(place).startswith(_OURS):
        raise ImageError(f"{place} is there, and jnst did not write it; rename it to have the page")
    ordered = sorted(records, key=lambda record: record["name"])
    done = [record for record in ordered if record["status"] == "done"]
    failed = [(record["content"], record["reason"]) for record in ordered if record["status"] == "failed"]
    failed += [row.partition(": ")[::2] for row in bad_rows]
    title = _text(describe_job(ordered, total))
    lines = [_HEAD.format(title=title, about=_text(about)), "<main>"]
    lines += [_figure(record, folder) for record in done[:_MOST_PICTURES]]
    lines.append("</main>")
    if len(done) > _MOST_PICTURES:
        lines.append(f"<p>… and {len(done) - _MOST_PICTURES} more.</p>")
    if failed:
        rows = "\n".join(f"<tr><td>{_text(what)}</td><td>{_text(reason)}</td></tr>" for what, reason in failed)
        lines.append(f"<h2>{len(failed)} failed</h2>\n<table>\n{rows}\n</table>")
    # Names of files need not be text; what is not is escaped.
    folders.write_bytes(place, "\n".join(lines).encode("utf-8", "backslashreplace"))


def _figure(record: dict[str, Any], folder: str) -> str:
    link = _link("./" + record["name"])
    content = _text(os.path.basename(record["content"]))
    style = _text(" + ".join(map(os.path.basename, record["styles"])))
    inputs = "".join(
        f'<a class="input" href="{_link(path)}">{_input(path)}</a>'
        for path in (_beside(record["content"], folder), *(_beside(path, folder) for path in record["styles"][:1]))
    )
    return (
        f'<figure><a class="result" href="{link}"><img loading="lazy" src="{link}" alt="{_text(record["name"])}"></a>'
        f"{inputs}<figcaption>{content} in {style}<br><small>{_text(_losses(record))}</small></figcaption></figure>"
    )


def _input(path: str) -> str:
    name = _text(os.path.basename(path))
    if not path.lower().endswith(_SHOWN) or (folders.is_remote(path) and not path.startswith(("http://", "https://"))):
        return f"<span>{name}</span>"
    return f'<img loading="lazy" src="{_link(path)}" alt="{name}">'


def _losses(record: dict[str, Any]) -> str:
    first, best = record["loss"]
    losses = f"loss {first:.4g} → {best:.4g}" if first is not None and best is not None else ""
    return ", ".join(filter(None, [losses, f"{record['seconds']:.1f} s" if record["seconds"] else ""]))


def _beside(path: str, folder: str) -> str:
    """The path of an input as the page in the output folder names it."""
    return path if folders.is_remote(path) or folders.is_remote(folder) else os.path.relpath(path, folder)


def _link(path: str) -> str:
    if folders.is_remote(path):
        return html.escape(quote(path, safe="/:?&=%#", errors="replace"))
    return html.escape(quote(os.fsencode(path.replace(os.sep, "/"))))


def _text(value: str) -> str:
    return html.escape(one_line(value))
