"""Shows which pages in Portuguese lag behind their English ones.

The last line of each page in ``docs/pt`` names the English page and a digest of it, as it was when it was translated.

python tools/translations.py                     shows the pages whose English one has changed since
python tools/translations.py docs/pt/page.md...  writes down that these pages are up to date
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "pt"

_SOURCE = re.compile(r"<!-- English: (\S+) (\w+) -->\n\Z")
# Written by tools/generate_docs.py.
_SNIPPET = re.compile(r"(<!-- example_dags/\S+ \w+ -->\n).*?(<!-- end -->)", re.DOTALL)


def english(page: Path) -> tuple[Path, str]:
    """Return the English page of a translated one, and its digest as it was when it was translated."""
    source = _SOURCE.search(page.read_text("utf-8"))
    if source is None:
        raise SystemExit(f"{page}: the last line must name the English page: <!-- English: ../page.md new -->")
    return (page.parent / source[1]).resolve(), source[2]


def digest(page: Path) -> str:
    """Return the digest of a page, without its snippets of example DAGs."""
    return hashlib.sha256(_SNIPPET.sub(r"\1\2", page.read_text("utf-8")).encode()).hexdigest()[:12]


def lagging(pages: Path = PAGES) -> dict[Path, Path]:
    """Return the pages that lag behind, with the English page of each."""
    found = {page: english(page) for page in sorted(pages.glob("*.md"))}
    return {page: source for page, (source, known) in found.items() if digest(source) != known}


def main() -> int:
    """Show the pages that lag behind, or write down that some do not."""
    for name in sys.argv[1:]:
        page = Path(name).resolve()
        source, known = english(page)
        page.write_text(page.read_text("utf-8").replace(f" {known} -->", f" {digest(source)} -->"), "utf-8")
    behind = lagging()
    for page, source in behind.items():
        print(f"{page.relative_to(ROOT)} lags behind {source.relative_to(ROOT)}")
    return int(bool(behind))


if __name__ == "__main__":
    raise SystemExit(main())
