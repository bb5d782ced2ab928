"""Running an exported graph in ONNX Runtime and in OpenVINO, on the CPU, in f32, one image a call."""

import statistics
import time

import numpy as np
import onnxruntime
import openvino

OUTPUTS = ("score", "map", "threshold", "defective")


class OnnxRuntime:
    """The graph in ONNX Runtime's CPU provider."""

    name = "ONNX Runtime"

    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, image):
        """The outputs by name for an image, uint8 [height, width, 3]."""
        return dict(zip(self.outputs, self.session.run(self.outputs, {"image": image})))


class OpenVino:
    """The graph in OpenVINO's CPU plugin, which would else compute in bf16 where the CPU has it."""

    name = "OpenVINO"

    def __init__(self, model, threads):
        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        model = model if isinstance(model, openvino.Model) else core.read_model(str(model))
        self.compiled = core.compile_model(model, "CPU", settings)
        self.request = self.compiled.create_infer_request()
        self.ports = {port.get_any_name(): port for port in self.compiled.outputs}

    def __call__(self, image):
        results = self.request.infer({"image": image})
        return {name: np.array(results[port]) for name, port in self.ports.items()}


ENGINES = (OnnxRuntime, OpenVino)


def median_seconds(engine, image, repeats, rounds=3):
    """The median time of a call, after three that are not measured: the least of `rounds` medians,
    since a machine that has other work to do only adds to a time."""
    medians = []
    for _ in range(3):
        engine(image)
    for _ in range(rounds):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            engine(image)
            times.append(time.perf_counter() - start)
        medians.append(statistics.median(times))
    return min(medians)
