"""Checks a running binary of fmam: load, malformed requests, restarts. Python's own library only, and wrk for the load.

    python3 tests/serve/check.py --fmam target/release/fmam --model MODEL --image IMAGE [--requests 10000] [--only load]

Starts `fmam serve` on a free port of loopback, and prints a line of JSON for each check. The exit code is 1 where one
fails. MODEL is a folder that `fmam fit` wrote, IMAGE a PNG file of its product.
"""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

HERE = Path(__file__).parent


class Server:
    """A `fmam serve` of its own process, on a free port."""

    def __init__(self, fmam, model, *options):
        command = [fmam, "serve", "--model", model, "--port", "0", "--log", "json", *options]
        environment = dict(os.environ, FMAM_LOG="warn,fmam=info,fmam_serve::access=warn")
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r'"address":"http://127\.0\.0\.1:(\d+)/"', line)
            if found:
                self.port = int(found[1])
                break
        else:
            raise SystemExit("the server did not start: " + "".join(self.log))
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def rss(self):
        """MiB of memory in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def raw(self, data, wait=20):
        """The status of the answer to these bytes; None where the connection is closed without one."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as sock:
            try:
                sock.sendall(data)
            except OSError:
                pass  # It has answered and closed already.
            answer = b""
            try:
                while chunk := sock.recv(65536):
                    answer += chunk
                    if b"\r\n\r\n" in answer:
                        break
            except OSError:
                pass
        found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
        return int(found[1]) if found else None

    def answered(self):
        """Predictions that were answered with 200."""
        found = re.search(r'fmam_requests_total\{route="/v1/predict",status="200"\} (\d+)', self.ask("GET", "/metrics")[1].decode())
        return int(found[1]) if found else 0

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(60)


def png(width, height, size, rows=b""):
    """A PNG that claims a size, of `size` bytes or a few more."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return head + chunk(b"IDAT", zlib.compress(rows) + bytes(max(0, size - len(head) - 24)))


def request(path, body, kind="image/png", method="POST", extra="", length=None):
    length = len(body) if length is None else length
    head = (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nConnection: close\r\n"
            f"Content-Length: {length}\r\n{extra}\r\n")
    return head.encode("latin-1") + body


def form(*files):
    body = b""
    for name, data in files:
        body += b'--B\r\nContent-Disposition: form-data; name="f"; filename="' + name + b'"\r\n\r\n' + data + b"\r\n"
    return body + b"--B--\r\n"


def malformed(image, random):
    """One malformed request: its kind and its bytes."""
    predict = "/v1/predict"
    cut = random.randrange(1, len(image) - 200)
    damaged = bytearray(image)
    # The size of the image among them, which a checksum guards.
    for place in [random.randrange(16, 24), *random.sample(range(24, 60), random.randrange(1, 20))]:
        damaged[place] ^= random.randrange(1, 256)
    noise = bytes(random.randrange(256) for _ in range(random.randrange(1, 4000)))
    multipart = "multipart/form-data; boundary=B"
    return random.choice([
        ("wrong type", request(predict, image, random.choice(["text/plain", "application/json", "video/mp4", "x"]))),
        ("truncated image", request(predict, image[:cut])),
        ("truncated image in a form", request(predict, form((b"a.png", image[:cut])), multipart)),
        ("damaged header of an image", request(predict, bytes(damaged))),
        ("noise", request(predict, noise)),
        ("noise behind a known signature", request(predict, random.choice(
            [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"MM\0*", b"GIF89a", b"BM", b"P6\n", b"RIFF\0\0\0\0WEBP"]
        ) + noise)),
        ("1 KB that claims 40000 x 40000", request(predict, png(40000, 40000, 1000))),
        ("claims 2^31 x 2^31", request(predict, png(2**31 - 1, 2**31 - 1, 1000))),
        ("claims to be small and is not", request(predict, png(random.randrange(1, 3000), 2000, 1000))),
        ("TIFF with wild offsets", request(predict, b"II*\0" + struct.pack("<I", random.randrange(2**32)) + noise)),
        ("an empty body", request(predict, b"")),
        ("a body longer than the limit", request(predict, b"", length=10**12)),
        ("a length that is no number", request(predict, b"x", length="9x")),
        ("a form without its boundary", request(predict, form((b"a", image)), "multipart/form-data")),
        ("a form that breaks off", request(predict, form((b"a", image))[:-random.randrange(9, 90)], multipart)),
        ("a form of many files", request(predict, form(*[(b"a", b"x")] * 40), multipart)),
        ("a form with a path as name", request(predict, form((b"../../../etc/passwd", noise)), multipart)),
        ("a huge header", request(predict, image, extra="X: " + "y" * 100_000 + "\r\n")),
        ("many headers", request(predict, image, extra="".join(f"X{n}: y\r\n" for n in range(300)))),
        ("a path trick", request(random.choice(["/../../etc/passwd", "/v1/../../etc/shadow", "/%2e%2e/%2e%2e/etc/passwd",
                                                "//etc/passwd", "/v1/predict/../../x", "/v1/predict%00.png", "/."]), image)),
        ("an unknown model", request(predict + "?model=../../etc", image)),
        ("an unknown parameter", request(predict + f"?x{random.randrange(99)}=1", image)),
        ("another method", request(predict, b"", method=random.choice(["GET", "PUT", "DELETE", "PATCH"]))),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise + b"\r\n\r\n"),
        ("no host", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
        ("another host", b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
        ("another origin", request(predict, image, extra="Origin: https://evil.example\r\n")),
        ("a judgement where none is kept", request("/v1/collect?label=good", image)),
    ])


def check_malformed(options):
    server = Server(options.fmam, options.model, "--timeout", "2")
    image, chance = options.image.read_bytes(), random.Random(0)
    rss, counts, wrong = [server.rss()], {}, []
    # A slow body and a slow header hold a connection for seconds: some of them, side by side.
    slow = [request("/v1/predict", b"abc", length=1000), b"GET / HTTP/1.1\r\nHost: local"] * 10
    results = [None] * len(slow)

    def hold(index):
        results[index] = server.raw(slow[index])

    holders = [threading.Thread(target=hold, args=[index]) for index in range(len(slow))]
    for holder in holders:
        holder.start()
    for number in range(options.malformed - len(slow)):
        if number and number % 1000 == 0:
            rss.append(server.rss())
        kind, data = malformed(image, chance)
        status = server.raw(data)
        counts[status] = counts.get(status, 0) + 1
        if status is None or not 400 <= status < 500:
            wrong.append(f"{kind}: {status}")
    for holder in holders:
        holder.join()
    for index, status in enumerate(results):
        counts[status] = counts.get(status, 0) + 1
        # A header that never ends belongs to no request: the connection is closed.
        if status != 408 and not (index % 2 and status is None):
            wrong.append(f"slow: {status}")
    rss.append(server.rss())
    after = server.ask("POST", "/v1/predict", image)[0]
    # The allocator keeps the room of the largest image that each thread has decoded, 3000 x 2000 pixels here. That is
    # a bound, whatever the number of requests: 18 MiB for each of the threads that decode, listen and score.
    is_bounded = max(rss) < rss[0] + 18 * (os.cpu_count() * 2 + 4)
    result = {"check": "malformed", "requests": options.malformed, "statuses": {str(k): v for k, v in sorted(
        counts.items(), key=str)}, "wrong": wrong[:20], "rss_mib": [round(mib, 1) for mib in rss],
        "a good request after them": after, "panics": sum("panic" in line for line in server.log), "exit": server.end()}
    return result, not wrong and is_bounded and after == 200 and result["exit"] == 0 and result["panics"] == 0


def check_load(options):
    server = Server(options.fmam, options.model, *options.serve)
    rows = []
    for connections in options.connections:
        rss, before = [round(server.rss(), 1)], server.answered()
        command = ["wrk", "-t1", f"-c{connections}", "-d3600s", "--timeout", "60s", "-s", HERE / "post.lua",
                   f"http://127.0.0.1:{server.port}/", "--", options.image, "/v1/predict"]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # wrk counts seconds and not requests; an interrupt ends it with its figures.
        while server.answered() - before < options.requests and load.poll() is None:
            time.sleep(0.25)
            rss.append(round(server.rss(), 1))
        load.send_signal(signal.SIGINT)
        output = load.communicate(timeout=120)[0]
        half = rss[len(rss) // 4:]
        row = json.loads(output.strip().splitlines()[-1])
        rows.append({"check": "load", "connections": connections, **row, "rss_mib_first": half[0],
                     "rss_mib_last": rss[-1], "rss_mib_most": max(rss)})
    batches = [line for line in server.ask("GET", "/metrics")[1].decode().splitlines() if line.startswith("fmam_batch_images_")]
    images, count = (float(next(l for l in batches if l.startswith(f"fmam_batch_images_{k} ")).split()[1]) for k in ("sum", "count"))
    rows.append({"check": "batches", "images": images, "batches": count, "mean": round(images / count, 2), "exit": server.end()})
    return rows, all(row.get("not_200", 0) == 0 and row.get("socket_errors", 0) == 0 for row in rows)


def check_restart(options):
    """kill -9 under load, and a start from the same folders, also while a model is being replaced."""
    image = options.image.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        shutil.copytree(options.model, model)
        scores = set()
        for _ in range(5):
            server = Server(options.fmam, str(model), "--reload", "1", "--collect", str(Path(folder) / "judged"))
            over = threading.Event()

            def send():
                while not over.is_set():
                    try:
                        server.ask("POST", "/v1/predict", image)
                        server.ask("POST", "/v1/collect?label=good", image)
                    except OSError:
                        pass

            clients = [threading.Thread(target=send) for _ in range(4)]
            for client in clients:
                client.start()
            status, body = server.ask("POST", "/v1/predict", image)
            scores.add((status, json.loads(body)["images"][0]["score"]))
            os.utime(model / "model.toml")
            time.sleep(random.Random(len(scores)).uniform(0.5, 2.5))
            server.end(signal.SIGKILL)
            over.set()
            for client in clients:
                client.join()
        kept = [path.name for path in (Path(folder) / "judged" / "good").iterdir() if not path.name.startswith(".partial-")]
    result = {"check": "kill -9", "starts": 5, "scores": sorted(scores), "kept": len(kept)}
    return result, len(scores) == 1 and len(kept) == 1


def check_stop(options):
    """SIGTERM under load: every request that the server took has its answer."""
    image, totals = options.image.read_bytes(), {"answered": 0, "lost": 0, "refused": 0}
    for keeps in (False, True):
        for _ in range(options.stops):
            server = Server(options.fmam, options.model)
            lock, over = threading.Lock(), threading.Event()

            def count(what):
                with lock:
                    totals[what] += 1

            def send():
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                while not over.is_set():
                    try:
                        if connection.sock is None:
                            connection.connect()
                    except OSError:
                        return count("refused")
                    try:
                        connection.request("POST", "/v1/predict", image, {} if keeps else {"Connection": "close"})
                        answer = connection.getresponse()
                        answer.read()
                        count("answered" if answer.status == 200 else "lost")
                    except (OSError, http.client.HTTPException):
                        count("lost")
                        connection.close()

            clients = [threading.Thread(target=send) for _ in range(8)]
            for client in clients:
                client.start()
            time.sleep(1)
            code = server.end()
            over.set()
            for client in clients:
                client.join()
            if code != 0:
                return {"check": "SIGTERM", "exit": code}, False
    return {"check": "SIGTERM", "stops": 2 * options.stops, **totals}, totals["lost"] == 0 and totals["answered"] > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fmam", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--image", required=True, type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--malformed", type=int, default=1_000)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--serve", nargs="*", default=[], help="options of `fmam serve` under load, as --serve=--batch=1")
    parser.add_argument("--only", choices=["load", "malformed", "restart", "stop"])
    options = parser.parse_args()
    checks = {"malformed": check_malformed, "restart": check_restart, "stop": check_stop, "load": check_load}
    passed = True
    for name, check in checks.items():
        if options.only in (None, name):
            rows, fine = check(options)
            for row in rows if isinstance(rows, list) else [rows]:
                print(json.dumps({**row, "passed": fine}), flush=True)
            passed &= fine
    sys.exit(not passed)


if __name__ == "__main__":
    main()
