"""Files of code, put together from `templates/`: the parts a network needs, and one of imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Set
from importlib import resources

from smt_nas.arch import Architecture, Stage
from smt_nas.errors import ExportError
from smt_nas.fingerprint import added_fields

TEMPLATES = "smt_nas.export.codes.templates"
NETWORK = "plain_network"
_MARK = re.compile(r"  # if ([a-z ]+)$")
_WIDTH = 100  # columns of a line
_KNOWN = frozenset({"ffn_kernel"})  # fields added to stages that the plain network has


def write_code(doc: str, network: Architecture | None, template: str, **values: str) -> str:
    """A file of code that stands alone: the plain network, and a template that uses it.

    Args:
        doc: text of its docstring.
        network: only the blocks it has are kept, and the constant NETWORK is it; None for all
            blocks, where the network is read from a config.
        template: a module of `templates`.
        values: constants of the template, by name, as code.
    """
    needs = {"sam", "msa", "layer scale"} if network is None else list_needs(network)
    if network is not None:
        values = {"NETWORK": write_network(network), **values}
    bodies, imports = [], []
    for module in (NETWORK, template):
        text = cut_lines(_read_template(module), needs)
        tree = ast.parse(text)
        imports += [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        bodies.append(_set_constants(_drop_head(text, tree), values))
    body = "\n\n\n".join(text.strip("\n") for text in bodies)
    end = "\n" if "\n" in doc else ""
    return f'"""{doc}{end}"""\n\n{_write_imports(imports, body)}\n\n\n{body}\n'


def write_module(doc: str, template: str) -> str:
    """A template as it is, under another docstring."""
    text = _read_template(template)
    docstring = ast.parse(text).body[0]
    return f'"""{doc}"""\n' + "\n".join(text.splitlines()[docstring.end_lineno :]) + "\n"


def list_needs(arch: Architecture) -> set[str]:
    """What of the plain network a network has a use for, in the words of its marks."""
    needs: set[str] = {mixer for stage in arch.stages for mixer in stage.mixers}
    return needs | ({"layer scale"} if arch.layer_scale is not None else set())


def cut_lines(text: str, needs: Set[str]) -> str:
    """Leave out lines that are marked `# if NEED` where it is none, with the block they open."""
    kept: list[str] = []
    inside: int | None = None  # indent of the block that is left out
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if inside is not None and (not line or indent > inside):
            continue
        inside = None
        mark = _MARK.search(line)
        plain = _MARK.sub("", line)
        if mark is None or mark[1] in needs:
            kept.append(plain)
        elif plain.endswith(":"):
            inside = indent
    return "\n".join(kept) + "\n"


def write_network(arch: Architecture) -> str:
    """A network as code: a call of the plain network's `Network`."""
    needs = list_needs(arch)
    fields = {
        "num_classes": arch.num_classes,
        "in_channels": arch.in_channels,
        "stem_kernel": arch.stem.kernel,
        "stem_stride": arch.stem.stride,
        "layer_scale": arch.layer_scale,
        "drop_path": arch.drop_path,
    }
    if "layer scale" not in needs:
        del fields["layer_scale"]
    lines = ["Network("]
    lines += [f"    {name}={value!r}," for name, value in fields.items()]
    lines += ["    stages=("]
    for stage in arch.stages:
        lines += ["        Stage("]
        lines += [f"            {n}={text}," for n, text in _write_stage(stage).items()]
        lines += ["        ),"]
    return "\n".join([*lines, "    ),", ")"])


def describe_stage(stage: Stage) -> dict[str, object]:
    """A stage in the fields of the plain network's `Stage`, those that have an effect.

    Raises:
        ExportError: a field that was added to stages is at work, and unknown there.
    """
    for field, neutral in added_fields(Stage).items():
        value = getattr(stage, field)
        if field not in _KNOWN and stage.acts(field) and value != neutral:
            raise ExportError(
                f"code: the plain network has no {field} (got {value}). Use --format timm or a "
                "graph, e.g. onnx."
            )
    fields: dict[str, object] = {
        "dim": stage.dim,
        "hidden": stage.hidden,
        "mixers": stage.mixers,
    }
    if "sam" in stage.mixers:
        fields |= {"kernels": stage.kernels, "expand": stage.expand_ratio}
    if "msa" in stage.mixers:
        fields["head_dim"] = stage.head_dim
    return fields | {"ffn_kernel": stage.ffn_kernel}


def _write_stage(stage: Stage) -> Mapping[str, str]:
    return {
        name: _write_words(stage.mixers) if name == "mixers" else repr(value)
        for name, value in describe_stage(stage).items()
    }


def _write_words(words: tuple[str, ...]) -> str:
    """A tuple of words as code, short where a pattern repeats: `("sam", "msa") * 4`."""
    for length in range(1, len(words) + 1):
        times, rest = divmod(len(words), length)
        if not rest and words[:length] * times == words:
            break
    pattern = ", ".join(f'"{word}"' for word in words[:length]) + ("," if length == 1 else "")
    one_line = f"({pattern})" + (f" * {times}" if times > 1 else "")
    if len(one_line) < _WIDTH - 24:
        return one_line
    rows = "".join(f'                "{word}",\n' for word in words)
    return f"(\n{rows}            )"


def _read_template(module: str) -> str:
    return resources.files(TEMPLATES).joinpath(f"{module}.py").read_text(encoding="utf-8")


def _drop_head(text: str, tree: ast.Module) -> str:
    """A template without its docstring and imports."""
    head = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return "\n".join(text.splitlines()[head[-1].end_lineno or 0 :])


def _set_constants(text: str, values: Mapping[str, str]) -> str:
    """Give the constants of a template other values."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id in values:
            lines[node.lineno - 1 : node.end_lineno] = [f"{target.id} = {values[target.id]}"]
    return "\n".join(lines)


def _write_imports(nodes: list[ast.Import | ast.ImportFrom], body: str) -> str:
    """The imports that a body uses, in isort's order; none of our own package."""
    plain: set[str] = set()
    members: dict[str, set[str]] = {}
    used = {n.id for n in ast.walk(ast.parse(body)) if isinstance(n, ast.Name)}
    for node in nodes:
        for alias in node.names:
            name = alias.asname or alias.name
            whole = alias.name + (f" as {alias.asname}" if alias.asname else "")
            if isinstance(node, ast.Import) and name.partition(".")[0] in used:
                plain.add(whole)
            elif isinstance(node, ast.ImportFrom):
                module = str(node.module)
                wanted = name in used or module == "__future__"
                if wanted and not module.startswith("smt_nas"):
                    members.setdefault(module, set()).add(whole)
    return "\n\n".join(filter(None, _write_sections(plain, members)))


def _write_sections(plain: set[str], members: Mapping[str, set[str]]) -> Iterator[str]:
    for section in ("future", "standard", "other"):
        lines = [f"import {name}" for name in sorted(plain) if _section(name) == section]
        for module in sorted(m for m in members if _section(m) == section):
            names = sorted(members[module], key=_member_order)
            line = f"from {module} import {', '.join(names)}"
            if len(line) > _WIDTH:
                line = f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)"
            lines.append(line)
        yield "\n".join(lines)


def _section(module: str) -> str:
    top = module.partition(".")[0].partition(" ")[0]
    if top == "__future__":
        return "future"
    return "standard" if top in sys.stdlib_module_names else "other"


def _member_order(name: str) -> tuple[int, str]:
    """Constants, classes, functions, as isort orders by type."""
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1 if name[0].isupper() else 2), name.lower()
