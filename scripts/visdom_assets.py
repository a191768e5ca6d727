"""Put the browser files that visdom's server would download at its first start in place, from npm packages."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from util.errors import UserError, for_people
from util.files import replacing, write_text

GLYPHS = "glyphicons-halflings-regular"
MATHJAX = (
    "MathJax.js",
    "config/Safe.js",
    "config/TeX-AMS-MML_HTMLorMML.js",
    "extensions/Safe.js",
    "jax/output/SVG/jax.js",
    "jax/output/SVG/config.js",
    "jax/output/SVG/fonts/TeX/fontdata.js",
    "jax/output/SVG/fonts/TeX/Size1/Regular/Main.js",
)
# npm package: {path in the package: path under visdom/static}; the names are those that visdom 0.2.4 asks for
ASSETS: dict[str, dict[str, str]] = {
    "jquery@3.1.1": {"dist/jquery.min.js": "js/jquery.min.js"},
    "bootstrap@3.3.7": {
        "dist/js/bootstrap.min.js": "js/bootstrap.min.js",
        "dist/css/bootstrap.min.css": "css/bootstrap.min.css",
        **{f"dist/fonts/{GLYPHS}.{kind}": f"fonts/{GLYPHS}.{kind}" for kind in ("eot", "woff2", "woff", "ttf")},
        f"dist/fonts/{GLYPHS}.svg": f"fonts/{GLYPHS}.svg#glyphicons_halflingsregular",
    },
    "react@16.2.0": {"umd/react.production.min.js": "js/react-react.min.js"},
    "react-dom@16.2.0": {"umd/react-dom.production.min.js": "js/react-dom.min.js"},
    "react-modal@3.1.10": {"dist/react-modal.min.js": "js/react-modal.min.js"},
    "plotly.js-dist-min@2.11.1": {"plotly.min.js": "js/plotly-plotly.min.js"},
    "sjcl@1.0.7": {"sjcl.js": "js/sjcl.js"},
    "layout-bin-packer@1.4.0": {
        "dist/layout-bin-packer.js": "js/layout_bin_packer.js",
        "dist/layout-bin-packer.js.map": "js/layout-bin-packer.js.map",
    },
    "d3@3.5.17": {"d3.min.js": "js/d3.v3.min.js"},
    "d3-selection-multi@1.0.1": {"build/d3-selection-multi.js": "js/d3-selection-multi.v1.js"},
    "save-svg-as-png@1.4.17": {"lib/saveSvgAsPng.js": "js/saveSvgAsPng.js"},
    "react-resizable@1.4.6": {"css/styles.css": "css/react-resizable-styles.css"},
    "react-grid-layout@0.16.3": {"css/styles.css": "css/react-grid-layout-styles.css"},
    "classnames@2.2.5": {"index.js": "fonts/classnames"},
    "mathjax@2.7.5": {path: f"js/mathjax/2.7.5/{path}" for path in MATHJAX},
}
CONSEQUENCE = "without these files visdom's server needs the internet at its first start"


def visdom_folder() -> Path:
    """Find the installed visdom without importing it."""
    found = importlib.util.find_spec("visdom")
    if found is None or not found.submodule_search_locations:
        raise UserError("visdom is not installed, so there is nothing to complete; pip install visdom")
    return Path(found.submodule_search_locations[0])


def missing(static: Path, version: str) -> list[str]:
    """List the npm packages of which a file is not in place; all of them if another version was built."""
    built = static / "version.built"
    if not built.exists() or built.read_text().strip() != version:
        return list(ASSETS)
    return [
        package for package, files in ASSETS.items() if not all((static / name).exists() for name in files.values())
    ]


def install(folder: Path) -> int:
    """Complete visdom's `folder` and return how many files were put in place, 0 if nothing was missing."""
    static, version = folder / "static", (folder / "VERSION").read_text().strip()
    packages = missing(static, version)
    if not packages:
        return 0
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"npm was not found; {CONSEQUENCE}; apt install npm, then python -m scripts.visdom_assets")
    count = 0
    with tempfile.TemporaryDirectory() as temporary:
        # pack fetches just these archives; install would bring 280 packages they don't need in a browser
        command = [npm, "pack", "--silent", "--pack-destination", temporary, *packages]
        packed = subprocess.run(command, capture_output=True, text=True, cwd=temporary, check=False)
        if packed.returncode:
            reason = " ".join((packed.stderr or packed.stdout).split())[-300:]
            raise UserError(f"npm could not fetch visdom's files ({reason}); {CONSEQUENCE}; try again with a network")
        for package in packages:
            count += _extract(Path(temporary) / f"{package.replace('@', '-')}.tgz", ASSETS[package], static)
    write_text(static / "version.built", version)
    return count


def _extract(archive: Path, files: dict[str, str], static: Path) -> int:
    if not archive.exists():
        raise UserError(f"npm said nothing, but {archive.name} is not there; {CONSEQUENCE}; try again")
    wanted = dict(files)
    with tarfile.open(archive) as packed:
        for member in packed:
            target = wanted.pop(member.name.partition("/")[2], None)  # the top folder is "package", or nearly always
            content = packed.extractfile(member) if target else None
            if target is None or content is None:
                continue
            (static / target).parent.mkdir(parents=True, exist_ok=True)
            with replacing(static / target) as temporary:
                temporary.write_bytes(content.read())
    if wanted:
        raise UserError(f"{archive.name} holds no {', '.join(wanted)}; {CONSEQUENCE}")
    return len(files)


@for_people
def main() -> None:
    """Say how many files were put in place, and where."""
    folder = visdom_folder()
    count = install(folder)
    total = sum(len(files) for files in ASSETS.values())
    sys.stdout.write(
        f"visdom's browser files: {count} put in place, {total - count} were there, in {folder / 'static'}\n"
    )


if __name__ == "__main__":
    main()
