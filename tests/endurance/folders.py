"""Folders that go away, a camera that writes slowly, clocks that jump, all on the local disk and without rights."""

import os
import shutil
import time
from pathlib import Path

import pictures
from long_work import lines_of, serving
from program import FAKETIME, Program, wait_for


def watching(options, camera, model, *more, **how):
    """A watch that has had its first look."""
    program = Program(options.fmam, "predict", "--watch", camera, "--model", model, "--json", *more, **how)
    (camera / "first.png").write_bytes(pictures.png(1))
    if not wait_for(lambda: "first.png" in program.images()):
        raise SystemExit("the watch gave no verdict: " + "".join(program.log))
    return program


def check_folder(options, work, model):
    """The watched folder is deleted and made again, twice, with the same names the second time."""
    camera = work / "camera"
    camera.mkdir()
    program = watching(options, camera, model)
    told, expected = [], ["first.png"]
    for round_ in range(2):
        shutil.rmtree(camera)
        told.append(wait_for(lambda: program.count("cannot read") == round_ + 1, 10))
        time.sleep(1.5)
        camera.mkdir()
        for number in range(20):
            (camera / f"{number:04}.png").write_bytes(pictures.png(100 * round_ + number))
        expected += [f"{number:04}.png" for number in range(20)]
        told.append(wait_for(lambda: program.count("can be read again") == round_ + 1, 10))
        wait_for(lambda: len(program.images()) >= len(expected), 20)
    stopped = program.end()
    found = program.images()
    passed = all(told) and sorted(found) == sorted(expected) and stopped is not None and stopped < 5
    return {"check": "deleted folder", "told": told, "images": len(found), "expected": len(expected),
            "seconds to stop": stopped, "exit": program.process.returncode}, passed and program.process.returncode == 0


def check_out(options, work, model):
    """The folder of the results is deleted, or renamed, while results are written to it."""
    rows = []
    for how in ("deleted", "renamed"):
        camera, out = work / how, work / f"out-{how}"
        camera.mkdir()
        program = watching(options, camera, model, "--out", out)
        if how == "deleted":
            shutil.rmtree(out)
        else:
            out.rename(work / "kept")
        (camera / "second.png").write_bytes(pictures.png(2))
        ended = wait_for(lambda: program.process.poll() is not None, 20)
        told = program.says("was removed or replaced while results were written to it")
        # The same command scores what has no line.
        again = Program(options.fmam, "predict", "--watch", camera, "--model", model, "--json", "--out", out)
        wait_for(lambda: len(again.images()) == 2, 20)
        again.end()
        names = sorted(Path(line["image"]).name for line in lines_of(out))
        rows.append({"how": how, "ended": ended, "exit": program.process.poll(), "told": told, "lines after": names})
    passed = all(row["ended"] and row["exit"] == 1 and row["told"] and row["lines after"] == ["first.png", "second.png"]
                 for row in rows)
    return {"check": "deleted --out", "rows": rows}, passed


def check_camera(options, work, model):
    """A file that grows over seconds, one that is renamed into place, one that is rewritten, one that stops half way."""
    camera = work / "camera"
    camera.mkdir()
    program = watching(options, camera, model)
    whole = pictures.png(7)
    # It grows over five seconds, with pauses that are longer than the time between two looks.
    with open(camera / "grows.png", "wb") as file:
        for part in range(5):
            file.write(whole[part * len(whole) // 5:(part + 1) * len(whole) // 5])
            file.flush()
            time.sleep(1)
    # It has its whole length at once, and its content later.
    with open(camera / "holes.png", "wb") as file:
        file.truncate(len(whole))
        time.sleep(1)
        file.write(whole)
    (work / "hidden").write_bytes(whole)
    (work / "hidden").rename(camera / "renamed.png")
    (camera / ".partial.png").write_bytes(whole[:100])
    # It stands still for longer than the program is patient, so that it is told, and is finished later.
    (camera / "stops.png").write_bytes(whole[:len(whole) // 2])
    told = wait_for(lambda: program.says("stops.png"), 20)
    (camera / "stops.png").write_bytes(whole)
    done = wait_for(lambda: {"grows.png", "holes.png", "renamed.png", "stops.png"} <= set(program.images()), 20)
    # A name that is used for the next part.
    for number in (8, 9):
        before = program.images().count("first.png")
        with open(camera / "first.png", "r+b") as file:
            file.truncate(0)
            time.sleep(0.3)
            file.write(pictures.png(number))
        done &= wait_for(lambda: program.images().count("first.png") == before + 1, 20)
    # A file that may not be read at first. To root everything is allowed, so that only others see an error.
    (camera / "locked.png").write_bytes(whole)
    (camera / "locked.png").chmod(0)
    time.sleep(1.5)
    (camera / "locked.png").chmod(0o644)
    done &= wait_for(lambda: "locked.png" in program.images(), 60)
    stopped = program.end()
    found = program.images()
    counts = {name: found.count(name) for name in sorted(set(found))}
    errors = [line.strip() for line in program.log if line.startswith("error: ")]
    passed = done and told and counts == {"first.png": 3, "grows.png": 1, "holes.png": 1, "locked.png": 1,
                                          "renamed.png": 1, "stops.png": 1} and len(errors) <= 2
    return {"check": "slow camera", "verdicts": counts, "errors": errors, "seconds to stop": stopped,
            "exit": program.process.returncode}, passed and program.process.returncode == 0


def check_clock(options, work, model):
    """Times of files in the past and in the future, and a clock of the system that is set back and forth."""
    camera = work / "camera"
    camera.mkdir()
    clock = work / "clock"
    clock.write_text("+0\n")
    how = {} if FAKETIME is None else {"clock_file": clock}
    program = watching(options, camera, model, **how)
    image, expected, seconds = pictures.png(3), ["first.png"], []
    for number, stamp in enumerate((0, 1, 10**9, time.time() + 86400, 2**31 - 1, 2**33)):
        name = f"stamp{number}.png"
        (camera / name).write_bytes(image)
        os.utime(camera / name, (stamp, stamp))
        expected.append(name)
    wait_for(lambda: len(program.images()) == len(expected), 20)
    jumps = [] if FAKETIME is None else ["+1h", "-1h", "+3650d", "-7300d", "+0"]
    server, port = (None, None) if FAKETIME is None else serving(options, model, "--reload", "1", clock_file=clock)
    statuses = []
    for number, jump in enumerate(jumps):
        clock.write_text(f"{jump}\n")
        time.sleep(0.3)
        name, start = f"jump{number}.png", time.monotonic()
        (camera / name).write_bytes(image)
        expected.append(name)
        wait_for(lambda: name in program.images(), 30)
        seconds.append(round(time.monotonic() - start, 1))
        statuses.append(asked(port, image))
    stopped = program.end()
    stopped_server = server.end() if server else 0.0
    found = program.images()
    passed = found.count("first.png") == 1 and sorted(found) == sorted(expected) and None not in (stopped, stopped_server)
    passed &= all(second < 5 for second in seconds) and all(status == 200 for status in statuses)
    row = {"check": "clocks", "file times": 6, "jumps": jumps, "seconds to a verdict": seconds, "of the server": statuses,
           "images": len(found), "seconds to stop": [stopped, stopped_server]}
    if FAKETIME is None:
        row["skipped"] = "jumps of the clock: libfaketime is not installed"
    return row, passed


def asked(port, image):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/predict", image, {"Content-Type": "image/png"})
    return connection.getresponse().status
