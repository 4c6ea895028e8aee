"""Generate the Python module of gateway/message/ringgate.proto, and its stub: `make proto`.

    python scripts/generate_proto.py [FOLDER]

They are written into FOLDER, by default beside the .proto.  A test generates them anew and compares.
"""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "gateway" / "message" / "ringgate.proto"


def generate(folder: Path) -> list[Path]:
    """Write ringgate_pb2.py and ringgate_pb2.pyi into a folder, and return where they are."""
    stubs = Path(sys.executable).with_name("protoc-gen-mypy")
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE.parent}", SOURCE.name),
        *(f"--python_out={folder}", f"--plugin=protoc-gen-mypy={stubs}", f"--mypy_out=quiet:{folder}"),
    ]
    subprocess.run(command, check=True)
    return [folder / f"{SOURCE.stem}_pb2{suffix}" for suffix in (".py", ".pyi")]


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE.parent)
