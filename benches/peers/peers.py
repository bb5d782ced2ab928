"""Times fmam beside PyTorch, ONNX Runtime and OpenVINO on this machine. See run.sh.

Every measurement is the median of several repetitions; the candidates of one row run one after the other, twice, and the
better median counts, so that a moment in which the machine was busy does not decide.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import torch
from torch import nn

from networks import Scoring, decoder, encoder

FORWARD = ["resnet18", "wide-resnet50-2", "efficientnet-lite0"]
SCORE = [("nkd", "resnet18"), ("rkd", "resnet18"), ("nkd", "efficientnet-lite0"), ("rkd", "efficientnet-lite0")]
THREADS = len(os.sched_getaffinity(0))


def median_ms(work, iters):
    for _ in range(2):
        work()
    times = []
    for _ in range(iters):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return sorted(times)[iters // 2]


def images(batch):
    return torch.rand(batch, 3, 256, 256) * 4 - 2


def torch_forward(net, batch, channels_last):
    x = images(batch)
    if channels_last:
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)

    def work():
        with torch.inference_mode():
            net(x)

    return work


def folded(net):
    """The same network with its batch normalisations folded into the convolutions."""
    from torch.fx.experimental.optimization import fuse

    return fuse(net.eval())


def onnx_file(net, batch):
    path = tempfile.NamedTemporaryFile(suffix=".onnx", delete=False).name
    torch.onnx.export(net.eval(), (images(batch),), path, dynamo=False, input_names=["x"])
    return path


def onnxruntime(path, batch):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = images(batch).numpy()
    return lambda: session.run(None, {"x": x})


def openvino(path):
    import openvino as ov

    core = ov.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(path, "CPU", hints)
    request = model.create_infer_request()
    shape = model.input(0).shape
    x = images(shape[0]).numpy()
    return lambda: request.infer({0: x})


def train_step(method, name, batch, channels_last):
    teacher = encoder(name).eval().requires_grad_(False)
    student = (encoder(name) if method == "nkd" else decoder(name)).train()
    x = images(batch)
    if channels_last:
        teacher, student = (n.to(memory_format=torch.channels_last) for n in (teacher, student))
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(student.parameters())

    def work():
        with torch.no_grad():
            target = teacher(x)
        output = student(x if method == "nkd" else target)
        loss = sum((1 - nn.functional.cosine_similarity(t, s)).mean() for t, s in zip(target, output))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return work


def fmam(binary, iters, *args):
    def run():
        out = subprocess.run([binary, "bench", *args, "--iters", str(iters)], check=True, capture_output=True, text=True)
        return json.loads(out.stdout)["median_ms"]

    return run


def row(what, candidates):
    """`candidates`: name to a function that gives milliseconds."""
    best = {name: float("inf") for name in candidates}
    for _ in range(2):
        for name, run in candidates.items():
            best[name] = min(best[name], run())
    peers = min(value for name, value in best.items() if name != "fmam")
    figures = {name: round(value, 1) for name, value in best.items()}
    print(json.dumps({**what, "threads": THREADS, "ms": figures, "fmam_speedup": round(peers / best["fmam"], 2)}), flush=True)


def inference(what, net, batch, iters, ours):
    path = onnx_file(net, batch)
    plain, last, ort, vino = (
        torch_forward(folded(net), batch, False), torch_forward(folded(net), batch, True), onnxruntime(path, batch),
        openvino(path),
    )
    row({**what, "batch": batch}, {
        "fmam": ours,
        "torch": lambda: median_ms(plain, iters),
        "torch channels_last": lambda: median_ms(last, iters),
        "onnxruntime": lambda: median_ms(ort, iters),
        "openvino": lambda: median_ms(vino, iters),
    })
    os.remove(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=["forward", "score", "train"])
    parser.add_argument("--fmam", required=True)
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    print("threads", THREADS, "torch", torch.__version__, file=sys.stderr)
    if args.what in (None, "forward"):
        for name in FORWARD:
            for batch in (1, 8):
                iters = 5 if name.startswith("wide") else 15
                ours = fmam(args.fmam, iters, "forward", "--network", name, "--batch", str(batch))
                inference({"network": name}, encoder(name), batch, iters, ours)
    if args.what in (None, "score"):
        for method, name in SCORE:
            for batch in (1, 8):
                ours = fmam(args.fmam, 10, "score", "--method", method, "--backbone", name, "--batch", str(batch))
                inference({"score": method, "backbone": name}, Scoring(name, method), batch, 10, ours)
    if args.what in (None, "train"):
        for method, name in SCORE:
            ours = fmam(args.fmam, 5, "train-step", "--method", method, "--backbone", name, "--batch", "8")
            eager, last = train_step(method, name, 8, False), train_step(method, name, 8, True)
            row({"train_step": method, "backbone": name, "batch": 8}, {
                "fmam": ours,
                "torch": lambda: median_ms(eager, 5),
                "torch channels_last": lambda: median_ms(last, 5),
            })


if __name__ == "__main__":
    main()
