"""A process that looks like a worker of TorchServe and holds GPU memory.

    model_service_worker.py --sock-name /tmp/.ts.sock.9000 --mebibytes 512

It uses CUDA's driver interface, which comes with the driver, so that nothing has to be installed: it allocates, keeps
the GPU busy by filling what it has allocated, and ends when its standard input ends.
"""

import argparse
import ctypes
import sys
import threading


def check(result, call):
    if result != 0:
        sys.exit(f"{call} answers {result}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sock-type")
    parser.add_argument("--sock-name", required=True)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--device", type=int, default=0)
    arguments = parser.parse_args()

    cuda = ctypes.CDLL("libcuda.so.1")
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    size = arguments.mebibytes << 20
    check(cuda.cuInit(0), "cuInit")
    check(cuda.cuDeviceGet(ctypes.byref(device), arguments.device), "cuDeviceGet")
    check(cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device), "cuCtxCreate_v2")
    check(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(size)), "cuMemAlloc_v2")
    print("ready", flush=True)

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        for pattern in range(200):
            check(cuda.cuMemsetD32_v2(memory, pattern, ctypes.c_size_t(size // 4)), "cuMemsetD32_v2")
        check(cuda.cuCtxSynchronize(), "cuCtxSynchronize")


main()
