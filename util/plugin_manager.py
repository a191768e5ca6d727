"""The hooks a plugin implements, and the manager that finds plugins and remembers what each registered."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from util.errors import UserError, nearest

PROJECT = "pocketgan"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# The packages that register what ships with the project, by the hooks everybody uses.
BUILT_IN_PACKAGES = ("models", "data", "util.metrics")
PLUGIN_PACKAGE = "plugins"
LONGEST_REASON = 300  # characters
KINDS = ("models", "datasets", "networks", "objectives", "metrics")
DEFAULT_ROLES = {"networks": "generator", "metrics": "metric"}


class Hooks:
    """Each hook is handed `register(name, value)` and calls it once per thing it offers."""

    @hookspec
    def register_models(self, register: Callable[[str, type], None]) -> None:
        """Offer subclasses of BaseModel, chosen by `--model`."""

    @hookspec
    def register_datasets(self, register: Callable[[str, type], None]) -> None:
        """Offer subclasses of BaseDataset, chosen by `--dataset_mode`."""

    @hookspec
    def register_networks(self, register: Callable[..., None]) -> None:
        """Offer networks: `register(name, build)` for `--netG`, `register(name, build, role="discriminator")` for `--netD`.

        A generator is built by `build(input_nc, output_nc, ngf, norm_layer, use_dropout)`,
        a discriminator by `build(input_nc, ndf, n_layers_D, norm_layer)`.
        """

    @hookspec
    def register_objectives(self, register: Callable[[str, type], None]) -> None:
        """Offer subclasses of Objective, chosen by a method or by `--add_objectives`."""

    @hookspec
    def register_metrics(self, register: Callable[..., None]) -> None:
        """Offer functions for `--metrics`: `register(name, measure)`, and networks that judge street scenes for them.

        A metric is `measure(evidence) -> list[Measured]`; `register(name, segment, role="segmenter")` offers a function from
        images (B, 3, H, W) in [0, 1] to classes (B, H, W), for `--metrics miou --segmenter name`.
        """


@dataclass(frozen=True)
class Registration:
    """One thing that a plugin offers."""

    kind: str
    name: str
    role: str
    value: Any
    source: str
    version: str


@dataclass(frozen=True)
class Failure:
    """A third-party plugin that was skipped, and why."""

    source: str
    reason: str


class PluginManager:
    """Load built-ins, files in plugins/ and installed entry points; answer by kind and name."""

    def __init__(self) -> None:
        self.hooks = pluggy.PluginManager(PROJECT)
        self.hooks.add_hookspecs(Hooks)
        self.registrations: list[Registration] = []
        self.failures: list[Failure] = []

    def load_all(self) -> None:
        """Load everything there is; a broken third-party plugin costs one line, a broken built-in raises."""
        for package in BUILT_IN_PACKAGES:
            self.add(importlib.import_module(package), package, version())
        plugins = importlib.import_module(PLUGIN_PACKAGE)
        for name in plugins.BUILT_IN:
            self.add(importlib.import_module(f"{PLUGIN_PACKAGE}.{name}"), f"plugins/{name}.py", version())
        if os.environ.get("POCKETGAN_LOAD_PLUGINS") == "":
            return
        for name in sorted(info.name for info in pkgutil.iter_modules(plugins.__path__)):
            if name not in plugins.BUILT_IN and not name.startswith("_"):
                module = f"{PLUGIN_PACKAGE}.{name}"
                self.try_adding(functools.partial(importlib.import_module, module), f"plugins/{name}.py", "")
        for entry in importlib.metadata.entry_points(group=PROJECT):
            source = f"{entry.dist.name if entry.dist else '?'} ({entry.value})"
            self.try_adding(entry.load, source, entry.dist.version if entry.dist else "")

    def try_adding(self, load: Callable[[], Any], source: str, version: str) -> None:
        """Add a third-party plugin; if it can't be loaded, remember why and say so in one line."""
        try:
            self.add(load(), source, version)
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises must not end our run
            self.failures.append(Failure(source, in_short(error)))
            print(f"plugin skipped: {source}: {in_short(error)}", file=sys.stderr)

    def add_files(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Load the files that `--plugin` names: an explicit wish, so that one that can't be loaded is an error."""
        for path in (Path(path).resolve() for path in paths):
            if any(_file_of(plugin) == path for plugin in self.hooks.get_plugins()):
                continue  # it lies in plugins/, or was named before
            if not path.is_file():
                raise UserError(f"--plugin {path} is no file; type the path of the Python file that has the hooks")
            try:
                self.add(_import_file(path), str(path), "")
            except (Exception, SystemExit) as error:
                raise UserError(f"--plugin {path} can't be loaded: {in_short(error)}") from None
            self.failures = [failure for failure in self.failures if failure.source != str(path)]

    def not_loaded(self, path: str | os.PathLike[str], reason: str) -> None:
        """Remember a file that is not loaded unasked, to be named when something of it is missing."""
        failure = Failure(str(path), reason)
        if failure not in self.failures:
            self.failures.append(failure)

    def add(self, plugin: Any, source: str, version: str) -> None:
        """Register one plugin and ask it, alone, what it offers; leave no trace of one that fails half-way."""
        before, known = len(self.registrations), self.hooks.get_plugins()
        try:
            self.hooks.register(plugin, name=source)
            self.hooks.check_pending()
            others = [other for other in self.hooks.get_plugins() if other is not plugin]
            for kind in KINDS:
                register = self._register_for(kind, source, version)
                self.hooks.subset_hook_caller(f"register_{kind}", remove_plugins=others)(register=register)
        except BaseException:
            del self.registrations[before:]
            if plugin not in known and self.hooks.is_registered(plugin):
                self.hooks.unregister(plugin)
            raise

    def _register_for(self, kind: str, source: str, version: str) -> Callable[..., None]:
        def register(name: str, value: Any, role: str = "") -> None:
            role = role or DEFAULT_ROLES.get(kind, "")
            for other in self.registrations:
                if (other.kind, other.role, other.name) == (kind, role, name):
                    raise ValueError(f"{kind[:-1]} '{name}' is already registered by {other.source}")
            self.registrations.append(Registration(kind, name, role, value, source, version))

        return register

    def names(self, kind: str, role: str = "") -> list[str]:
        """List the names registered for a kind ("models", "datasets", …), in order of registration."""
        return [r.name for r in self.registrations if r.kind == kind and role in ("", r.role)]

    def get(self, kind: str, name: str, role: str = "") -> Any:
        """Return what was registered under `name`, or fail with the nearest names and the plugins that failed."""
        for registration in self.registrations:
            if registration.kind == kind and registration.name == name and role in ("", registration.role):
                return registration.value
        what = role or kind[:-1]
        skipped = "".join(f"\n  plugin skipped: {f.source}: {f.reason}" for f in self.failures)
        raise UserError(f"there is no {what} '{name}'; {nearest(name, self.names(kind, role))}{skipped}")

    def __iter__(self) -> Iterator[Registration]:
        return iter(self.registrations)


def in_short(error: BaseException) -> str:
    """Say in one line of bounded length what a stranger's code raised."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", LONGEST_REASON, placeholder=" …")


def _file_of(plugin: Any) -> Path | None:
    file = getattr(plugin, "__file__", None)
    return Path(file).resolve() if file else None


def _import_file(path: Path) -> ModuleType:
    """Import a file from anywhere, under a name that no other file has."""
    name = f"pocketgan_plugin_{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("its name does not end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def version() -> str:
    """Return PocketGAN's own version, from the one place that says it."""
    from util import __version__

    return __version__


@functools.cache
def plugin_manager() -> PluginManager:
    """Return the process's one manager, loaded."""
    manager = PluginManager()
    manager.load_all()
    return manager
