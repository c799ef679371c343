#!/usr/bin/env python3
"""Plants violations in a temporary tree; check_includes.py must find each."""
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
    "kernels/gpu/kernel.h": '#pragma once\n#include "kernels/mask.h"\n#include <tuple>\nRINGSIDE_DEVICE std::tuple<int> f();\n',
    "kernels/gpu/host.h": '#pragma once\n#include <vector>\n#include "kernels/gpu/kernel.h"\n// RINGSIDE_DEVICE\n',
    "kernels/gpu/test_kernel.h": "#pragma once\n#include <vector>\nRINGSIDE_DEVICE void test();\n",
    "distributed/layout.h": "#pragma once\n",
    "distributed/comm/mpi.cpp": '#include "kernels/device.h"\n#include <mpi.h>\n',
    "distributed/variants/ring.cpp": '#include "kernels/device.h"\n#include "distributed/layout.h"\n',
    "distributed/variants/ring_test.cpp": '#include "reference/softmax_oracle.h"\n',
    "harness/base/text.h": '#pragma once\n#include "reference/error.h"\n',
    "harness/cases/case.h": '#pragma once\n#include "harness/base/text.h"\n#include "distributed/layout.h"\n',
    "harness/cases/case_test.cpp": '#include "harness/testing/process.h"\n',
    "harness/judge/judge.cpp": '#include "harness/cases/case.h"\n#include "reference/softmax_oracle.h"\n',
    "harness/gate/gate.cpp": '#include "harness/history/history.h"\n',
    "harness/program/cli_parts.h": '#pragma once\n#include <CLI/CLI.hpp>\n#include "harness/gate/commands.h"\n',
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
        self.assertEqual(on_tree({"harness/base/report.h": ""}, run_script),
                         (1, ["harness/base/report.h:1: no #pragma once", "1 files, 1 violations"]))
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
            ("distributed/variants/ulysses.cpp", '#include "kernels/cpu/body.h"\n', 1),
            ("distributed/variants/ulysses.cpp", '#include "reference/softmax_oracle.h"\n', 1),
            ("distributed/variants/ulysses.cpp", '#include <vector>\n\n#include "harness/cases/case.h"\n', 3),
            ("distributed/variants/ulysses_test.cpp", '#include "harness/cases/case.h"\n', 1),
            ("distributed/variants/ulysses_test.cpp", '#include "kernels/cpu/body.h"\n', 1),
            ("distributed/variants/ulysses.cpp", "#include <distributed/layout.h>\n", 1),
            ("distributed/variants/ulysses.cpp", "#include <mpi.h>\n", 1),
            ("distributed/comm/group.h", '#pragma once\n#include "distributed/variants/block.h"\n', 2),
            ("harness/base/table.h", '#pragma once\n#include "harness/cases/case.h"\n', 2),
            ("harness/base/table.h", '#pragma once\n#include "reference/problem.h"\n', 2),
            ("harness/cases/case.cpp", '#include "harness/tensors/npy.h"\n', 1),
            ("harness/cases/case.cpp", '#include "harness/testing/process.h"\n', 1),
            ("harness/cases/case.cpp", '#include "distributed/variants/block.h"\n', 1),
            ("harness/tensors/inputs.cpp", '#include "reference/softmax_oracle.h"\n', 1),
            ("harness/run/run_test.cpp", '#include "harness/judge/standard.h"\n', 1),
            ("harness/judge/verdict.cpp", '#include "harness/results/results.h"\n', 1),
            ("harness/results/results.cpp", '#include "reference/softmax_oracle.h"\n', 1),
            ("harness/report/table.cpp", '#include "distributed/variants/block.h"\n', 1),
            ("harness/sweep/sweep.cpp", '#include "reference/softmax_oracle.h"\n', 1),
            ("harness/gate/gate.cpp", '#include "harness/judge/verdict.h"\n', 1),
            ("harness/check/check.cpp", '#include "harness/mutants/mutant.h"\n', 1),
            ("harness/mutants/soak.cpp", '#include "harness/check/given.h"\n', 1),
            ("harness/history/history.cpp", '#include "harness/gate/report.h"\n', 1),
            ("harness/history/history.cpp", '#include "harness/judge/verdict.h"\n', 1),
            ("harness/gate/gate.cpp", '#include "harness/sweep/plan.h"\n', 1),
            ("harness/gate/gate.cpp", '#include "harness/program/options.h"\n', 1),
            ("harness/room_less.cpp", "", 1),
            ("harness/dashboard/data.js", "row.failures.some(f => f.startsWith(out + ': '));\n", 1),
            ("harness/dashboard/data.js", "row.findings.filter(f => f.text.includes('bound'));\n", 1),
            ("harness/dashboard/data.js", "const of_this = reason => reason.startsWith(name);\n", 1),
            ("harness/base/text.cpp", '\nif (sentence(finding).starts_with("dq: ")) return;\n', 2),
            ("harness/base/text.cpp", 'return result.reason.find("bound") != npos;\n', 1),
            ("harness/base/text_test.cpp", "TEST_F(Text,\nIsPlain) {}\nTEST_P(\n    Text, IsShort) {}\n", 3),
            ("harness/base/text_test.cpp", "TYPED_TEST(Text, IsPlain) {}\n", 1),
            ("harness/base/text.h", '#pragma once\n#include "harness/base/text.h"\n', 1),
            ("kernels/mask.h", "#pragma once\n#include <algorithm>\n", 2),
            ("kernels/mask.h", "#pragma once\n#include <span>\nauto x = std::upper_bound(a, b, c);\n", 3),
            ("kernels/gpu/body.h", "#pragma once\nRINGSIDE_DEVICE void g() { std::swap(a, b); }\n", 2),
            ("kernels/cuda/body.cu", "#include <string>\n__global__ void k();\n", 1),
            ("harness/base/report.cpp", "#include <CLI/App.hpp>\n", 1),
            ("harness/base/report.h", "#include <vector>\n", 1),
            ("harness/base/report.h", "// #pragma once\n", 1),
            ("harness/base/long.cpp", "\n" * 401, 401),
            ("ci/long.py", "\n" * 401, 401),
        ]
        for path, text, line in bad:
            with self.subTest(path=path, text=text[:60]):
                _, violations = on_tree(GOOD | {path: text}, check_includes.check_tree)
                self.assertEqual(len(violations), 1, violations)
                self.assertTrue(violations[0].startswith(f"{path}:{line}: "), violations)

    def test_headers_that_the_rules_name_exist(self):
        root = pathlib.Path(check_includes.__file__).parents[1]
        named = {name for allowed in check_includes.RULES.values() for name in allowed + check_includes.BOUNDARY}
        self.assertEqual([name for name in sorted(named) if not (root / name).exists()], [])


if __name__ == "__main__":
    unittest.main()
