"""Asks the driver what inferometer asks it, and prints a scenario that the fake NVML replays.

    record.py > fixtures/nvml/h100.scenario

The functions and their arguments are those of tests/fake-nvml; whatever the driver answers is written down, errors as
well. Serial numbers and UUIDs are replaced: a recording is for everybody to read.
"""

import ctypes
import sys

TEXTS = ["nvmlDeviceGetName", "nvmlDeviceGetVbiosVersion"]
NUMBERS = {  # Function: its first arguments, its results.
    "nvmlDeviceGetMinorNumber": ([None], ["u"]),
    "nvmlDeviceGetTemperature": ([0], ["u"]),
    "nvmlDeviceGetTemperatureThreshold": ([0, 1], ["u"]),
    "nvmlDeviceGetPowerUsage": ([None], ["u"]),
    "nvmlDeviceGetEnforcedPowerLimit": ([None], ["u"]),
    "nvmlDeviceGetClockInfo": ([0, 1, 2, 3], ["u"]),
    "nvmlDeviceGetMaxClockInfo": ([0, 1, 2, 3], ["u"]),
    "nvmlDeviceGetNumFans": ([None], ["u"]),
    "nvmlDeviceGetFanSpeed_v2": ([0, 1, 2, 3], ["u"]),
    "nvmlDeviceGetPerformanceState": ([None], ["u"]),
    "nvmlDeviceGetCurrentClocksThrottleReasons": ([None], ["U"]),
    "nvmlDeviceGetSupportedClocksThrottleReasons": ([None], ["U"]),
    "nvmlDeviceGetEncoderUtilization": ([None], ["u", "u"]),
    "nvmlDeviceGetDecoderUtilization": ([None], ["u", "u"]),
    "nvmlDeviceGetCurrPcieLinkGeneration": ([None], ["u"]),
    "nvmlDeviceGetCurrPcieLinkWidth": ([None], ["u"]),
    "nvmlDeviceGetSupportedEventTypes": ([None], ["U"]),
    "nvmlDeviceGetMaxMigDeviceCount": ([None], ["u"]),
}
FIELDS = [3, 4, 5, 6, 29, 30, 31, 74, 75, 76, 77, 78, 79, 82, 83, 94, 142, 143, 144, 145, 197, 198, 230]
TYPES = {"u": ctypes.c_uint, "U": ctypes.c_ulonglong}
UNSIGNED_INT = 1


class Memory(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint)] + [
        (name, ctypes.c_ulonglong) for name in ("total", "reserved", "free", "used")
    ]


class Bar1(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class Field(ctypes.Structure):
    _fields_ = [
        ("id", ctypes.c_uint),
        ("scope", ctypes.c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latency", ctypes.c_longlong),
        ("type", ctypes.c_uint),
        ("result", ctypes.c_uint),
        ("value", ctypes.c_ulonglong),
    ]


def structure(nvml, function, handle, value, names):
    code = getattr(nvml, function)(handle, ctypes.byref(value))
    return f"!{code}" if code else ",".join(str(getattr(value, name)) for name in names)


def device(nvml, index, handle):
    def say(key, value):
        print(f"{index}.{key}={value}")

    say("nvmlDeviceGetUUID", f"GPU-00000000-0000-0000-0000-{index:012}")
    say("nvmlDeviceGetSerial", "0000000000000")
    for function in TEXTS:
        text = ctypes.create_string_buffer(128)
        code = getattr(nvml, function)(handle, text, 128)
        say(function, f"!{code}" if code else text.value.decode())
    for function, (arguments, kinds) in NUMBERS.items():
        for argument in arguments:
            results = [TYPES[kind]() for kind in kinds]
            given = [] if argument is None else [ctypes.c_uint(argument)]
            code = getattr(nvml, function)(handle, *given, *map(ctypes.byref, results))
            key = function if argument is None else f"{function}:{argument}"
            say(key, f"!{code}" if code else ",".join(str(result.value) for result in results))
    memory = Memory(version=ctypes.sizeof(Memory) | 2 << 24)
    names = ["total", "reserved", "free", "used"]
    say("nvmlDeviceGetMemoryInfo_v2", structure(nvml, "nvmlDeviceGetMemoryInfo_v2", handle, memory, names))
    say("nvmlDeviceGetBAR1MemoryInfo", structure(nvml, "nvmlDeviceGetBAR1MemoryInfo", handle, Bar1(), ["total", "free", "used"]))
    say("nvmlDeviceGetUtilizationRates", structure(nvml, "nvmlDeviceGetUtilizationRates", handle, Utilization(), ["gpu", "memory"]))
    fields = (Field * len(FIELDS))(*[Field(id=number) for number in FIELDS])
    code = nvml.nvmlDeviceGetFieldValues(handle, len(FIELDS), fields)
    say("nvmlDeviceGetFieldValues", f"!{code}" if code else "")
    for field in fields:
        width = "u" if field.type == UNSIGNED_INT else ""
        value = field.value & 0xFFFFFFFF if width else field.value
        say(f"field:{field.id}", f"!{field.result}" if field.result else f"{value}{width}")
    say("nvmlDeviceGetPciInfo_v3", f"00000000:{index:02X}:00.0")
    # An empty value: the function is there, and answers as the fake does.
    for function in (
        "nvmlDeviceRegisterEvents",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
    ):
        say(function, "")


def main():
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    code = nvml.nvmlInit_v2()
    if code:
        sys.exit(f"nvmlInit_v2 answers {code}")
    count, version, text = ctypes.c_uint(), ctypes.c_int(), ctypes.create_string_buffer(80)
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    nvml.nvmlSystemGetDriverVersion(text, 80)
    nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(version))
    print(f"# recorded by tests/gpu_machine/record.py\nstrict=1\ncount={count.value}")
    print(f"nvmlSystemGetDriverVersion={text.value.decode()}\nnvmlSystemGetCudaDriverVersion_v2={version.value}")
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
            device(nvml, index, handle)
    nvml.nvmlShutdown()


main()
