"""`python -m plugins [--json] [--plugin FILE]`: list all models, data sets, networks, …, and what failed to load."""

from __future__ import annotations

import argparse
import json

from options.plugin_files import add_plugin_flag, split
from util.errors import for_people
from util.plugin_manager import plugin_manager


@for_people
def main() -> None:
    """Print the list."""
    parser = argparse.ArgumentParser(prog="python -m plugins", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_plugin_flag(parser)
    options = parser.parse_args()
    as_json = options.json
    manager = plugin_manager()
    manager.add_files(split(options.plugin))
    rows = [{"kind": r.role or r.kind[:-1], "name": r.name, "source": r.source, "version": r.version} for r in manager]
    failures = [{"source": f.source, "reason": f.reason} for f in manager.failures]
    if as_json:
        print(json.dumps({"registered": rows, "failed": failures}, indent=2))
        return
    widths = {key: max(len(row[key]) for row in rows) for key in ("kind", "name", "source")}
    for row in rows:
        print("  ".join(row[key].ljust(widths[key]) for key in widths), row["version"])
    for failure in failures:
        print(f"skipped: {failure['source']}: {failure['reason']}")


if __name__ == "__main__":
    main()
