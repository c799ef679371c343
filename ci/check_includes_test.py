#!/usr/bin/env python3
"""Plants violations in a temporary tree; check_includes.py has to find each at its place, and nothing else."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # leaves the source tree as it is
import check_includes
GOOD = {
    "reference/view.h": "#pragma once\n#include <vector>\n",
    "reference/softmax_oracle.h": '#pragma once\n#include "reference/view.h"\n',
    "kernels/device.h": '#pragma once\n#include "reference/view.h"\n',
    "kernels/cpu/body.h": '#pragma once\n#include "kernels/device.h"\n#include "reference/positions.h"\n',
    "kernels/cuda/body.cu": "#include <cuda_runtime.h>\n",
    "kernels/mask.h": "#pragma once\n#include <span>\nstd::span<int> seen;  // not std::vector\n",
    "kernels/simt/kernel.h": '#pragma once\n#include "kernels/mask.h"\n#include <tuple>\nRINGSIDE_DEVICE std::tuple<int> f();\n',
    "kernels/simt/host.h": '#pragma once\n#include <vector>\n#include "kernels/simt/kernel.h"\n// RINGSIDE_DEVICE\n',
    "kernels/simt/test_kernel.h": "#pragma once\n#include <vector>\nRINGSIDE_DEVICE void test();\n",
    "distributed/ring.cpp": '#include "kernels/device.h"\n#include "distributed/layout.h"\n#include <mpi.h>\n',
    "distributed/ring_test.cpp": '#include "reference/softmax_oracle.h"\n',
    "harness/cli_parts.h": '#pragma once\n#include <CLI/CLI.hpp>\n#include "reference/softmax_oracle.h"\n#include "kernels/cpu/body.h"\n',
}


def on_tree(files, check):
    """check(root of a temporary tree of these files)."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            file = pathlib.Path(root, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return check(pathlib.Path(root))


def run_script(root):
    """Exit status and printed lines."""
    done = subprocess.run([sys.executable, check_includes.__file__, root], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


class CheckIncludes(unittest.TestCase):
    def test_a_right_tree_passes(self):
        self.assertEqual(on_tree(GOOD, run_script), (0, [f"{len(GOOD)} files, 0 violations"]))

    def test_a_wrong_tree_and_an_empty_one_fail(self):
        self.assertEqual(on_tree({"harness/report.h": ""}, run_script),
                         (1, ["harness/report.h:1: no #pragma once", "1 files, 1 violations"]))
        self.assertEqual(on_tree({}, run_script)[0], 1)

    def test_each_planted_violation_is_found(self):
        bad = [
            ("reference/truth.cpp", '\n#include "kernels/device.h"\n', 2),
            ("reference/truth.cpp", "#include <mpi.h>\n", 1),
            ("reference/truth_test.cpp", '#include "kernels/device.h"\n', 1),
            ("kernels/cpu/fast.cpp", '#include "reference/softmax_oracle.h"\n', 1),
            ("kernels/cpu/fast.cpp", '  #  include "reference/softmax_oracle.h"\n', 1),
            ("kernels/cpu/fast_test.cpp", '#include "reference/softmax_oracle.h"\n', 1),
            ("kernels/cpu/fast.cpp", '#include "distributed/layout.h"\n', 1),
            ("kernels/cpu/fast.cpp", "#include <cuda_runtime.h>\n", 1),
            ("kernels/cpu/fast.cpp", '#include "body.h"\n', 1),
            ("distributed/ulysses.cpp", '#include "kernels/cpu/body.h"\n', 1),
            ("distributed/ulysses.cpp", '#include "reference/softmax_oracle.h"\n', 1),
            ("distributed/ulysses.cpp", '#include <vector>\n\n#include "harness/case.h"\n', 3),
            ("distributed/ulysses_test.cpp", '#include "harness/case.h"\n', 1),
            ("distributed/ulysses_test.cpp", '#include "kernels/cpu/body.h"\n', 1),
            ("distributed/ulysses.cpp", "#include <distributed/layout.h>\n", 1),
            ("kernels/mask.h", "#pragma once\n#include <algorithm>\n", 2),
            ("kernels/mask.h", "#pragma once\n#include <span>\nauto x = std::upper_bound(a, b, c);\n", 3),
            ("kernels/simt/body.h", "#pragma once\nRINGSIDE_DEVICE void g() { std::swap(a, b); }\n", 2),
            ("kernels/cuda/body.cu", "#include <string>\n__global__ void k();\n", 1),
            ("harness/report.cpp", "#include <CLI/App.hpp>\n", 1),
            ("harness/report.h", "#include <vector>\n", 1),
            ("harness/report.h", "// #pragma once\n", 1),
            ("harness/long.cpp", "\n" * 401, 401),
            ("ci/long.py", "\n" * 401, 401),
        ]
        for path, text, line in bad:
            with self.subTest(path=path, text=text[:60]):
                _, violations = on_tree(GOOD | {path: text}, check_includes.check_tree)
                self.assertEqual(len(violations), 1, violations)
                self.assertTrue(violations[0].startswith(f"{path}:{line}: "), violations)


if __name__ == "__main__":
    unittest.main()
