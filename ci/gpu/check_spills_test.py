#!/usr/bin/env python3
"""Plants spills in ptxas reports; check_spills.py must find those of hot kernels."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # leaves the source tree as it is
import check_spills

ENTRY = """ptxas info    : Compiling entry function '{symbol}' for '{arch}'
ptxas info    : Function properties for {symbol}
    {stack} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 1024 bytes smem, 432 bytes cmem[0]
"""


def symbol(kernel):
    """Of run_kernel() for a kernel that is no template, or one of one type: "Kernel<Type"."""
    name, _, argument = kernel.partition("<")
    of_type = f"INS_{len(argument)}{argument}EE" if argument else ""
    return f"_ZN8ringside10run_kernelINS_{len(name)}{name}{of_type}EEEvT_"


def entry(kernel, arch="sm_80", stack=0, stores=0, loads=0, registers=40):
    return ENTRY.format(symbol=symbol(kernel), arch=arch, stack=stack, stores=stores, loads=loads, registers=registers)


PTX = b"\x7fELF\0.version 9.0\n.target sm_90a\n%s\n.visible .entry _Z1kPi(\n.param .u64 .ptr _Z1kPi_param_0\n)\n{\n}\n\0"


def run_script(*said, hot_kernels=check_spills.HOT_KERNELS, ptx=None, options=()):
    """Exit status and printed lines of the script on a build with these messages, all hot kernels besides; ptx: what an
    object's PTX begins with."""
    with tempfile.TemporaryDirectory() as build:
        for number, text in enumerate((*said, *map(entry, hot_kernels))):
            pathlib.Path(build, f"{number}.cu.o.ptxas").write_text(text, encoding="utf-8")
        if ptx is not None:
            pathlib.Path(build, "0.cu.o").write_bytes(PTX % ptx)
        done = subprocess.run([sys.executable, check_spills.__file__, *options, build], stdout=subprocess.PIPE, text=True,
                              check=False)
        return done.returncode, done.stdout.splitlines()


class CheckSpills(unittest.TestCase):
    HOT = check_spills.HOT_KERNELS[0]

    def test_a_build_without_spills_passes(self):
        status, lines = run_script(entry("Cold", registers=77), options=["--all"])
        self.assertEqual(status, 0)
        self.assertIn("Cold | sm_80 | 77 | 1024 B | 0 B | 0 B", lines)

    def test_cold_kernels_may_spill_and_are_named(self):
        status, lines = run_script(entry("Cold", stack=8, stores=4, loads=4))
        self.assertEqual(status, 0)
        self.assertIn("Cold | sm_80 | 40 | 1024 B | 8 B | 8 B", lines)
        self.assertIn("1 that spill, 0 of them hot", lines[-1])

    def test_hot_kernels_may_not(self):
        for fault in ({"stack": 8}, {"stores": 4}, {"loads": 4}):
            status, lines = run_script(entry(self.HOT, **fault))
            self.assertEqual(status, 1, fault)
            self.assertEqual(sum("SPILLS" in line for line in lines), 1, lines)

    def test_a_name_is_a_whole_word(self):
        self.assertEqual(run_script(entry(self.HOT + "Slow", stack=8))[0], 0)

    def test_hot_kernels_must_be_there_in_every_architecture(self):
        status, lines = run_script(entry("Cold", arch="sm_90a"))
        self.assertEqual(status, 1)
        self.assertIn(f"{self.HOT}: not compiled for sm_90a", lines)
        self.assertEqual(run_script(entry("Cold"), hot_kernels=())[0], 1)

    def test_ptx_calls_nothing_outside(self):
        status, lines = run_script(ptx=b".extern .shared .align 128 .b8 memory[];\n.func  (.param .b32 r) f(\n)\n{\n}")
        self.assertEqual((status, lines[-1].partition("; ")[2][:12]), (0, "PTX of 1 of "))
        for declared in (b"(.param .b32 func_retval0) vprintf\n(\n)\n;", b"__assertfail\n(\n.param .b64 p\n)\n;"):
            status, lines = run_script(ptx=b".extern .func " + declared)
            self.assertEqual(status, 1)
            self.assertTrue(any("vprintf, which" in line or "__assertfail, which" in line for line in lines), lines)

    def test_nothing_to_read_fails(self):
        status, lines = run_script(hot_kernels=())
        self.assertEqual(status, 1)
        self.assertIn("no kernels", lines[0])


if __name__ == "__main__":
    unittest.main()
