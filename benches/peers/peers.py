"""Times fmam beside PyTorch, ONNX Runtime and OpenVINO on this machine. See run.sh.

Every measurement is the median of several repetitions; the candidates of one row run in turn, see turns.py. Each row says which share of the machine's peak a candidate reaches: its multiply-adds, counted as the direct convolutions that they
stand for, over the speed of a large matrix product in the same run.
"""

import argparse
import json
import os
import tempfile
import time

import torch
from torch import nn

from networks import Scoring, decoder, encoder
from turns import THREADS, bench, cpu, median_ms, middle, print_row, take_turns

FORWARD = ["resnet18", "wide-resnet50-2", "efficientnet-lite0"]
SCORE = [("nkd", "resnet18"), ("rkd", "resnet18"), ("nkd", "efficientnet-lite0"), ("rkd", "efficientnet-lite0")]
PEAK = float("nan")


def peak_gflops(side=2048):
    """The fastest of several large matrix products."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2e-9 * side**3 / best


def gflop(net, *inputs):
    """Billions of multiplications and additions of a network's convolutions."""
    total = 0

    def add(module, given, result):
        nonlocal total
        weight = module.weight
        per_output = weight[0].numel() if isinstance(module, nn.Conv2d) else weight[:, 0].numel() // module.stride[0] ** 2
        total += 2 * result.numel() * per_output

    hooks = [m.register_forward_hook(add) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    with torch.inference_mode():
        net(*inputs)
    for hook in hooks:
        hook.remove()
    return total * 1e-9


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


def train_step(method, name, batch, channels_last, cached):
    """`cached`: with features of the teacher that are kept from an earlier epoch."""
    teacher = encoder(name).eval().requires_grad_(False)
    student = (encoder(name) if method == "nkd" else decoder(name)).train()
    x = images(batch)
    if channels_last:
        teacher, student = (n.to(memory_format=torch.channels_last) for n in (teacher, student))
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(student.parameters())
    with torch.no_grad():
        kept = teacher(x)

    def work():
        with torch.no_grad():
            target = kept if cached else teacher(x)
        output = student(x if method == "nkd" else target)
        loss = sum((1 - nn.functional.cosine_similarity(t, s)).mean() for t, s in zip(target, output))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return work


def fmam(binary, iters, *args):
    return lambda: bench(binary, *args, "--iters", iters)["median_ms"]


def row(what, work, candidates):
    """`candidates`: name to a function that gives milliseconds; `work`: billions of operations."""
    turns = take_turns(candidates)
    share = {name: round(work / middle(values) * 1e3 / PEAK, 2) for name, values in turns.items()}
    print_row({**what, "threads": THREADS}, turns, share_of_peak=share)


def inference(what, net, batch, iters, ours):
    path, work = onnx_file(net, batch), gflop(net, images(batch))
    plain, last, ort, vino = (
        torch_forward(folded(net), batch, False), torch_forward(folded(net), batch, True), onnxruntime(path, batch),
        openvino(path),
    )
    row({**what, "batch": batch}, work, {
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
    global PEAK
    PEAK = peak_gflops()
    print(json.dumps({**cpu(), "torch": torch.__version__, "peak_gflops": round(PEAK)}), flush=True)
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
            teacher = gflop(encoder(name), images(8))
            student = gflop(Scoring(name, method), images(8)) - teacher
            for cached in (False, True):
                flags = ["--cached-teacher"] if cached else []
                ours = fmam(args.fmam, 5, "train-step", "--method", method, "--backbone", name, "--batch", "8", *flags)
                eager, last = (train_step(method, name, 8, channels_last, cached) for channels_last in (False, True))
                # The student forward, and twice as much backward.
                work = 3 * student + (0 if cached else teacher)
                row({"train_step": method, "backbone": name, "batch": 8, "cached_teacher": cached}, work, {
                    "fmam": ours,
                    "torch": lambda: median_ms(eager, 5),
                    "torch channels_last": lambda: median_ms(last, 5),
                })


if __name__ == "__main__":
    main()
