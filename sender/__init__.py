"""The sending side: capture, face tracking, stabilised portrait."""

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
