"""Measure the speed of networks in PyTorch, compared with OpenVINO on the same weights.

python benchmarks/networks.py hand-full --batch 1 8
python benchmarks/networks.py hand-full hand-lite --device cuda --batch 1 32 1024 --compile
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from sonjit import SonjitError
from sonjit.engines.quiet_openvino import ov
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.export import export_network

WARM = 3


def measure_s(run, repeats, synchronize):
    """Return the shortest time of a call in seconds. Other processes only increase it."""
    for _ in range(WARM):
        run()
    synchronize()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def torch_runs(name, entry, batch, options):
    """Yield a name and a function for each way in which PyTorch can run a network."""
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    dtypes = {"f32": torch.float32} | ({"bf16": torch.bfloat16} if options.device != "cpu" else {})
    for precision, dtype in dtypes.items():
        for layout, memory_format in layouts.items():
            for compiled in (False, True) if options.compile else (False,):
                network = create_network(name, options.weights).eval().to(options.device, dtype)
                network.to(memory_format=memory_format)
                inputs = [spec.example(batch).to(options.device, dtype) for spec in entry.inputs]
                inputs = [value.to(memory_format=memory_format) if value.ndim == 4 else value for value in inputs]
                call = torch.compile(network) if compiled else network

                def run(call=call, inputs=inputs):
                    with torch.inference_mode():
                        call(*inputs)

                yield f"{precision} {layout}{' compiled' if compiled else ''}", run


def openvino_run(name, entry, batch, options, folder):
    """Return a function that runs the exported network in OpenVINO with f32."""
    network = create_network(name, options.weights)
    file = export_network(network, entry.inputs, folder / f"{name}.onnx", dynamic_batch=True).path
    model = ov.Core().read_model(file)
    model.reshape({spec.name: [batch, *spec.shape] for spec in entry.inputs})
    config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    compiled = ov.Core().compile_model(model, "CPU", config | {"INFERENCE_NUM_THREADS": options.threads})
    request = compiled.create_infer_request()
    inputs = {spec.name: spec.example(batch).numpy() for spec in entry.inputs}
    return lambda: request.infer(inputs)


def rows_of(name, options, folder):
    """Yield one record per batch and runtime."""
    entry = network_entry(name)
    synchronize = torch.cuda.synchronize if options.device.startswith("cuda") else lambda: None
    for batch in options.batch:
        base = None
        if not options.device.startswith("cuda"):
            base = measure_s(openvino_run(name, entry, batch, options, folder), options.repeats, lambda: None)
            yield record(name, batch, "OpenVINO f32", base, base)
        for runtime, run in torch_runs(name, entry, batch, options):
            yield record(name, batch, runtime, measure_s(run, options.repeats, synchronize), base)


def record(name, batch, runtime, seconds, base):
    return {
        "network": name, "batch": batch, "runtime": runtime, "ms": seconds * 1e3, "images_per_s": batch / seconds,
        "times_openvino": None if base is None else seconds / base,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["hand-full"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--weights", default="demo", help="weights; the speed does not depend on them")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile; requires a C++ compiler")
    parser.add_argument("--save", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names:
            rows += rows_of(name, options, Path(folder))
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.processor()
    table = Table(
        "network", "batch", "runtime", "ms", "images/s", "x OpenVINO", title=f"{device}, torch {torch.__version__}"
    )
    for row in rows:
        ratio = "" if row["times_openvino"] is None else f"{row['times_openvino']:.1f}"
        figures = f"{row['ms']:.1f}", f"{row['images_per_s']:.0f}", ratio
        table.add_row(row["network"], str(row["batch"]), row["runtime"], *figures)
    Console().print(table)
    if options.save:
        machine = {"device": device, "torch": torch.__version__, "openvino": ov.__version__, "threads": options.threads}
        options.save.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        raise SystemExit(f"networks.py: {error}") from None
