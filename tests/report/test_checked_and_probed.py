"""Pictures of what was found out about texts: verdicts of the check from score files, predictions of saved probes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.probes.made import repeating_texts, write_dataset
from tests.report.conftest import Copy

from latentext.cli.app import exit_code
from latentext.dataset import layout
from latentext.dataset.checks import check_settings
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.scores import write_scores
from latentext.dataset.stages import ScoresStage, write_stage
from latentext.probes.division import Division
from latentext.report.correctness import deviation_bins
from latentext.report.picture import Picture, Skipped
from latentext.report.state_rows import sites_by_depth
from latentext.spec import CheckSpec, RepetitionCheck
from latentext.storage import filesystem
from latentext.studies.probe.probing import ProbeSettings, probe_dataset

Maker = Callable[..., Dataset]
CHECK = CheckSpec(repetition=RepetitionCheck())


def write_verdicts(root: Path, accepted: list[float], errors: list[float]) -> None:
    """Verdicts of the four texts of shard 0, as a run writes them."""
    stage, records = layout.scores_folder("repetition-00000000"), layout.records_folder(range(1))
    exact = [float(a == 1 and e == 0) for a, e in zip(accepted, errors, strict=True)]
    columns = {"accepted": accepted, "exact": exact, "count_found": errors, "count_error": errors}
    settings = check_settings(CHECK)
    declared = ScoresStage(reward="repetition", samples=(0, 1), columns=tuple(columns), settings=settings)
    write_stage(root, stage, declared)
    filesystem.make_folder(root / stage)
    (root / stage / layout.receipt_name(0)).unlink(missing_ok=True)
    entry = write_scores(root / stage / layout.table_name(0), [0, 1, 2, 3], [0] * 4, columns)
    name = layout.table_name(0)
    upstream = {f"{records}/{name}": read_receipt(root / records / layout.receipt_name(0)).files[0].sha256}
    write_receipt(
        root / stage / layout.receipt_name(0), stage=stage, shard=0, start=0, stop=4, files=[entry], upstream=upstream
    )


def test_deviations_are_counted_from_the_score_files(make_dataset: Maker, with_spec: Copy) -> None:
    dataset = with_spec(make_dataset(4, states=False), check=CHECK.model_dump(mode="json"))
    unchecked = deviation_bins(dataset)
    assert isinstance(unchecked, Skipped) and unchecked.reason == "no text was checked yet"
    write_verdicts(dataset.directory, [1, 1, 1, 0], [0, -1, 12, 3])
    picture = deviation_bins(open_dataset(dataset.directory))
    assert isinstance(picture, Picture)
    assert picture.numbers == {
        "exact": "1 of 4 checked (25.0%)",
        "rejected": "1",
        "mean absolute error": "4.333 words",
    }
    write_verdicts(dataset.directory, [1, 1, 1, 1], [0, 0, 12, 3])
    other = deviation_bins(open_dataset(dataset.directory))
    assert isinstance(other, Picture) and other.numbers["exact"] == "2 of 4 checked (50.0%)"
    assert other.png != picture.png


def test_the_command_draws_scores_and_predictions_of_a_saved_probe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_dataset(tmp_path / "data", repeating_texts())
    sites = list(next(iter(dataset.captures.values())).sites)
    settings = ProbeSettings(sites=sites, division=Division(), twins=0)
    result = probe_dataset(dataset, settings)
    assert exit_code(["report", str(dataset.directory)]) == 0
    captured = capsys.readouterr()
    assert "predicted" not in captured.out + captured.err
    page = (dataset.directory / "report" / "index.html").read_text()
    for name in ("probe_scores", "predicted_against_actual"):
        assert (dataset.directory / "report" / f"{name}_remaining-ridge.png").exists()
        assert f'id="{name}_remaining-ridge"' in page
    # The predictions drawn are those that were judged: their mean error is the one that was logged.
    (deepest,) = [site for site in result.sites if site.site == sites_by_depth(dataset)[-1]]
    assert f"{deepest.scores['mae'].value:.4g} tokens" in page
