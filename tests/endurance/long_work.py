"""Much work and many hours: 100,000 predictions, and days of `predict --watch` and `serve` in minutes."""

import collections
import http.client
import json
import os
import re
import time
from pathlib import Path

import pictures
from program import FAKETIME, Program, growth, wait_for

DAY = 24 * 3600
# Bytes for each image that a program remembers as scored: digests of its path and of its state, in tables that double.
REMEMBERED = 150


def lines_of(out):
    with open(out / "predictions.jsonl") as lines:
        return [json.loads(line) for line in lines]


def check_predict(options, work, model):
    """100,000 images: complete, in order, the same score for the same image, and nothing grows."""
    few = pictures.images(work / "few", 300)
    many = pictures.links(few, work / "many", options.images)
    with_pictures = [] if options.pictures else ["--no-pictures"]
    program = Program(options.fmam, "predict", many, "--model", model, "--out", work / "out", *with_pictures, keep=0)
    start = time.monotonic()
    while program.process.poll() is None:
        try:
            sample = program.sample()
            sample["done"] = program.n_out
        except (OSError, TypeError):
            break
        time.sleep(0.1)
    code, seconds = program.process.wait(60), time.monotonic() - start
    # Samples of the work itself; before the first verdict the program loads.
    samples = [sample for sample in program.samples if 0 < sample.get("done", 0)]
    figures, is_flat = growth(samples, REMEMBERED, options.images)
    lines = lines_of(work / "out")
    names = [Path(line["image"]).name for line in lines]
    scores = collections.defaultdict(set)
    for number, line in enumerate(lines):
        scores[number % len(few)].add(line["score"])
    is_complete = names == [f"{number:06}.png" for number in range(options.images)] and program.n_out == options.images
    is_same = all(len(of) == 1 for of in scores.values()) and len(set.union(*scores.values())) > 1
    return {"check": "predict", "images": len(lines), "complete": is_complete, "one score an image": is_same,
            "seconds": round(seconds, 1), "samples": len(samples), **figures, "exit": code}, (
        is_complete and is_same and is_flat and code == 0)


def check_watch(options, work, model):
    """A day of a camera with an image every two seconds, whose folder keeps the last 1000."""
    if FAKETIME is None:
        return {"check": "watch", "skipped": "libfaketime is not installed"}, True
    few = pictures.images(work / "few", 300)
    camera, out = work / "camera", work / "out"
    camera.mkdir()
    program = Program(options.fmam, "predict", "--watch", camera, "--model", model, "--out", out, "--no-pictures",
                      speed=options.speed, keep=0)
    count, pause = options.hours * 1800, 2 / options.speed
    start = time.monotonic()
    for number in range(count):
        os.link(few[number % len(few)], work / "new")
        os.rename(work / "new", camera / f"{number:06}.png")
        # The oldest is removed, but never one that is not scored yet.
        if number >= 1000:
            wait_for(lambda: program.n_out > number - 1000 or program.process.poll() is not None)
            (camera / f"{number - 1000:06}.png").unlink()
        if number % max(1, count // 400) == 0:
            program.sample()
        time.sleep(max(0.0, start + number * pause - time.monotonic()))
    wait_for(lambda: program.n_out >= count, 120)
    program.sample()
    took = time.monotonic() - start
    stopped = program.end()
    figures, is_flat = growth(program.samples, REMEMBERED, count)
    names = [Path(line["image"]).name for line in lines_of(out)]
    is_complete = sorted(names) == [f"{number:06}.png" for number in range(count)]
    return {"check": "watch", "simulated hours": round(took * options.speed / 3600, 1), "images": len(names),
            "each once": is_complete, "seconds": round(took, 1), **figures, "seconds to stop": stopped,
            "exit": program.process.returncode}, (
        is_complete and is_flat and stopped is not None and program.process.returncode == 0)


def check_backlog(options, work, model):
    """A watched folder that holds 100,000 images already."""
    few = pictures.images(work / "few", 300)
    camera = pictures.links(few, work / "camera", options.images)
    program = Program(options.fmam, "predict", "--watch", camera, "--model", model, "--out", work / "out",
                      "--no-pictures", keep=0)
    start = time.monotonic()
    while program.n_out < options.images and program.process.poll() is None and time.monotonic() - start < 3600:
        program.sample()
        time.sleep(0.25)
    took = time.monotonic() - start
    idle = time.monotonic()
    before = cpu_seconds(program)
    time.sleep(5)
    share = (cpu_seconds(program) - before) / (time.monotonic() - idle)
    program.sample()
    stopped = program.end()
    figures, is_flat = growth(program.samples, 2 * REMEMBERED, options.images)
    names = [Path(line["image"]).name for line in lines_of(work / "out")]
    is_complete = sorted(names) == [f"{number:06}.png" for number in range(options.images)]
    return {"check": "backlog", "images": len(names), "each once": is_complete, "seconds": round(took, 1), **figures,
            "share of a core when idle": round(share, 3), "seconds to stop": stopped,
            "exit": program.process.returncode}, is_complete and is_flat and stopped is not None and stopped < 10


def cpu_seconds(program):
    fields = Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serving(options, model, *more, **how):
    """A server on a free port, and the port."""
    program = Program(options.fmam, "serve", "--model", model, "--port", "0", "--log", "json", *more, **how)
    found = None

    def has_port():
        nonlocal found
        found = next((m for line in list(program.log) if (m := re.search(r'127\.0\.0\.1:(\d+)/"', line))), None)
        return found is not None or program.process.poll() is not None

    if not wait_for(has_port) or found is None:
        raise SystemExit("the server did not start: " + "".join(program.log))
    return program, int(found[1])


def check_serve(options, work, model):
    """A day of a line that asks every two seconds, with bad requests, and a model that is replaced every hour."""
    if FAKETIME is None:
        return {"check": "serve", "skipped": "libfaketime is not installed"}, True
    images = [path.read_bytes() for path in pictures.images(work / "few", 300)]
    program, port = serving(options, model, "--reload", "5", "--timeout", "3600", speed=options.speed)
    count, pause = options.hours * 1800, 2 / options.speed
    statuses, scores = collections.Counter(), collections.defaultdict(set)
    connection, reopened, start = None, 0, time.monotonic()
    for number in range(count):
        which = number % len(images)
        is_bad = number % 50 == 49
        for attempt in range(100):
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                body = images[which][:200] if is_bad else images[which]
                connection.request("POST", "/v1/predict", body, {"Content-Type": "image/png"})
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                # The server closes a connection that rests for ten of its seconds, which are a blink here.
                connection, reopened = None, reopened + 1
                if attempt == 99:
                    raise
        statuses[("bad" if is_bad else "good", answer.status)] += 1
        if answer.status == 200:
            scores[which].add(json.loads(text)["images"][0]["score"])
        if number % 1800 == 1799:
            os.utime(model / "model.toml")
        if number % max(1, count // 400) == 0:
            program.sample()
        time.sleep(max(0.0, start + number * pause - time.monotonic()))
    took = time.monotonic() - start
    program.sample()
    reloads = program.count("its detector is in use")
    stopped = program.end()
    figures, is_flat = growth(program.samples)
    # 400 or 422 for an image that breaks off.
    is_right = all((kind == "good") == (status == 200) and status < 500 for kind, status in statuses)
    is_same = all(len(of) == 1 for of in scores.values())
    return {"check": "serve", "simulated hours": round(took * options.speed / 3600, 1),
            "statuses": {f"{kind} {status}": n for (kind, status), n in sorted(statuses.items())}, "reloads": reloads,
            "connections opened anew": reopened,
            "one score an image": is_same, "seconds": round(took, 1), **figures, "seconds to stop": stopped,
            "exit": program.process.returncode}, (
        is_right and is_same and is_flat and reloads > 0 and program.process.returncode == 0)
