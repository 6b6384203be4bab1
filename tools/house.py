#!/usr/bin/env python3
"""Checks two promises of ARCHITECTURE.md: no circle of imports inside a crate, and no type name with two meanings.

    python3 tools/house.py            # prints what breaks them, and exits 1 if anything does

What the page allows stands in its section "Circles and names that stand": a bullet that names every file of a circle,
or a type, in backquotes, and says why. Sources are read as text: `use` and paths through `crate`, `super` and `self`,
followed through re-exports to the file that defines the name. Unit tests are left out.
"""

import os
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFINED = re.compile(r"\b(?:fn|struct|enum|trait|const|static|type|union|macro_rules!)\s+(\w+)")
TYPE = re.compile(r"^(?:pub(?:\([^)]*\))?\s+)?(?:struct|enum|trait|type|union)\s+(\w+)", re.M)
USE = re.compile(r"(pub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);")


def code(path: Path) -> str:
    """The file without comments, strings and unit tests."""
    text = path.read_text()
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.S)
    while found := re.search(r"#\[cfg\(test\)\]\s*(?:pub\s+)?mod\s+\w+\s*\{", text):
        depth, end = 1, found.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[: found.start()] + text[end:]
    return text


def leaves(tree: str, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """The paths of a `use`, each with the name it has here."""
    tree = tree.strip()
    if found := re.match(r"^([^{]*)\{(.*)\}$", tree, re.S):
        before += tuple(part.strip() for part in found[1].split("::") if part.strip())
        parts, depth, part = [], 0, ""
        for letter in found[2]:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            if letter == "," and not depth:
                parts.append(part)
                part = ""
            else:
                part += letter
        return [leaf for part in [*parts, part] if part.strip() for leaf in leaves(part, before)]
    path, _, name = tree.partition(" as ")
    whole = before + tuple(part.strip() for part in path.split("::") if part.strip())
    if whole[-1] == "self":
        whole = whole[:-1]
    return [(whole, name.strip() or whole[-1])]


class Crate:
    """The modules of a crate and what each takes from the others."""

    def __init__(self, src: Path):
        self.files: dict[tuple[str, ...], str] = {}
        for folder, _, names in os.walk(src):
            for name in names:
                path = Path(folder, name).relative_to(src)
                if path.suffix == ".rs" and str(path) != "main.rs":
                    parts = path.with_suffix("").parts
                    self.files[parts[:-1] if parts[-1] in ("mod", "lib") else parts] = str(path)
        text = {module: code(src / file) for module, file in self.files.items()}
        self.defined = {module: set(DEFINED.findall(text[module])) for module in text}
        self.uses = {module: {name: path for _, tree in USE.findall(text[module]) for path, name in leaves(tree)} for module in text}
        self.arrows: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for module in text:
            body = USE.sub("", text[module])
            said = [tuple(path.split("::")) for path in re.findall(r"(?<![:\w])\w+(?:::\w+)+", body)]
            # A name that is only handed on is no need of this file's.
            said += [(name,) for name in self.uses[module] if re.search(rf"\b{re.escape(name)}\b", body)]
            said += [path for path in self.uses[module].values() if path[-1] == "*"]
            for path in said:
                target = self.file_of(module, path)
                if target is not None and target != module:
                    self.arrows[module].add(target)

    def file_of(self, module: tuple[str, ...], path: tuple[str, ...], depth: int = 0) -> tuple[str, ...] | None:
        """The module that defines what `module` means by `path`, where it is one of the crate."""
        if depth > 8 or not path:
            return None
        here = module
        if path[0] == "crate":
            here, path = (), path[1:]
        elif path[0] in ("super", "self"):
            path = path[1:] if path[0] == "self" else path
            while path and path[0] == "super":
                here, path = here[:-1], path[1:]
        elif path[0] in self.uses[module] and self.uses[module][path[0]] != path:
            return self.file_of(module, self.uses[module][path[0]] + path[1:], depth + 1)
        elif module + (path[0],) not in self.files:
            return None
        while path and here + (path[0],) in self.files:
            here, path = here + (path[0],), path[1:]
        if here not in self.files:
            return None
        if path and path[0] not in self.defined[here] and path[0] in self.uses[here]:
            return self.file_of(here, self.uses[here][path[0]] + path[1:], depth + 1)
        return here

    def circles(self) -> list[list[str]]:
        """The groups of files that reach one another."""
        reached = {}
        for module in self.files:
            seen, ahead = set(), [module]
            while ahead:
                for target in self.arrows[ahead.pop()] - seen:
                    seen.add(target)
                    ahead.append(target)
            reached[module] = seen
        groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in self.files if a in reached[a]}
        return sorted(sorted(self.files[module] for module in group) for group in groups)

    def arrows_within(self, circle: list[str]) -> list[str]:
        """The imports of a circle, a line each."""
        inside = [module for module in self.files if self.files[module] in circle]
        return [f"    {self.files[a]} -> {self.files[b]}" for a in inside for b in inside if b in self.arrows[a]]


def main() -> int:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    section = page.partition("## Circles and names that stand")[2].partition("\n## ")[0]
    allowed = [set(re.findall(r"`([^`]+)`", bullet)) for bullet in section.split("\n- ")[1:]]
    broken = 0
    names = defaultdict(list)
    for src in sorted([*ROOT.glob("crates/*/src"), ROOT / "python/src"]):
        name = src.parent.name
        crate = Crate(src)
        for circle in crate.circles():
            if not any({f"{name}/{file}" for file in circle} <= bullet for bullet in allowed):
                broken += 1
                print(f"{name}: a circle of imports: {' '.join(circle)}", *crate.arrows_within(circle), sep="\n")
        for file in crate.files.values():
            for defined in TYPE.findall(code(src / file)):
                names[defined].append(f"{name}/{file}")
    for defined, files in sorted(names.items()):
        if len(files) > 1 and not any(defined in bullet for bullet in allowed):
            broken += 1
            print(f"the type name {defined} stands in {', '.join(files)}")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
