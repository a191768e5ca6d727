"""The manager knows who registered what, refuses what is taken, and leaves no trace of a plugin that fails."""

from __future__ import annotations

from types import ModuleType

import pytest

from util.errors import UserError
from util.plugin_manager import PluginManager, Registration, hookimpl


class Halftone:
    """A plugin with one model."""

    @hookimpl
    def register_models(self, register):
        register("halftone", "the model")


@pytest.fixture
def manager() -> PluginManager:
    manager = PluginManager()
    manager.add(Halftone(), "halftone.py", "1.2")
    return manager


def test_what_is_registered_can_be_got_with_its_source(manager: PluginManager) -> None:
    assert manager.get("models", "halftone") == "the model"
    assert list(manager) == [Registration("models", "halftone", "", "the model", "halftone.py", "1.2")]


def test_each_hook_registers_its_kind_and_a_network_has_a_role(manager: PluginManager) -> None:
    class Everything:
        @hookimpl
        def register_datasets(self, register):
            register("photos", 1)

        @hookimpl
        def register_networks(self, register):
            register("dots", 2)
            register("dots", 3, role="discriminator")

        @hookimpl
        def register_objectives(self, register):
            register("photos", 4)

        @hookimpl
        def register_metrics(self, register):
            register("photos", 5)

    manager.add(Everything(), "everything", "")
    assert [manager.get(kind, "photos") for kind in ("datasets", "objectives", "metrics")] == [1, 4, 5]
    assert manager.get("networks", "dots", role="generator") == 2
    assert manager.get("networks", "dots", role="discriminator") == 3
    assert manager.names("networks", "generator") == ["dots"] and manager.names("models") == ["halftone"]


def test_an_unknown_name_is_answered_with_the_nearest(manager: PluginManager) -> None:
    with pytest.raises(UserError, match=r"^there is no model 'haltfone'; did you mean halftone\?$"):
        manager.get("models", "haltfone")
    with pytest.raises(UserError, match=r"^there is no generator 'halftone'; none is known$"):
        manager.get("networks", "halftone", role="generator")


def test_a_name_that_is_taken_is_refused_on_the_spot_with_both_sources(manager: PluginManager) -> None:
    after: list[str] = []

    class Second:
        @hookimpl
        def register_models(self, register):
            register("halftone", "another")
            after.append("went on")

    manager.try_adding(Second, "second.py", "")
    (failure,) = manager.failures
    assert failure.source == "second.py"
    assert failure.reason == "ValueError: model 'halftone' is already registered by halftone.py"
    assert not after and manager.get("models", "halftone") == "the model"


def test_a_half_registered_plugin_leaves_no_trace(manager: PluginManager, capsys: pytest.CaptureFixture[str]) -> None:
    class Half:
        @hookimpl
        def register_models(self, register):
            register("half", "registered")
            raise RuntimeError("out of luck\nsecond line")

        @hookimpl
        def register_datasets(self, register):
            register("never", "reached")

    manager.try_adding(Half, "half.py", "")
    assert capsys.readouterr().err == "plugin skipped: half.py: RuntimeError: out of luck second line\n"
    assert [r.name for r in manager] == ["halftone"]
    assert [type(plugin) for plugin in manager.hooks.get_plugins()] == [Halftone]
    manager.add(Halftone.__new__(type("Later", (), {})), "later", "")  # nothing of Half is asked again
    assert [r.name for r in manager] == ["halftone"]


@pytest.mark.parametrize(
    ("hook", "arguments", "said"),
    [
        ("register_model", "register", "unknown hook 'register_model'"),
        ("register_models", "register, opt", "Argument(s) {'opt'} are declared"),
    ],
)
def test_a_hook_that_does_not_exist_is_caught(manager: PluginManager, hook: str, arguments: str, said: str) -> None:
    scope: dict[str, object] = {}
    exec(f"def {hook}({arguments}): raise AssertionError('called')", scope)
    typo = ModuleType("typo")
    setattr(typo, hook, hookimpl(scope[hook]))
    manager.try_adding(lambda: typo, "typo.py", "")
    (failure,) = manager.failures
    assert failure.reason.startswith("PluginValidationError") and said in failure.reason
    assert len(manager.hooks.get_plugins()) == 1
    manager.add(Halftone.__new__(type("Later", (), {})), "later", "")  # and the next plugin is not blamed for it


def test_a_plugin_refused_twice_does_not_take_its_namesake_with_it(manager: PluginManager) -> None:
    (first,) = manager.hooks.get_plugins()
    manager.try_adding(lambda: first, "again.py", "")
    manager.try_adding(Halftone, "halftone.py", "")
    assert len(manager.failures) == 2
    assert manager.hooks.get_plugins() == {first} and manager.get("models", "halftone") == "the model"


@pytest.mark.parametrize("error", [ImportError("no module named 'gone'"), SystemExit(3), KeyError("x"), ValueError()])
def test_whatever_a_strangers_plugin_raises_costs_one_line(
    manager: PluginManager, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def load() -> object:
        raise error

    manager.try_adding(load, "stranger (pkg:plugin)", "0.1")
    line = capsys.readouterr().err
    assert line.startswith(f"plugin skipped: stranger (pkg:plugin): {type(error).__name__}:") and line.count("\n") == 1
    with pytest.raises(UserError, match=r"there is no model 'theirs'(.|\n)*plugin skipped: stranger \(pkg:plugin\)"):
        manager.get("models", "theirs")


def test_an_interrupt_is_not_swallowed(manager: PluginManager) -> None:
    def load() -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manager.try_adding(load, "slow.py", "")


def test_a_broken_built_in_raises(manager: PluginManager) -> None:
    class Broken:
        @hookimpl
        def register_models(self, register):
            raise RuntimeError("our own bug")

    with pytest.raises(RuntimeError, match="our own bug"):
        manager.add(Broken(), "plugins/ours.py", "")
