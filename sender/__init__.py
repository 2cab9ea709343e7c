"""The sending side: capture, face tracking, stabilised portrait."""

import os

# ONNX Runtime reports to its maker from 1.29 on unless this stands when it is first loaded; its own
# disable_telemetry_events() comes too late: a device id has been written by then.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from sender.extractor import Extractor, TrackedFace, open_extractor
from sender.frames import Frame
from sender.portrait_crop import PORTRAIT_SCALE, PortraitCrop, crop_of
from sender.video import VideoError, VideoInfo, probe, read_video

__all__ = [
    "PORTRAIT_SCALE",
    "Extractor",
    "Frame",
    "PortraitCrop",
    "TrackedFace",
    "VideoError",
    "VideoInfo",
    "crop_of",
    "open_extractor",
    "probe",
    "read_video",
]
