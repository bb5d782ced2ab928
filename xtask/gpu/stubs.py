"""Libraries with the names and the symbols of CUDA's, to link a program against on a machine that has none: each symbol is a function
that does nothing. At run time the real libraries stand in their place.

    python3 xtask/gpu/stubs.py CUDARC_SOURCES OUTPUT
"""

import pathlib
import re
import subprocess
import sys

# The module of cudarc, the name to link by, and the name that the program then asks for.
LIBRARIES = [
    ("driver", "cuda", "libcuda.so.1"),
    ("cublas", "cublas", "libcublas.so.13"),
    ("cublaslt", "cublasLt", "libcublasLt.so.13"),
    ("curand", "curand", "libcurand.so.10"),
    ("nvrtc", "nvrtc", "libnvrtc.so.13"),
]


def main():
    sources, output = map(pathlib.Path, sys.argv[1:])
    output.mkdir(parents=True, exist_ok=True)
    for module, name, soname in LIBRARIES:
        text = (sources / module / "sys" / "mod.rs").read_text()
        symbols = sorted(set(re.findall(r'extern "C" \{\s*fn (\w+)\(', text)))
        if not symbols:
            sys.exit(f"error: {sources}: cudarc's module {module} declares no function as this script knows it")
        code = "".join(f"void {symbol}(void){{}}\n" for symbol in symbols)
        path = output / f"lib{name}.so"
        gcc = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-x", "c", "-", "-o", str(path)]
        subprocess.run(gcc, input=code.encode(), check=True)
        print(f"{soname}: {len(symbols)} symbols")


main()
