"""Build the extensions.  Everything else about the package is in pyproject.toml.

Environment, for builds out of the ordinary:
    RINGGATE_SANITIZE=1   with AddressSanitizer and UndefinedBehaviorSanitizer (`make sanitize`)
    RINGGATE_LINETRACE=1  with Cython's line tracing, for coverage of the .pyx files
    RINGGATE_PREBUILT=1   build no extension, because they lie beside their sources already (`make` does so)
"""

import os
import shutil
import subprocess
import sysconfig
import tempfile
from glob import glob

from Cython.Build import cythonize
from Cython.Compiler.Errors import CompileError
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = sorted(glob("gateway/**/*.pyx", recursive=True))
HEADERS = sorted(glob("gateway/**/*.pxd", recursive=True) + glob("gateway/**/*.h", recursive=True))

SANITIZE = os.environ.get("RINGGATE_SANITIZE") == "1"
LINETRACE = os.environ.get("RINGGATE_LINETRACE") == "1"
PREBUILT = os.environ.get("RINGGATE_PREBUILT") == "1"

# No -march=native: a wheel runs on other machines than the one that built it.
COMPILE = ["-Wno-sign-compare"]  # Cython compares its enums with signed integers
LINK: list[str] = []
if SANITIZE:
    LINK = ["-fsanitize=address,undefined"]
    COMPILE += ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined", *LINK]
    COMPILE += ["-fno-wrapv"]  # which Python builds with, and which would hide signed overflow
else:
    COMPILE += ["-O3", "-g0"]
if LINETRACE:
    COMPILE += ["-DCYTHON_TRACE=1", "-DCYTHON_TRACE_NOGIL=1"]


class BuildExtensions(build_ext):
    """Build the extensions, or say in one line what the machine lacks."""

    def finalize_options(self) -> None:
        """Compile on every core."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        """Translate the extensions and compile them; SystemExit with one line when the machine cannot."""
        missing = what_is_missing(self.compiler.compiler_so)
        if missing:
            raise SystemExit(f"ringgate cannot be built: {missing}")
        # All at once and before the compiler's threads start: Cython is not made for several threads.
        try:
            translated = cythonize(
                self.extensions,
                build_dir=self.build_temp,  # no .c files among the sources
                compiler_directives={"language_level": "3", "linetrace": LINETRACE},
                force=self.force,
                quiet=True,
            )
        except CompileError as error:
            raise SystemExit(
                f"ringgate cannot be built: Cython refuses {error.args[-1]}, see above"
            ) from None
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        super().build_extensions()


def what_is_missing(compiler: list[str]) -> str | None:
    """Name what keeps `compiler` (a command line) from building an extension; None when nothing does."""
    if not shutil.which(compiler[0]):
        return f"no C compiler ({compiler[0]} was not found); on Debian and Ubuntu install the package gcc"
    include = sysconfig.get_path("include")
    if not os.path.exists(os.path.join(include, "Python.h")):
        return f"no Python.h in {include}; on Debian and Ubuntu install the package python3-dev"
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "probe.c")
        with open(source, "w") as file:
            file.write("#include <Python.h>\n#include <sys/socket.h>\n")
        command = [*compiler, "-I" + include, *COMPILE, "-c", source, "-o", os.path.join(folder, "probe.o")]
        probe = subprocess.run(command, capture_output=True, text=True, check=False)
    if probe.returncode:
        errors = [line for line in probe.stderr.splitlines() if "error" in line] or ["it gave no reason"]
        return f"the C compiler does not work: {errors[0].strip()} (libc's headers: package libc6-dev)"
    return None


setup(
    cmdclass={"build_ext": BuildExtensions},
    ext_modules=[
        Extension(
            source.removesuffix(".pyx").replace("/", "."),
            [source],
            include_dirs=[".", "gateway"],
            depends=["setup.py", *HEADERS],
            extra_compile_args=COMPILE,
            extra_link_args=LINK,
        )
        for source in SOURCES
        if not PREBUILT
    ],
)
