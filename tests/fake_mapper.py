"""A program in nnie_mapper's place: prints what it printed, leaves what it left.

It reads the cfg and the files that it names as the mapper does, relative to the folder it runs
in. A JSON file that FAKE_MAPPER names says how it behaves:

log: what is printed, a line at a time; pause: seconds after each line; status: how it ends; die:
a signal instead; wk: path of the .wk to leave, by is_simulation; part: bytes of it only; refuse:
{layer: text}: what is printed, and the end, when the network has this layer; off: layers
whose dump is wrong; dump: whether mapper_quant is written; child: a process is started as well;
raw: so many random bytes behind the log.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.mapper_logs import SUCCESS_12

ROOT = Path(__file__).resolve().parents[1]
_LINE = re.compile(r"\[(\w+)\]\s*(.*?)\s*$")


def install(folder: Path, name: str = "nnie_mapper_12", **behaviour: Any) -> Path:
    """Put the program and how it behaves into `folder`; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "behaviour.json").write_text(json.dumps({"log": SUCCESS_12, **behaviour}))
    program = folder / name
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.fake_mapper import main\nmain({str(folder / 'behaviour.json')!r})\n"
    )
    program.chmod(0o755)
    return program


def main(place: str) -> None:
    behaviour = json.loads(Path(place).read_text())
    (Path(place).parent / "calls.txt").open("a").write(
        json.dumps({"cwd": str(Path.cwd()), "arguments": sys.argv[1:],
                    "libraries": os.environ.get("LD_LIBRARY_PATH", ""), "pid": os.getpid()}) + "\n"
    )  # fmt: skip
    entries = [y for x in Path(sys.argv[1]).read_text().splitlines() if (y := _LINE.match(x))]
    values: dict[str, list[str]] = {}
    for entry in entries:
        values.setdefault(entry[1], []).append(entry[2])
    inputs = _read_inputs(values)
    if behaviour.get("child"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(place).with_name("child.txt").write_text(str(child.pid))
    if behaviour.get("die_silent"):
        os.kill(os.getpid(), behaviour["die_silent"])
    output = Path(values["instruction_name"][0] + ".wk")
    simulation = values["is_simulation"][0]
    wk = Path(behaviour["wk"][simulation]).read_bytes() if behaviour.get("wk") else None
    if wk is not None:
        output.write_bytes(wk[: behaviour.get("part", len(wk) // 2)])
    network = Path(values["prototxt_file"][0]).read_text()
    log = behaviour["log"]
    for layer, text in behaviour.get("refuse", {}).items():
        if f'name: "{layer}"' in network:
            log = log.partition("end net parsing")[0] + text
            behaviour["status"] = 1
    for line in log.splitlines():
        print(line, flush=True)
        time.sleep(behaviour.get("pause", 0))
    sys.stdout.buffer.write(random.Random(1).randbytes(behaviour.get("raw", 0)))
    sys.stdout.flush()
    if behaviour.get("die"):
        os.kill(os.getpid(), behaviour["die"])
    if wk is not None and "part" not in behaviour and not behaviour.get("status"):
        output.write_bytes(wk)
    Path("cnn_net_tree.dot").write_text("digraph {}\n")
    Path("mapper_debug.log").write_text("debug\n")
    Path("mapper_error.log").write_text(behaviour.get("error_log", ""))
    if values.get("log_level") == ["3"] and behaviour.get("dump"):
        _dump(values, inputs, behaviour.get("off", []))
    sys.exit(behaviour.get("status", 0))


def _read_inputs(values: dict[str, list[str]]) -> list[str]:
    """The last entry of each list; as the mapper does, everything is opened from here."""
    Path(values["caffemodel_file"][0]).read_bytes()
    last = []
    for name, kind in zip(values["image_list"], values["image_type"], strict=True):
        lines = Path(name).read_text().splitlines()
        for line in lines if kind != "0" else []:
            Path(line).read_bytes()
        last.append(lines[-1])
    return last


def _dump(values: dict[str, list[str]], inputs: list[str], off: list[str]) -> None:
    """mapper_quant of the simulated network, as 20.12; `off` are layers with wrong numbers."""
    import numpy as np

    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.engine.onnxruntime_engine import Session
    from nnie_pipeline.quant.ranges import RangeRecorder
    from nnie_pipeline.quant.simulate import Simulator

    net = read_net(Path(values["prototxt_file"][0]), Path(values["caffemodel_file"][0]))
    feed = {
        name: np.array(text.split(), np.float32).reshape(shape)
        for (name, shape), text in zip(net.inputs.items(), inputs, strict=True)
    }
    recorder = RangeRecorder(net)
    recorder.add({**feed, **Session(net, recorder.values).run(feed)})
    owners = net.producers()
    folder = Path("mapper_quant")
    folder.mkdir()
    bits = 16 if values["compile_mode"] == ["1"] else 8
    spoilt: set[str] = set()
    for name, made in Simulator(net, bits, recorder.ranges()).run(feed):
        layer, array = owners[name], made
        if layer.name in off or spoilt.intersection(layer.bottoms):
            spoilt.update(layer.tops)
            array = -array - 1
        words = np.clip(np.round(array.ravel() * 4096), -(2**31), 2**31 - 1).astype(np.int64)
        shape = "_".join(map(str, array.shape[1:]))
        number = layer.tops.index(name)
        file = folder / f"{layer.name}_output{number}_{shape}_quant.linear.hex"
        file.write_text("".join(f"{x & 0xFFFFFFFF:08x}\n" for x in words.tolist()))
