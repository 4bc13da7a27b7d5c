"""Makes `api_pb2.py` and `api_pb2.pyi` from CRI's proto: `python -m neaptide.virtualnode.cri.generate`.

Wants grpcio-tools, which nothing else does, and Go, whose module proxy has the proto: k8s.io/cri-api at the version below.
"""

import json
import subprocess
import sys
from pathlib import Path

MODULE = "k8s.io/cri-api@v0.36.3"
_PROTO = "pkg/apis/runtime/v1/api.proto"
_NOTE = f"# Made by generate.py from {MODULE}, {_PROTO} (Apache-2.0). Do not edit.\n"


def main() -> None:
    """Write both files beside this one."""
    here = Path(__file__).parent
    found = subprocess.run(["go", "mod", "download", "-json", MODULE], capture_output=True, check=True)  # noqa: S603, S607 - a developer's tool
    folder = Path(json.loads(found.stdout)["Dir"]) / Path(_PROTO).parent
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--python_out={here}", f"--pyi_out={here}"]
    subprocess.run([*command, str(folder / "api.proto")], check=True)  # noqa: S603 - as above
    for name in ("api_pb2.py", "api_pb2.pyi"):
        file = here / name
        file.write_text(_NOTE + file.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
