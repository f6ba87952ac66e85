"""The contact sheet of a job: one page with its pictures and its failures."""

import html
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from jnst.batch import remote

NAME = "index.html"
# A page with more pictures than this is no longer a page; the rest is named in the manifest.
_MOST_PICTURES = 2000

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>jnst: {title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #333 }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 1em }}
figure {{ margin: 0 }}
img {{ width: 100%; height: 200px; object-fit: contain; background: #f4f4f4 }}
figcaption, td {{ overflow-wrap: anywhere }}
td {{ padding-right: 2em; vertical-align: top }}
</style>
<h1>{title}</h1>
"""


def write_contact_sheet(folder: str, records: Sequence[dict[str, Any]], title: str) -> None:
    """Writes index.html into the output folder: pictures by name, each a link to itself, then failures with reasons.

    Pictures are loaded by the browser as it comes to them; nothing is copied.
    """
    ordered = sorted(records, key=lambda record: record["name"])
    done = [record for record in ordered if record["status"] == "done"]
    failed = [record for record in ordered if record["status"] == "failed"]
    lines = [_HEAD.format(title=html.escape(title)), "<main>"]
    lines += [_figure(record) for record in done[:_MOST_PICTURES]]
    lines.append("</main>")
    if len(done) > _MOST_PICTURES:
        lines.append(f"<p>… and {len(done) - _MOST_PICTURES} more.</p>")
    if failed:
        rows = "\n".join(
            f"<tr><td>{html.escape(record['content'])}</td><td>{html.escape(record['reason'])}</td></tr>"
            for record in failed
        )
        lines.append(f"<h2>{len(failed)} failed</h2>\n<table>\n{rows}\n</table>")
    remote.write_bytes(remote.join(folder, NAME), "\n".join(lines).encode())


def _figure(record: dict[str, Any]) -> str:
    name = record["name"]
    link, content = quote(name), html.escape(os.path.basename(record["content"]))
    style = html.escape(" + ".join(os.path.basename(path) for path in record["styles"]))
    return (
        f'<figure><a href="{link}"><img loading="lazy" src="{link}" alt="{html.escape(name)}"></a>'
        f"<figcaption>{content} in {style}</figcaption></figure>"
    )
