#!/usr/bin/env python3
"""check_spills.py BUILD_FOLDER: what ptxas said of each GPU kernel in a build, whether the hot ones spill, and whether
their code calls what it does not hold.

Reads the *.ptxas files that ci/gpu/keep_ptxas.py leaves beside the objects. Prints a table kernel | arch | registers | shared
memory | stack | spilled and ends with 1 if a kernel of HOT_KERNELS has a stack frame or spills registers (both are local
memory: as slow as the GPU's own), or if there is no such kernel in some architecture of the build, or nothing to read.
With --all the table has every kernel, otherwise the hot ones and those that spill. One is known: CUDA 13.0 spills 20 bytes
of SoftmaxBackwardKeysKernel<FmaProduct, …> with dims of 128 on sm_80, whose sums fill all registers.

Ends with 1 as well if PTX in the objects declares a function without a body (`.extern .func`): printf(), assert(), an
allocation, which a kernel has no use for. PTX alone is read that nvcc's -no-compress left as text, as in the strict build;
how many objects have it is told. What this cannot see: a body that nvcc dropped, of which no call is left either
(check_includes.py on DEVICE_STD), and a call of anything that is not CUDA's own, as ptxas refuses that itself.
"""
import argparse
import pathlib
import re
import subprocess
import sys

# Names of kernels (how their structs' names begin) in which time is spent.
HOT_KERNELS = ("SoftmaxForwardKernel<Bf16Product", "SoftmaxBackwardKeysKernel<Bf16Product",
               "SoftmaxBackwardQueriesKernel<Bf16Product", "LightningScanKernel<Bf16Product",
               "LightningStatesKernel<Bf16Product", "SoftmaxMerge", "SoftmaxDelta", "LightningScan", "SumHeads")

COMPILING = re.compile(r"ptxas info\s*: Compiling entry function '(\S+)' for '(\w+)'")
STACK = re.compile(r"\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"ptxas info\s*: Used (\d+) registers(.*)")
SHARED = re.compile(r"(\d+) bytes smem")
PTX = re.compile(rb"^\.visible \.entry ", re.MULTILINE)
BODILESS = re.compile(rb"^\s*\.extern\s+\.func\b(?:\s*\([^)]*\))?\s*(\w+)", re.MULTILINE)


class Kernel:
    """One kernel's figures in one architecture."""

    def __init__(self, symbol, arch):
        self.symbol, self.arch = symbol, arch
        self.name = symbol
        self.registers = self.shared = self.stack = self.spilled = 0

    def is_hot(self):
        return any(re.search(rf"\b{name}\b", self.name) for name in HOT_KERNELS)

    def spills(self):
        return self.stack > 0 or self.spilled > 0

    def is_faulty(self):
        return self.is_hot() and self.spills()


def read_ptxas(text):
    """The kernels of one file; their names are still symbols."""
    kernels = []
    for line in text.splitlines():
        if match := COMPILING.match(line):
            kernels.append(Kernel(*match.groups()))
        elif not kernels:
            continue
        elif match := STACK.match(line):
            stack, stores, loads = map(int, match.groups())
            kernels[-1].stack, kernels[-1].spilled = stack, stores + loads
        elif match := USED.match(line):
            kernels[-1].registers = int(match[1])
            kernels[-1].shared = sum(int(x) for x in SHARED.findall(match[2]))
    return kernels


def demangle(kernels):
    """Replaces each name by the kernel that run_kernel() runs, as C++ has it."""
    symbols = "\n".join(kernel.symbol for kernel in kernels)
    names = subprocess.run(["c++filt"], input=symbols, capture_output=True, text=True, check=True).stdout
    for kernel, name in zip(kernels, names.splitlines()):
        kernel.name = re.sub(r"^void run_kernel<(.*?) ?>\(.*\)$", r"\1", name.replace("ringside::", ""))


def missing_kernels(kernels):
    """(name, architecture) of the hot kernels that were not compiled."""
    archs = sorted({kernel.arch for kernel in kernels})
    return [(name, arch) for name in HOT_KERNELS for arch in archs
            if not any(kernel.arch == arch and re.search(rf"\b{name}\b", kernel.name) for kernel in kernels)]


def bodiless_functions(objects):
    """(how many of the objects have PTX as text, {name: an object whose PTX declares it without a body})."""
    with_text, found = 0, {}
    for file in objects:
        code = file.read_bytes()
        with_text += PTX.search(code) is not None
        found |= {match[1].decode(): file for match in BODILESS.finditer(code)}
    return with_text, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build_folder", type=pathlib.Path)
    parser.add_argument("--all", action="store_true", help="print every kernel")
    arguments = parser.parse_args()

    kernels = []
    files = sorted(arguments.build_folder.rglob("*.ptxas"))
    for file in files:
        kernels += read_ptxas(file.read_text(encoding="utf-8"))
    if not kernels:
        print(f"{arguments.build_folder}: no kernels")
        return 1
    demangle(kernels)
    faulty = [kernel for kernel in kernels if kernel.is_faulty()]
    missing = missing_kernels(kernels)
    print("kernel | arch | registers | shared memory | stack | spilled")
    for kernel in sorted(kernels, key=lambda kernel: (kernel.name, kernel.arch)):
        if arguments.all or kernel.is_hot() or kernel.spills():
            verdict = "  <-- SPILLS" if kernel.is_faulty() else ""
            print(f"{kernel.name} | {kernel.arch} | {kernel.registers} | {kernel.shared} B | {kernel.stack} B | "
                  f"{kernel.spilled} B{verdict}")
    for name, arch in missing:
        print(f"{name}: not compiled for {arch}")
    objects = [file.with_suffix("") for file in files]
    with_text, bodiless = bodiless_functions(file for file in objects if file.exists())
    for name, file in sorted(bodiless.items()):
        print(f"{file.name}: PTX calls {name}, which has no body there")
    spilling = sum(kernel.spills() for kernel in kernels)
    print(f"{len(kernels)} kernels, {spilling} that spill, {len(faulty)} of them hot; "
          f"PTX of {with_text} of {len(objects)} objects read")
    return 1 if faulty or missing or bodiless else 0


if __name__ == "__main__":
    sys.exit(main())
