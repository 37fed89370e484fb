"""Video, audio and portrait-animation nodes of the emulator. Files are real: PyAV writes them."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from genyard.testing.comfyui.files import SERVER_ROOT
from genyard.testing.comfyui.values import Mask, NodeError, Output, Pixels, Run, Video, encode, node, resize


@node("CreateVideo")
def create_video(run: Run, images: Pixels, fps: float, **_: Any) -> tuple[Video]:
    return (Video(frames=images[..., :3], fps=fps),)


@node("LoadVideo")
def load_video(run: Run, file: str) -> tuple[Video]:
    path = run.files.read_path(file)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            return (Video(frames=np.stack(frames), fps=float(stream.average_rate or 8)),)
    except (av.FFmpegError, IndexError, ValueError):
        raise NodeError(
            "av.error.InvalidDataError",
            f"[Errno 1094995529] Invalid data found when processing input: '{SERVER_ROOT}/input/{file}'",
        ) from None


@node("Video Slice")
def slice_video(run: Run, video: Video, start_time: float, duration: float, **_: Any) -> tuple[Video]:
    first = round(start_time * video.fps)
    count = round(duration * video.fps) or len(video.frames)
    return (Video(frames=video.frames[first : first + count], fps=video.fps),)


@node("PrimitiveFloat")
def primitive_float(run: Run, value: float) -> tuple[float]:
    return (value,)


@node("ComfyMathExpression")
def math_expression(run: Run, expression: str, **values: float) -> tuple[float, int, bool]:
    names = {name.removeprefix("values_"): value for name, value in values.items()}
    result = _calculate(ast.parse(expression, mode="eval").body, names)
    return float(result), int(result), bool(result)


_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "ceil": math.ceil, "floor": math.floor, "round": round, "max": max, "min": min, "abs": abs,
}  # fmt: skip


def _calculate(part: ast.expr, names: Mapping[str, float]) -> float:
    if isinstance(part, ast.Constant) and isinstance(part.value, int | float):
        return part.value
    if isinstance(part, ast.Name):
        return names[part.id]
    if isinstance(part, ast.BinOp):
        return _OPERATORS[type(part.op)](_calculate(part.left, names), _calculate(part.right, names))
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
        return _FUNCTIONS[part.func.id](*(_calculate(one, names) for one in part.args))
    raise NodeError("ValueError", "the emulator does not know this expression")


@node("GetVideoComponents")
def video_components(run: Run, video: Video) -> tuple[Pixels, None, float, int, str]:
    return video.frames, None, video.fps, 8, "bt709"


@node("SaveVideo")
def save_video(run: Run, video: Video, filename_prefix: str, format: str = "auto", **_: Any) -> Output:
    suffix = {"webm": ".webm", "mkv": ".mkv"}.get(format, ".mp4")
    saved = run.files.next("output", filename_prefix, suffix)
    write_video(saved.path, video.frames, video.fps)
    return Output(ui={"images": [saved.as_json()], "animated": [True]})


@node("SaveWEBM")
def save_webm(run: Run, images: Pixels, filename_prefix: str, codec: str, fps: float, crf: float) -> Output:
    saved = run.files.next("output", filename_prefix, ".webm")
    write_video(saved.path, images, fps)
    return Output(slots=(images,), ui={"images": [saved.as_json()], "animated": [True]})


@node("VHS_VideoCombine")
def video_combine(
    run: Run,
    images: Pixels,
    frame_rate: float,
    filename_prefix: str,
    format: str,
    save_output: bool = True,
    **_: Any,
) -> Output:
    suffix = {
        "image/gif": ".gif",
        "image/webp": ".webp",
        "video/webm": ".webm",
        "video/av1-webm": ".webm",
    }.get(format, ".mp4")
    kind = "output" if save_output else "temp"
    saved = run.files.next(kind, filename_prefix, suffix, trailing="")
    saved.path.with_suffix(".png").write_bytes(encode(images[0]))
    if suffix in (".gif", ".webp"):
        _write_animation(saved.path, images, frame_rate)
    else:
        write_video(saved.path, images, frame_rate)
    row = {
        **saved.as_json(),
        "format": format,
        "frame_rate": frame_rate,
        "workflow": saved.path.with_suffix(".png").name,
        "fullpath": f"{SERVER_ROOT}/{kind}/{saved.subfolder}/{saved.filename}",
    }
    return Output(slots=((save_output, []),), ui={"gifs": [row]})


def _write_animation(path: Path, images: Pixels, fps: float) -> None:
    from PIL import Image

    first, *rest = [Image.fromarray(one[..., :3]) for one in images]
    first.save(path, save_all=True, append_images=rest, duration=int(1000 / fps), loop=0)


def write_video(path: Path, frames: Pixels, fps: float) -> None:
    codec = "libvpx-vp9" if path.suffix == ".webm" else "libx264"
    _, height, width, _ = frames.shape
    with av.open(str(path), "w") as container:
        stream = cast("av.VideoStream", container.add_stream(codec, rate=max(1, round(fps))))
        if codec == "libx264":
            stream.options = {"preset": "ultrafast"}
        stream.width, stream.height, stream.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
        for one in frames:
            picture = np.ascontiguousarray(one[: height // 2 * 2, : width // 2 * 2, :3])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@node("SaveAudioMP3")
def save_audio(run: Run, audio: Any, filename_prefix: str, quality: str = "V0") -> Output:
    """A second of silence, whatever comes in."""
    saved = run.files.next("output", filename_prefix, ".mp3", trailing="")
    with av.open(str(saved.path), "w") as container:
        stream = container.add_stream("mp3", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Output(slots=(audio,), ui={"audio": [saved.as_json()]})


@dataclass(frozen=True, kw_only=True)
class Crop:
    picture: Pixels


@node("DownloadAndLoadLivePortraitModels")
def portrait_models(run: Run, precision: str = "auto", mode: str = "human") -> tuple[str]:
    return (f"{mode}/{precision}",)


@node("LivePortraitLoadCropper", "LivePortraitLoadFaceAlignmentCropper", "LivePortraitLoadMediaPipeCropper")
def portrait_cropper_model(run: Run, **_: Any) -> tuple[str]:
    return ("cropper",)


@node("LivePortraitCropper")
def portrait_crop(
    run: Run, pipeline: str, cropper: str, source_image: Pixels, dsize: int, **_: Any
) -> tuple[Pixels, Crop]:
    """A flat picture has no face: the real pack raises there too."""
    if source_image[0].astype(np.float32).std() < 2:
        raise NodeError("Exception", "No face detected in source image")
    picture = resize(source_image[:1, ..., :3], dsize, dsize)
    return picture, Crop(picture=picture)


@node("LivePortraitRetargeting")
def portrait_retargeting(run: Run, **settings: Any) -> tuple[dict[str, Any]]:
    return (settings,)


@node("LivePortraitProcess")
async def portrait_process(
    run: Run, pipeline: str, crop_info: Crop, source_image: Pixels, driving_images: Pixels, **_: Any
) -> tuple[Pixels, int]:
    """One frame per driving frame: the face sways."""
    frames = []
    for place in range(len(driving_images)):
        frames.append(_sway(crop_info.picture[0], place))
        await run.step(place + 1, len(driving_images), None)
    return np.stack(frames), len(frames)


@node("LivePortraitComposite")
def portrait_composite(
    run: Run, source_image: Pixels, cropped_image: Pixels, liveportrait_out: int, **_: Any
) -> tuple[Pixels, Mask]:
    _, height, width, _ = source_image.shape
    return resize(cropped_image, width, height, "nearest-exact"), np.ones(
        (len(cropped_image), height, width), np.float32
    )


@node("ExpressionEditor")
def expression_editor(
    run: Run, src_image: Pixels | None = None, motion_link: Pixels | None = None, **sliders: Any
) -> Output:
    """What it hands on in `motion_link` is the picture that will be animated."""
    source = src_image if src_image is not None else motion_link
    if source is None:
        source = np.zeros((1, 64, 64, 3), np.uint8)
    turn = int(abs(float(sliders.get("rotate_yaw", 0))))
    return Output(slots=(_sway(source[0, ..., :3], turn)[None], source, sliders), ui={})


@node("AdvancedLivePortrait")
async def advanced_portrait(
    run: Run,
    command: str = "",
    src_images: Pixels | None = None,
    motion_link: Pixels | None = None,
    driving_images: Pixels | None = None,
    **_: Any,
) -> tuple[Pixels]:
    """`command` lines are `index=frames:pause`; the clip lasts as long as they say."""
    source = src_images if src_images is not None else motion_link
    assert source is not None
    spoken = [part for line in command.splitlines() if "=" in line for part in line.split("=")[1].split(":")]
    length = sum(int(part) for part in spoken if part.strip().isdigit())
    count = len(driving_images) if driving_images is not None else max(1, length)
    frames = []
    for place in range(count):
        frames.append(_sway(source[0, ..., :3], place))
        await run.step(place + 1, count, None)
    return (np.stack(frames),)


def _sway(picture: Pixels, place: int) -> Pixels:
    return np.roll(picture, round(3 * np.sin(place / 4)), axis=1)
