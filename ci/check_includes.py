#!/usr/bin/env python3
"""check_includes.py [ROOT]: who may include whom, and other rules that a compiler does not check.

Prints each violation as FILE:LINE: text and ends with 1 if there is one. The rules:
- reference/ includes reference/ alone; kernels/ includes kernels/ and the vocabulary of reference/; distributed/
  includes distributed/, the vocabulary and the boundary headers of kernels/; harness/ includes everything; nothing
  outside harness/ includes harness/. Tests of distributed/ may include all of reference/ besides: oracles.
- A quoted include names a file of ours from the repository's root; nothing else of ours is included.
- MPI is for distributed/ and harness/, CUDA and NCCL for kernels/cuda/, distributed/ and harness/; CLI11 stays in
  harness/cli.cpp.
- Every header has #pragma once; no file has more than 400 lines.
"""
import pathlib
import re
import sys

ROOMS = ("reference", "kernels", "distributed", "harness")
VOCABULARY = {f"reference/{name}.h"
              for name in ("view", "shape", "storage", "dtype", "problem", "run", "positions", "error", "denormals")}
BOUNDARY = {f"kernels/{name}.h" for name in ("device", "tensor", "decay", "documents", "mask", "token_tiles",
                                             "cuda/call", "cuda/shared_library", "cuda/stream", "cuda/streams")}
# Headers of others that only some places may include: pattern, places.
CONFINED = [
    (re.compile(r"mpi\.h$"), ("distributed/", "harness/")),
    (re.compile(r"(cuda|cublas|nccl|cudnn)[^/]*\.h$"), ("kernels/cuda/", "distributed/", "harness/")),
    (re.compile(r"CLI/"), ("harness/cli_parts.h",)),
]
MAX_LINES = 400
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
CXX = {".h", ".cpp", ".cuh", ".cu"}
TEXT = CXX | {".py", ".sh", ".cmake"}


def is_test(path):
    name = path.rpartition("/")[2]
    return name.startswith("test_") or re.search(r"_test\.(cpp|cu)$", name) is not None


def may_include(path, target):
    """Whether `path` may include the file `target` of ours; both from the root."""
    room = path.partition("/")[0]
    if room == "harness" or target.startswith(room + "/"):
        return True
    if room == "kernels":
        return target in VOCABULARY
    if room == "distributed":
        return target in VOCABULARY | BOUNDARY or (is_test(path) and target.startswith("reference/"))
    return False


def check_include(path, quote, target):
    """Why the include is wrong, or None."""
    if target.partition("/")[0] in ROOMS:
        if quote == "<":
            return f"{target} is ours: include it in quotes"
        return None if may_include(path, target) else f"may not include {target}"
    if quote == '"':
        return f'"{target}" is not a path from the repository\'s root'
    for pattern, places in CONFINED:
        if pattern.search(target) and not path.startswith(places):
            return f"<{target}> is for {', '.join(places)}"
    return None


def check_file(path, text):
    """Yields (line, what is wrong)."""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        yield MAX_LINES + 1, f"{len(lines)} lines, at most {MAX_LINES} are allowed"
    if path.endswith((".h", ".cuh")) and "#pragma once" not in (line.strip() for line in lines):
        yield 1, "no #pragma once"
    if pathlib.PurePath(path).suffix in CXX:
        for number, line in enumerate(lines, 1):
            if match := INCLUDE.match(line):
                if reason := check_include(path, *match.groups()):
                    yield number, reason


def check_tree(root):
    """Checks the rooms, ci/ and baselines/ below `root`: (number of files, violations as text)."""
    violations, files = [], 0
    for room in ROOMS + ("ci", "baselines"):
        for file in sorted((root / room).rglob("*")):
            if file.is_file() and (file.suffix in TEXT or file.name == "CMakeLists.txt"):
                files += 1
                path = file.relative_to(root).as_posix()
                for line, reason in check_file(path, file.read_text(encoding="utf-8")):
                    violations.append(f"{path}:{line}: {reason}")
    return files, violations


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    files, violations = check_tree(root)
    for violation in violations:
        print(violation)
    if files == 0:
        print(f"{root}: no file of ours found")
    print(f"{files} files, {len(violations)} violations")
    return 1 if violations or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
