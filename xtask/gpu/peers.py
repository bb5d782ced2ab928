"""Times the training steps and the scoring of `fmam bench` in PyTorch on a GPU, eager and compiled: one JSON line each.

    python3 xtask/gpu/peers.py [--device cuda] [--batch 8,16,32] [--iters 20] [--backbones resnet18,...]
"""

import argparse
import json
import pathlib
import sys
import time

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "peers"))

from networks import Scoring, decoder, encoder  # noqa: E402


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def times(work, iters, device):
    for _ in range(3):
        work()
    wait(device)
    found = []
    for _ in range(iters):
        start = time.perf_counter()
        work()
        wait(device)
        found.append(1e3 * (time.perf_counter() - start))
    return sorted(found)


def train_step(method, name, x, numbers, compiled):
    device = x.device
    teacher = encoder(name).eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    student = (encoder(name) if method == "nkd" else decoder(name)).train().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(student.parameters(), fused=device.type == "cuda")

    def loss():
        with torch.autocast(device.type, torch.bfloat16, enabled=numbers == "bf16"):
            with torch.no_grad():
                target = teacher(x)
            output = student(x if method == "nkd" else target)
        pairs = zip(target, output)
        return sum((1 - nn.functional.cosine_similarity(t.float(), s.float())).mean() for t, s in pairs)

    loss = torch.compile(loss) if compiled else loss

    def work():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return work


def score(method, name, x, numbers, compiled):
    net = Scoring(name, method).eval().to(x.device, memory_format=torch.channels_last)
    net = torch.compile(net) if compiled else net

    def work():
        with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=numbers == "bf16"):
            net(x)

    return work


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", default="8,16,32")
    parser.add_argument("--iters", type=int, default=20)
    parser.add_argument("--backbones", default="resnet18,wide-resnet50-2,efficientnet-lite0")
    parser.add_argument("--methods", default="nkd,rkd")
    parser.add_argument("--numbers", default="f32,tf32,bf16")
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    for name in args.backbones.split(","):
        for method in args.methods.split(","):
            for what, make in (("train_step", train_step), ("score", score)):
                for numbers in args.numbers.split(","):
                    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = numbers == "tf32"
                    for batch in map(int, args.batch.split(",")):
                        x = (torch.rand(batch, 3, 256, 256) * 4 - 2).to(args.device, memory_format=torch.channels_last)
                        for compiled in (False,) if args.no_compile else (False, True):
                            # A compiled step takes half a minute to compile: the middle size alone.
                            if compiled and batch != 16:
                                continue
                            if args.device == "cuda":
                                torch.cuda.reset_peak_memory_stats()
                            torch._dynamo.reset()
                            found = times(make(method, name, x, numbers, compiled), args.iters, args.device)
                            line = {"peer": "torch.compile" if compiled else "torch", "what": what, "method": method,
                                    "backbone": name, "batch": batch, "numbers": numbers, "median_ms": found[len(found) // 2],
                                    "min_ms": found[0]}
                            if args.device == "cuda":
                                line["gpu_bytes"] = torch.cuda.max_memory_allocated()
                            print(json.dumps(line), flush=True)


main()
