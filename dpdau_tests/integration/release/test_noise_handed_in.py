"""Noise and recorders that are handed to a workspace: for synthetic folders alone, and never marked private."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_assets.core.mechanisms.samplers import SecureNoise
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.planted_counts import TRUE, FixedNoise, PlantedCounts, open_planted
from dpdau_tests.support.release_folders import NEW_YEAR, open_folder, releases_of

FEW = DayRange(NEW_YEAR, NEW_YEAR.replace(day=3))


class TestSuppliedNoise:
    @pytest.mark.parametrize("mechanism", ["gaussian", "laplace", "correlated", "joint"])
    def test_is_never_published_as_private(self, tmp_path: Path, mechanism: str) -> None:
        """A source that calls itself secure and private is drawn from, and its values are marked as seeded ones are."""
        noise = FixedNoise(7, shared=6)
        assert (noise.name, noise.is_private) == ("secure", True)
        published = publish_releases(open_planted(tmp_path, noise=noise, mechanism=mechanism), METRICS, FEW)
        assert len(published.results) == 9
        for result in published.results:
            assert (result.private, result.noise_source, result.epsilon_used) == (False, "seeded", None)

    def test_is_drawn_from(self, tmp_path: Path) -> None:
        """The stored draw is the planted count and the noise handed in."""
        workspace = open_planted(tmp_path, noise=FixedNoise(7, shared=6), mechanism="gaussian")
        publish_releases(workspace, METRICS, FEW)
        assert [each.drawn for each in releases_of(workspace)] == [
            TRUE[each.metric] + 7 for each in releases_of(workspace)
        ]

    def test_is_refused_where_people_may_be(self, tmp_path: Path) -> None:
        """A folder that was not created as synthetic opens with neither noise nor a recorder of another origin."""
        open_folder(tmp_path).close()
        with pytest.raises(ConfigurationError, match="synthetic"):
            open_folder(tmp_path, noise=lambda **_: SecureNoise())
        with pytest.raises(ConfigurationError, match="synthetic"):
            open_folder(tmp_path, recorder=PlantedCounts(TRUE))

    def test_without_it_values_are_private(self, tmp_path: Path) -> None:
        """A recorder alone leaves the noise to the settings."""
        published = publish_releases(open_planted(tmp_path), ("dau",), FEW)
        assert {(each.private, each.noise_source) for each in published.results} == {(True, "secure")}
