"""The model that the comparison drives, on KServe's Python server: it works for as long as it is asked to, or fails.

Usage: kserve_model.py PORT
"""

import sys
import time

import kserve
import uvicorn


class Toy(kserve.Model):
    """Instances are numbers of seconds; a negative one is a failure of the model."""

    def __init__(self):
        super().__init__("toy-net")
        self.ready = True

    def preprocess(self, payload, headers=None):
        time.sleep(0.002)
        return payload

    def predict(self, payload, headers=None):
        instances = payload["instances"]
        for seconds in instances:
            if seconds < 0:
                raise RuntimeError("the model failed, postprocess_ms: 1.0")
            time.sleep(seconds)
        return {"predictions": instances}


def main():
    port = int(sys.argv[1])
    # The server has no setting for its address; on its own it would listen on all of the machine's.
    everywhere = uvicorn.Config.__init__
    uvicorn.Config.__init__ = lambda self, *rest, **named: everywhere(self, *rest, **{**named, "host": "127.0.0.1"})
    kserve.ModelServer(http_port=port, enable_grpc=False, workers=1).start([Toy()])


if __name__ == "__main__":
    main()
