"""Measures the peak resident memory and the seconds of a fit and of a prediction, one process each, of every method of `fmam` beside the
models of anomalib that have a counterpart here: PaDiM, PatchCore, STFPM (`nkd`) and reverse distillation (`rkd`).

MVTec AD *screw* at 256 x 256 on all threads: 64 training images, and 32 test images, half of them defective. One epoch where a method
trains, of the student and of the mapping, and no calibration, which anomalib has not either. All but reverse distillation have the embedded
EfficientNet-Lite0; that has a ResNet-18 with random weights on both sides, since anomalib's decoder needs a ResNet. A process is
measured from its start to its end: for anomalib that includes importing it, which the row `imports` has alone.

    FMAM_DATA=DATA bash benches/peers/run.sh memory [method ...]
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from turns import TURNS, middle, print_machine, undisturbed

SIDE = 256
PEERS = ["imports", "padim", "patchcore", "stfpm", "reverse-distillation"]


def subset(screw, folder, n_train=64, n_test=16):
    """A data set of links: the first training images, and the first test images of either kind."""
    train, test = folder / "train/good", folder / "test"
    defective = sorted(file for kind in (screw / "test").iterdir() if kind.name != "good" for file in kind.iterdir())
    # Evenly spread over the kinds of defects.
    defective = defective[:: len(defective) // n_test][:n_test]
    chosen = [(train, sorted((screw / "train/good").iterdir())[:n_train])]
    chosen.append((test, [*sorted((screw / "test/good").iterdir())[:n_test], *defective]))
    for target, files in chosen:
        target.mkdir(parents=True)
        for file in files:
            (target / f"{file.parent.name}-{file.name}").symlink_to(file.resolve())
    return train, test


def measured(command):
    """Seconds and MiB of a process. The memory of this one, which a new process begins with, is small: it imports nothing."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([str(arg) for arg in command], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"{command}: {errors.read().decode()}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def fmam_commands(args, method, data, folder):
    train, test = data
    model = folder / "model"
    fit = [args.fmam, "fit", train, "--method", method, "--image-size", SIDE, "--epochs", 1, "--calibration", "off"]
    if method.endswith("+fmam"):
        fit += ["--set", "mapping.epochs=1"]
    if method == "rkd resnet18":
        fit[fit.index(method)] = "rkd"
        fit += ["--backbone", "resnet18", "--weights", args.weights]
    return {"fit": [*fit, "--out", model, "--quiet"], "predict": [args.fmam, "predict", test, "--model", model, "--quiet"]}


def peer_commands(method, data, folder):
    run = lambda what, path: [sys.executable, "-W", "ignore", __file__, "--run", what, method, path, folder]
    return {"fit": run("fit", data[0]), "predict": run("predict", data[1])}


def run_peer(what, method, images, folder):
    """A fit or a prediction of anomalib, in a process of its own."""
    import lite0
    from anomalib.data import Folder, PredictDataset
    from anomalib.engine import Engine
    from anomalib.models import Padim, Patchcore, ReverseDistillation, Stfpm

    if method == "imports":
        return
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    common = {"pre_processor": lite0.pre_processor(), "visualizer": False, "evaluator": False}
    model = {
        "padim": lambda: Padim(backbone="efficientnet", layers=lite0.LAYERS, n_features=100, **common),
        "patchcore": lambda: Patchcore(
            backbone="efficientnet", layers=lite0.LAYERS[1:], coreset_sampling_ratio=0.01, **common),
        "stfpm": lambda: Stfpm(backbone="efficientnet", layers=lite0.LAYERS, **common),
        "reverse-distillation": lambda: ReverseDistillation(backbone="resnet18", **common),
    }[method]()
    quiet = {"logger": False, "enable_progress_bar": False}
    engine = Engine(accelerator="cpu", devices=1, max_epochs=1, default_root_dir=folder, num_sanity_val_steps=0, limit_val_batches=0, **quiet)
    checkpoint = pathlib.Path(folder) / "model.ckpt"
    if what == "fit":
        data = Folder(
            name="screw", normal_dir=images, train_batch_size=8 if method in ("stfpm", "reverse-distillation") else 32,
            num_workers=0, test_split_mode="none", val_split_mode="none",
        )
        engine.fit(model, datamodule=data)
        engine.trainer.save_checkpoint(checkpoint)
    else:
        engine.predict(model, dataset=PredictDataset(images), ckpt_path=checkpoint, return_predictions=True)


def main():
    if sys.argv[1] == "--run":
        return run_peer(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help="methods of fmam, and of anomalib as anomalib:NAME [default: all]")
    parser.add_argument("--fmam", required=True)
    parser.add_argument("--data", default=os.environ.get("FMAM_DATA"), help="folder with mvtec/screw")
    args = parser.parse_args()
    print_machine("anomalib", "torch", "timm")
    listed = subprocess.run([args.fmam, "list", "methods"], check=True, capture_output=True, text=True).stdout.split()
    names = [*listed, "rkd resnet18", *(f"anomalib:{name}" for name in PEERS)]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = subset(pathlib.Path(args.data) / "mvtec/screw", folder / "screw")
        args.weights = folder / "resnet18.pth"
        program = f"import torch, torchvision; torch.save(torchvision.models.resnet18().state_dict(), {str(args.weights)!r})"
        subprocess.run([sys.executable, "-c", program], check=True)
        for name in args.what or names:
            peer = name.removeprefix("anomalib:")
            figures = {"fit": [], "predict": []}
            for turn in range(TURNS):
                place = folder / f"{turn}-{name}"
                place.mkdir()
                is_peer = name != peer
                commands = peer_commands(peer, data, place) if is_peer else fmam_commands(args, name, data, place)
                for what, command in commands.items():

                    def run():
                        if what == "fit":
                            # An earlier try left a model.
                            shutil.rmtree(place / "model", ignore_errors=True)
                        return measured(command)

                    figures[what].append(undisturbed(run))
            line = {"method": name}
            for what, values in figures.items():
                seconds, mib = zip(*values)
                line[f"{what}_s"] = [round(v, 2) for v in (middle(seconds), min(seconds), max(seconds))]
                line[f"{what}_mib"] = [round(v) for v in (middle(mib), min(mib), max(mib))]
            print(json.dumps(line), flush=True)


main()
