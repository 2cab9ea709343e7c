"""The tiny film of `tests.portrait.sets` and its set, made once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of an orange disc, the "head", that moves over blue, with its truth."""
    from tests.portrait.sets import film_disc

    return film_disc(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="session")
def built(video: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Its finished set, not to be changed, and the stages that progress named on the way."""
    from portrait.build import build_dataset
    from tests.portrait.sets import TRUTH

    stages: list[str] = []
    folder = tmp_path_factory.mktemp("built") / "me"
    build_dataset(video, folder, TRUTH, lambda stage, done, total: stages.append(stage))
    return folder, stages


@pytest.fixture(scope="session")
def made(built: tuple[Path, list[str]]) -> Path:
    """The finished set's folder."""
    return built[0]
