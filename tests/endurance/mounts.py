"""Folders on file systems that go away: a loop mount, and FUSE whose server is killed or hangs. Needs root."""

import os
import shutil
import signal
import subprocess
import time

import pictures
from folders import watching
from program import wait_for


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


def missing(*programs):
    """The reason that the checks of mounts cannot run here, or None."""
    if os.geteuid() != 0:
        return "only root may mount"
    absent = [name for name in programs if shutil.which(name) is None]
    return f"{', '.join(absent)} is not installed" if absent else None


def check_loop(options, work, model):
    """A file system in a file is unmounted lazily while it is watched, and mounted again."""
    reason = missing("mkfs.ext4", "mount", "umount")
    if reason is None:
        disk, camera = work / "disk", work / "camera"
        with open(disk, "wb") as file:
            file.truncate(16 << 20)
        camera.mkdir()
        try:
            run("mkfs.ext4", "-q", disk)
            run("mount", "-o", "loop", disk, camera)
        except OSError as error:
            reason = str(error)
    if reason is not None:
        return {"check": "loop mount", "skipped": reason}, True
    try:
        program = watching(options, camera, model)
        expected, told = ["first.png"], []
        for round_ in range(3):
            expected += photographed(camera, round_)
            # Half of them are waiting when the folder goes away.
            time.sleep(0.3)
            run("umount", "-l", camera)
            told.append(wait_for(lambda: program.count("is another folder now") == 2 * round_ + 1, 10))
            time.sleep(1)
            mount_again(disk, camera)
            told.append(wait_for(lambda: program.count("is another folder now") == 2 * round_ + 2, 10))
            wait_for(lambda: len(program.images()) >= len(expected), 20)
        stopped = program.end()
        found = program.images()
    finally:
        subprocess.run(["umount", "-l", str(camera)], capture_output=True)
    passed = all(told) and sorted(found) == sorted(expected) and stopped is not None and stopped < 5
    return {"check": "loop mount", "unmounted": 3, "told": told, "images": len(found), "expected": len(expected),
            "seconds to stop": stopped, "exit": program.process.returncode}, passed and program.process.returncode == 0


def photographed(folder, round_):
    """Writes twenty pictures into a folder, at once; their names."""
    names = [f"{round_}-{number:02}.png" for number in range(20)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(pictures.png(number))
    return names


def mount_again(disk, camera):
    # The file system may be in use for a moment longer.
    for attempt in range(50):
        try:
            return run("mount", "-o", "loop", disk, camera)
        except OSError:
            if attempt == 49:
                raise
            time.sleep(0.1)


class Fuse:
    """A folder that bindfs, a server in user space, shows at another place."""

    def __init__(self, folder, camera):
        self.folder, self.camera = folder, camera
        self.start()

    def start(self):
        self.server = subprocess.Popen(["bindfs", "-f", str(self.folder), str(self.camera)])
        if not wait_for(lambda: os.path.ismount(self.camera), 10):
            raise OSError("bindfs did not mount")

    def kill(self):
        self.server.kill()
        self.server.wait()

    def unmount(self):
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGCONT)
        subprocess.run(["umount", "-l", str(self.camera)], capture_output=True)
        self.kill()


def served(work):
    """A folder, the place where a FUSE server shows it, and the server."""
    folder, camera = work / "server", work / "camera"
    folder.mkdir()
    camera.mkdir()
    return folder, camera, Fuse(folder, camera)


def check_fuse_killed(options, work, model):
    """The server of a FUSE mount is killed: every call says that it is not connected. It comes back later."""
    reason = missing("bindfs", "umount")
    if reason is not None:
        return {"check": "FUSE, killed", "skipped": reason}, True
    folder, camera, fuse = served(work)
    try:
        program = watching(options, camera, model)
        expected, told = ["first.png"], []
        for round_ in range(3):
            expected += photographed(folder, round_)
            time.sleep(0.3)
            fuse.kill()
            told.append(wait_for(lambda: program.count("cannot read") == round_ + 1, 10))
            if round_ == 1:
                time.sleep(4)  # Longer than the program is patient with an image.
            subprocess.run(["umount", "-l", str(camera)], check=True)
            fuse.start()
            told.append(wait_for(lambda: program.count("can be read again") == round_ + 1, 10))
            wait_for(lambda: len(program.images()) >= len(expected), 20)
        fuse.kill()
        wait_for(lambda: program.count("cannot read") == 4, 10)
        stopped = program.end()
        found = program.images()
    finally:
        fuse.unmount()
    passed = all(told) and sorted(found) == sorted(expected) and stopped is not None and stopped < 5
    return {"check": "FUSE, killed", "killed": 4, "told": told, "images": len(found), "expected": len(expected),
            "errors": program.count("error: "), "seconds to stop": stopped, "exit": program.process.returncode}, (
        passed and program.process.returncode == 0)


def check_fuse_hangs(options, work, model):
    """The server of a FUSE mount stands still: every call waits. It goes on once, and then never."""
    reason = missing("bindfs", "umount")
    if reason is not None:
        return {"check": "FUSE, hanging", "skipped": reason}, True
    folder, camera, fuse = served(work)
    try:
        program = watching(options, camera, model)
        fuse.server.send_signal(signal.SIGSTOP)
        (folder / "second.png").write_bytes(pictures.png(2))
        told = [wait_for(lambda: program.says("does not answer"), 30)]
        fuse.server.send_signal(signal.SIGCONT)
        told.append(wait_for(lambda: program.says("answers again"), 10))
        told.append(wait_for(lambda: "second.png" in program.images(), 20))
        fuse.server.send_signal(signal.SIGSTOP)
        time.sleep(2)
        stopped = program.end(seconds=20)
        code = program.process.returncode
    finally:
        fuse.unmount()
    return {"check": "FUSE, hanging", "told": told, "images": program.images(), "seconds to stop": stopped,
            "exit": code}, all(told) and stopped is not None and stopped < 5 and code == 0
