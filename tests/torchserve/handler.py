"""A TorchServe handler without weights: every metric it emits follows from the request body.

A body is `<what> <n>`. Because no value depends on time or chance, the same requests give the same counters,
gauges and histograms in every metrics mode of the server, so the modes can be compared number by number.
The names that `metrics.yaml` beside this file lacks are left to the server's auto-detection on purpose.
"""

import os
import time

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

# Legal label values that a careless escaper or splitter gets wrong.
TAGS = ['say "hi"', "back\\slash", "naïve café 🙂", "a=b{c}", " blank ends ", "-"]


class Handler:
    """TorchServe looks for a class with `initialize` and `handle`."""

    def initialize(self, context):
        self.model = context.manifest["model"]["modelName"]
        loads = context.metrics.add_metric_to_cache("ModelLoads", "count", ["ModelName"])
        loads.add_or_update(1, [self.model])

    def handle(self, data, context):
        started = time.time()
        answers = []
        for index, row in enumerate(data):
            what, n = row["body"].split()
            if what == "raise":
                raise ValueError("the body asked for an exception")
            if what == "memory":
                raise MemoryError("the body asked for it")
            if what == "die":
                # The worker process goes away in the middle of a request; the server starts another.
                os._exit(1)
            self.emit(context.metrics, index, int(n))
            if what == "late":
                raise ValueError("the body asked for an exception after the metrics were emitted")
            if what == "teapot":
                context.set_response_status(code=418, phrase="I'm a teapot", idx=index)
            answers.append(f"{self.model} {n}")
        # As TorchServe's own handlers do: once for the whole batch, so its line carries all request ids.
        context.metrics.add_time("HandlerTime", round((time.time() - started) * 1000, 2))
        return answers

    def emit(self, metrics, index, n):
        """All metrics of one request. `ItemsHandled` comes last: once it is seen, all others are."""
        declared = metrics.get_metric("BytesSeen", MetricTypes.COUNTER)
        declared.add_or_update(1000 + n, ["png" if n % 2 else "jpeg", self.model])
        # Tenths have no exact double, so their sum is right only when each line is added in order.
        metrics.add_counter("ScoreTotal", n / 10, index)
        metrics.add_metric("Detections", n % 4, "objects", index, [Dimension("Class", "traffic light")])
        metrics.add_time("PreprocessTime", n * 0.35, index, "ms", [Dimension("Stage", "resize")])
        metrics.add_size("InputSize", n + 0.5, index, "kB")
        metrics.add_percent("Confidence", 100 - n % 50, index)
        metrics.add_time("DecodeSeconds", n / 1000, index, "s", [], MetricTypes.HISTOGRAM)
        sizes = metrics.get_metric("InputBytes", MetricTypes.HISTOGRAM)
        sizes.add_or_update(n * 0.7, [self.model])

        # From here on: nothing that metrics.yaml knows. First with the plain calls, then the awkward ones.
        metrics.add_metric("ScoreHist", n / 8, "score", index, [], MetricTypes.HISTOGRAM)
        metrics.add_size("ActivationSize", n * 1.5, index)
        metrics.add_time("WarmSeconds", n / 16, index, "s")
        if n % 5 == 0:
            metrics.add_error("LowLight", 1)
        tagged = metrics.add_metric_to_cache("Tagged", "things", ["Tag", "ModelName"])
        tagged.add_or_update(n / 3, [TAGS[n % len(TAGS)], self.model])
        metrics.add_counter("Tiny", n * 1e-7, index)
        metrics.add_counter("Huge", n * 1e9, index)
        # Reaches the log, but its name is illegal for Prometheus, so the endpoint never has it.
        metrics.add_metric("2xxShare", 1, "ratio", index)
        # Never reaches the log: the frontend cannot read these values.
        metrics.add_metric("NotANumber", float("nan"), "score", index, [], MetricTypes.GAUGE)
        metrics.add_metric("TooHuge", 1e16 * (n + 1), "score", index, [], MetricTypes.GAUGE)

        handled = metrics.get_metric("ItemsHandled", MetricTypes.COUNTER)
        handled.add_or_update(1, [self.model])
