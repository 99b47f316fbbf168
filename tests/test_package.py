"""What holds of the package as a whole: its public names, its layers, its house rules."""

import ast
import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import hwnas

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "hwnas").rglob("*.py"))
MODULES = sorted(found.name for found in pkgutil.walk_packages(hwnas.__path__, "hwnas."))
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "config", "misc"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("name", hwnas.__all__)
def test_a_public_name_is_there(name):
    assert getattr(hwnas, name) is not None


def test_public_names_are_sorted_unique_and_what_dir_says():
    assert list(hwnas.__all__) == sorted(set(hwnas.__all__)) == dir(hwnas)


def test_each_public_name_has_one_home_and_type_checkers_see_the_same():
    homes = {name: home for home, names in hwnas._HOMES.items() for name in names}
    assert sum(map(len, hwnas._HOMES.values())) == len(homes)
    assert {*homes, "__version__"} == set(hwnas.__all__)
    typed = {
        alias.name: node.module
        for node in ast.walk(tree_of(ROOT / "hwnas" / "__init__.py"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hwnas.")
        for alias in node.names
    }
    assert typed == homes


def test_public_functions_are_not_hidden_by_packages_of_the_same_name():
    packages = {path.name for path in (ROOT / "hwnas").iterdir() if path.is_dir()} | {path.stem for path in FILES}
    assert packages & {name for name in hwnas.__all__ if name.islower()} == set()


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hwnas' has no attribute 'serach'"):
        hwnas.serach  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    assert hwnas.__version__ == importlib.metadata.version("hwnas")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("hwnas", ("torch", "moocore", "onnx", "numpy", "pydantic")),
        ("hwnas.devices", ("torch", "moocore", "onnx", "onnxruntime")),
        ("hwnas.testing", ("torch", "moocore", "onnxruntime")),
        ("hwnas.testing.runtime_contract", ("torch", "moocore", "onnxruntime")),
    ],
)
def test_importing_a_part_loads_that_part_alone(module, absent):
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_layers_hold():
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_and_exports_what_it_has(module):
    if module.endswith("__main__"):
        return
    found = importlib.import_module(module)
    assert (found.__doc__ or "").strip()
    absent = [name for name in getattr(found, "__all__", []) if not hasattr(found, name)]
    assert absent == []


def test_no_module_has_a_name_that_says_nothing():
    assert [relative(path) for path in FILES if BANNED_NAMES & {*path.with_suffix("").parts}] == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_below_the_command_line_prints_exits_or_asserts(path):
    """`assert` vanishes under -O and speaks to nobody; the contract classes of hwnas.testing are tests, so they assert."""
    place = path.relative_to(ROOT / "hwnas").parts[0]
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Assert) and place != "testing":
            found.append(f"line {node.lineno}: assert")
        if isinstance(node, ast.Call) and place != "cli":
            called = ast.unparse(node.func)
            if called in {"print", "exit", "quit", "sys.exit", "os._exit"}:
                found.append(f"line {node.lineno}: {called}")
    if place == "__main__.py":
        found = []
    assert found == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_public_functions_take_no_loose_keywords(path):
    tree = tree_of(path)
    hidden = {inner for node in ast.walk(tree) if is_private_class(node) for inner in ast.walk(node)}
    loose = [
        f"line {node.lineno}: {node.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.args.kwarg
        and not node.name.startswith("_")
        and node not in hidden
    ]
    assert loose == []


def is_private_class(node):
    return isinstance(node, ast.ClassDef) and node.name.startswith("_")


def test_every_module_has_a_test_file_that_mirrors_it():
    wanted = {
        f"tests/{path.relative_to(ROOT / 'hwnas').parent.as_posix()}/test_{path.name}".replace("/./", "/")
        for path in FILES
        if not path.name.startswith("__")
    }
    missing = sorted(name for name in wanted if not (ROOT / name).is_file())
    assert not missing, "modules without a test file of their own:\n  " + "\n  ".join(missing)
