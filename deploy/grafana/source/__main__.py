"""Writes Grafana's dashboards: `python3 deploy/grafana/source [FOLDER]`, after a change of a panel.

Python's standard library is all that it takes. A test compares the files in git with what this writes.
"""

import json
import pathlib
import sys

# The checkout stays as it is.
sys.dont_write_bytecode = True

import any_server  # noqa: E402
import fleet
import machine
import sidecar
import torchserve

DASHBOARDS = {"torchserve": torchserve, "model-servers": any_server, "machine": machine, "fleet": fleet, "self": sidecar}

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "dashboards")
for name, module in DASHBOARDS.items():
    text = json.dumps(module.build(), indent=2, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
