#!/usr/bin/env python3
"""keep_ptxas.py COMPILER… -o OBJECT …: runs nvcc and keeps what ptxas says of its kernels in OBJECT.ptxas.

With `-Xptxas -v`, ptxas tells registers, shared memory and spills of every kernel among nvcc's messages. This compiler
launcher moves those lines to a file beside the object, where ci/gpu/check_spills.py looks for them; all else is passed on.
"""
import pathlib
import re
import subprocess
import sys

# "ptxas info    : …" and, of each function, one or two lines that begin with blanks.
PTXAS = re.compile(r"ptxas info|\s+\d+ bytes (stack frame|cumulative)")


def main():
    command = sys.argv[1:]
    result = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    lines = result.stderr.decode(errors="replace").splitlines(keepends=True)
    said = [line for line in lines if PTXAS.match(line)]
    sys.stderr.writelines(line for line in lines if not PTXAS.match(line))
    if said:  # not by the calls that only preprocess
        pathlib.Path(command[command.index("-o") + 1] + ".ptxas").write_text("".join(said), encoding="utf-8")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
