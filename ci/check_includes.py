#!/usr/bin/env python3
"""check_includes.py [ROOT]: who may include whom, and other rules that a compiler does not check.

Prints each violation as FILE:LINE: text and ends with 1 if there is one. The rules:
- A file includes of ours what RULES lists for its room; a test of distributed/ or harness/ all of reference/ besides,
  for oracles, and one of harness/ what harness/testing/ has. No file of harness/ is outside of its rooms. No circles.
- A quoted include names a file of ours from the repository's root; nothing else of ours is included.
- Device code includes of the standard library what DEVICE_STD lists, and says of it the names there. Device code is
  each file that marks a function for the GPU, but for tests, and all of ours that such a file includes.
- Headers of MPI, CUDA, NCCL and CLI11 are for the places in CONFINED.
- A test names its suite in its first line, where ci/cmake/targets.cmake looks for it.
- Every header has #pragma once; no file has more than 400 lines.
"""
import pathlib
import re
import sys

TOP = ("reference", "kernels", "distributed", "harness")
VOCABULARY = tuple(f"reference/{name}.h" for name in
                   ("view", "storage", "dtype", "problem", "run", "positions", "error", "denormals"))
BOUNDARY = tuple(f"kernels/{name}.h" for name in ("device", "tensor", "decay", "documents", "mask", "token_tiles", "cuda/call",
                                                  "cuda/shared_library", "cuda/stream", "cuda/streams"))
ASKED = ("distributed/variant.h", "distributed/layout.h") + VOCABULARY
RANKS = ("distributed/", "kernels/device.h") + VOCABULARY


def rooms(names, *others):
    """What a room of harness/ may include: the rooms `names` and `others`."""
    return tuple(f"harness/{name}/" for name in names.split()) + others


# Room: what its files may include, as beginnings of paths; of two rooms that a file is in, the longer name counts.
RULES = {
    "reference/": ("reference/",),
    "kernels/": ("kernels/",) + VOCABULARY,
    "distributed/": ("distributed/",) + BOUNDARY + VOCABULARY,
    "distributed/comm/": ("distributed/comm/",) + BOUNDARY + VOCABULARY,
    "harness/": (),
    "harness/base/": rooms("base", "reference/error.h", "reference/view.h"),
    "harness/cases/": rooms("base cases", *ASKED),
    "harness/tensors/": rooms("base cases tensors", *VOCABULARY),
    "harness/run/": rooms("base cases tensors run", *RANKS),
    "harness/judge/": rooms("base cases tensors run judge", "reference/", *RANKS),
    "harness/results/": rooms("base cases tensors judge results", *VOCABULARY),
    "harness/report/": rooms("base cases tensors run judge results report", *VOCABULARY),
    "harness/sweep/": rooms("base cases tensors run judge results report sweep", "distributed/comm/", *ASKED),
    "harness/check/": rooms("base cases tensors run judge results report sweep check", *ASKED),
    "harness/mutants/": rooms("base cases tensors run judge report sweep mutants", *RANKS),
    "harness/history/": rooms("base results history", "reference/error.h"),
    "harness/gate/": rooms("base cases results report history gate", "distributed/variant.h", "reference/error.h"),
    "harness/dashboard/": rooms("base cases tensors results report history gate dashboard", "reference/error.h"),
    "harness/program/": ("harness/",) + RANKS,
    "harness/fuzz/": ("harness/", "reference/error.h"),
    "harness/testing/": rooms("base tensors results testing", "distributed/comm/", "distributed/variant.h"),
}
# Headers of others that only some places may include: pattern, places.
CONFINED = [
    (re.compile(r"mpi\.h$"), ("distributed/comm/", "harness/program/")),
    (re.compile(r"(cuda|cublas|nccl|cudnn)[^/]*\.h$"), ("kernels/cuda/", "distributed/comm/")),
    (re.compile(r"CLI/"), ("harness/program/cli_parts.h",)),
]
# Header: names. nvcc compiles the standard library's constexpr functions for the GPU, and where one calls a builtin that
# it takes for the host's, as std::advance does, it drops that function's body without a word. So device code has types,
# constants, and functions that are constexpr down to plain language; the headers hold others.
DEVICE_STD = {
    "bit": "bit_cast",
    "concepts": "same_as",
    "cstddef": "byte size_t",
    "cstdint": "int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t",
    "limits": "numeric_limits",
    "span": "span ssize",
    "type_traits": "is_same_v",
    "cmath": "exp log1p",  # CUDA declares them for the GPU; decay_kernels.h and softmax_row_kernels.h call them
    "tuple": "tuple get",  # operands of unlike types in steps.h: members, and references to them
    "utility": "declval index_sequence index_sequence_for",  # types alone, in steps.h
}
DEVICE_NAMES = {name for names in DEVICE_STD.values() for name in names.split()}
DEVICE_MARK = re.compile(r"\b(RINGSIDE_DEVICE|__device__|__global__)\b")
MAX_LINES = 400
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
# What is wrong with a case has fields (harness/judge/finding.h); its sentence is for people, and no program reads it.
LOOKS_INTO = r"\s*(\?\.|\.|->)\s*(starts_with|ends_with|contains|r?find|substr|startsWith|endsWith|includes|indexOf|match|split|slice)\("
PARSES_A_SENTENCE = re.compile(
    r"(sentence\([^()]*\)|\b(failures?|findings?)(\[\w+\])?([.>-]+text)?|\breason)" + LOOKS_INTO +
    r"|\b(failures|findings)\.\w+\(\(?(?P<each>\w+)\)? => .*\b(?P=each)(\.text)?" + LOOKS_INTO)
CXX = {".h", ".cpp", ".cuh", ".cu"}
TEXT = CXX | {".py", ".sh", ".cmake", ".js"}


def is_test(path):
    name = path.rpartition("/")[2]
    return name.startswith("test_") or re.search(r"_test\.(cpp|cu)$", name) is not None


def may_include(path, target):
    """Whether `path` may include the file `target` of ours; both from the root."""
    allowed = RULES[max((room for room in RULES if path.startswith(room)), key=len)]
    if is_test(path):
        allowed += {"distributed": ("reference/",), "harness": ("reference/", "harness/testing/")}.get(path.partition("/")[0], ())
    return target.startswith(allowed)


def check_include(path, quote, target):
    """Why the include is wrong, or None."""
    if target.partition("/")[0] in TOP:
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
    if path.startswith("harness/") and not is_test(path) and path.endswith((".h", ".cpp", ".js")):
        for number, line in enumerate(lines, 1):
            if PARSES_A_SENTENCE.search(line):
                yield number, "reads what a sentence says: a finding has fields"
    if pathlib.PurePath(path).suffix in CXX:
        if re.fullmatch(r"harness/[^/]*", path):
            yield 1, "stands in no room of harness/"
        for number, line in enumerate(lines, 1):
            if re.match(r"(TYPED_)?TEST\w*\(", line) and not re.match(r"TEST(_F|_P)?\(\w+,", line):
                yield number, "name the suite in the line of TEST, TEST_F or TEST_P: CMake looks for it there"
            if match := INCLUDE.match(line):
                if reason := check_include(path, *match.groups()):
                    yield number, reason


def code_lines(text):
    """(number, line without its comment)."""
    return enumerate((line.partition("//")[0] for line in text.splitlines()), 1)


def device_code(texts):
    """Of {path: text}, the paths of device code, each with the file that brings it in, or itself."""
    found = {}
    todo = [(path, path) for path, text in texts.items()
            if not is_test(path) and any(DEVICE_MARK.search(code) for _, code in code_lines(text))]
    while todo:
        path, by = todo.pop()
        if path in texts and path not in found:
            found[path] = by
            todo += [(match[2], path) for _, code in code_lines(texts[path]) if (match := INCLUDE.match(code))]
    return found


def check_device(text):
    """Yields (line, what is not for device code)."""
    for number, code in code_lines(text):
        match = INCLUDE.match(code)
        if match and match[1] == "<" and match[2] not in DEVICE_STD:
            yield number, f"<{match[2]}>"
        for name in re.findall(r"\bstd::(\w+)", code):
            if name not in DEVICE_NAMES:
                yield number, f"std::{name}"


def circle_of(texts):
    """Of {path: text}, files that include each other in a circle, the first again at the end; [] if none do."""
    state, trail = {}, []  # path: whether all that it includes has been seen

    def visit(path):
        trail.append(path)
        state[path] = False
        for _, code in code_lines(texts[path]):
            target = (INCLUDE.match(code) or [""] * 3)[2]
            if state.get(target) is False:
                return trail[trail.index(target):] + [target]
            if target in texts and target not in state and (circle := visit(target)):
                return circle
        state[trail.pop()] = True
        return []

    return next(filter(None, (visit(path) for path in texts if path not in state)), [])


def check_tree(root):
    """Checks the rooms, ci/ and baselines/ below `root`: (number of files, violations as text)."""
    violations, files, texts = [], 0, {}
    for room in TOP + ("ci", "baselines"):
        for file in sorted((root / room).rglob("*")):
            if file.is_file() and (file.suffix in TEXT or file.name == "CMakeLists.txt"):
                files += 1
                path, text = file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
                if file.suffix in CXX:
                    texts[path] = text
                violations += [f"{path}:{line}: {reason}" for line, reason in check_file(path, text)]
    for path, by in sorted(device_code(texts).items()):
        violations += [f"{path}:{line}: {what} is not for device code, to which {by} brings this file"
                       for line, what in check_device(texts[path])]
    if circle := circle_of(texts):
        violations.append(f"{circle[0]}:1: includes itself: {' includes '.join(circle)}")
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
