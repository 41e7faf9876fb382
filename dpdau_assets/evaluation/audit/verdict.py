"""The verdict of an audit: what was claimed, what was observed, in words, numbers and two figures.

Belongs here: the written form. Everything in it is about synthetic users and may be shown to anybody. Does not belong
here: running anything (`run`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dpdau_assets.errors import StorageError
from dpdau_assets.evaluation.accuracy.results import markdown_table
from dpdau_assets.evaluation.audit.controls import Control
from dpdau_assets.evaluation.audit.figures import noise_figure, scores_figure
from dpdau_assets.evaluation.audit.game import GameResult
from dpdau_assets.evaluation.audit.noise_fit import NoiseFit
from dpdau_assets.evaluation.audit.replay import Replay

VERDICT_FILE, DATA_FILE = "verdict.md", "audit.json"


@dataclass(frozen=True)
class Audit:
    """Everything an audit found.

    Attributes:
        form: `short` or `long`.
        configuration: The public parameters that were audited.
        seconds: How long it took.
        replays: Part 1.
        fits: Part 2.
        games: Part 3, with the mechanism of each.
        controls: Part 4.
    """

    form: str
    configuration: dict[str, Any]
    seconds: float
    replays: tuple[Replay, ...]
    fits: tuple[NoiseFit, ...]
    games: tuple[tuple[str, GameResult], ...]
    controls: tuple[Control, ...]

    @property
    def findings(self) -> list[str]:
        """Everything that is not as claimed, faults that went unseen among it."""
        found = [finding for replay in self.replays for finding in replay.findings]
        found += [finding for fit in self.fits for finding in fit.findings]
        found += [f"{mechanism}, {finding}" for mechanism, game in self.games for finding in game.findings]
        unseen = [each for each in self.controls if not each.is_caught]
        return found + [f"the fault '{each.fault}' was not seen by {each.part}" for each in unseen]

    @property
    def ok(self) -> bool:
        """Whether nothing was found and every fault was seen."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """The audit as a document, JSON types only."""
        return {
            "ok": self.ok,
            "findings": self.findings,
            "form": self.form,
            "seconds": round(self.seconds, 1),
            "configuration": self.configuration,
            "neighbours": [_replay_document(each) for each in self.replays],
            "noise": [asdict(each) for each in self.fits],
            "guessing": [
                {"mechanism": mechanism, **{name: value for name, value in vars(game).items() if name != "scores"}}
                for mechanism, game in self.games
            ],
            "controls": [{**asdict(each), "is_caught": each.is_caught} for each in self.controls],
        }


def write_verdict(audit: Audit, folder: Path) -> list[Path]:
    """Writes the verdict, its data and its figures; their paths, the verdict first.

    Args:
        audit: What was found.
        folder: Where to; made when missing. Files of an earlier audit are replaced.

    Raises:
        StorageError: The disk refused.
    """
    texts = {VERDICT_FILE: verdict_text(audit), DATA_FILE: json.dumps(audit.to_json(), indent=2, default=str) + "\n"}
    texts |= {f"noise-{fit.mechanism}.svg": noise_figure(fit) for fit in audit.fits}
    texts |= {f"guessing-{name}-{game.pattern}.svg": scores_figure(name, game) for name, game in audit.games}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", hint="check --out") from None
    return [folder / name for name in texts]


def verdict_text(audit: Audit) -> str:
    """The verdict as a page of Markdown."""
    parts = [
        "# Audit of released values",
        "",
        f"**Verdict: {'as claimed' if audit.ok else 'NOT as claimed'}.** {_summary(audit)}",
        "",
        *[f"- {finding}" for finding in audit.findings],
        *([""] if audit.findings else []),
        f"Form: {audit.form}, {audit.seconds:.0f} s. Synthetic users in folders of their own; no real data was read.",
        "Parameters: " + ", ".join(f"{name}={value}" for name, value in audit.configuration.items()) + ".",
        "",
        *_replay_section(audit.replays),
        *_noise_section(audit.fits),
        *_game_section(audit.games),
        *_control_section(audit.controls),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _summary(audit: Audit) -> str:
    neighbours = sum(len(each.neighbours) for each in audit.replays)
    documents = sum(each.documents * len(each.neighbours) for each in audit.replays)
    caught = sum(each.is_caught for each in audit.controls)
    return (
        f"{neighbours} runs without one user were compared with the run that has the user, {documents} documents byte "
        f"by byte; {sum(each.draws for each in audit.fits)} draws were fitted; {len(audit.games)} guessing games were "
        f"played; {caught} of {len(audit.controls)} faults put in on purpose were seen."
    )


def _replay_section(replays: Sequence[Replay]) -> list[str]:
    rows = [
        [
            each.mechanism,
            each.sketch,
            neighbour.user,
            f"{each.numbers} / {each.documents} ({each.refusals} refusals)",
            " ".join(sorted({f"{change.by:+d}" for change in neighbour.changes})) or "-",
            f"{neighbour.observed_mu:.4f}",
            f"{neighbour.claimed_mu:.4f}",
            "differs" if neighbour.leaks else "equal",
        ]
        for each in replays
        for neighbour in each.neighbours
    ]
    headers = ["mechanism", "sketch", "left out", "numbers / documents", "moved by", "mu", "claimed", "outside"]
    return [
        "## 1. Neighbouring inputs",
        "",
        "The same scenario with and without one user, other users' late events and erasures pending. `moved by`: what "
        "the user changed in numbers before noise. `mu`: the square root of v'Pv; claimed: of all that was charged. "
        "`outside`: bodies, refusals, exit codes, exports, report and budgets of both runs, which publish the same "
        "noisy numbers.",
        "",
        *markdown_table(headers, rows),
    ]


def _noise_section(fits: Sequence[NoiseFit]) -> list[str]:
    rows = [
        [
            each.mechanism,
            str(each.draws),
            f"{each.law:.3g}",
            f"{each.spread:.3f} ({each.scale:.3g})",
            f"{each.neighbours:.3g}",
            "-" if each.offsets is None else f"{each.offsets:.3g}",
            "-" if each.offset_scale is None else f"{each.offset_scale:.3g}",
            str(each.repeats),
        ]
        for each in fits
    ]
    headers = ["mechanism", "draws", "law (p)", "spread / stated (p)", "neighbouring days (p)"]
    headers += ["offset in the values (p)", "spread of offsets (p)", "drawn again"]
    level = max((each.level for each in fits), default=0.0)
    return [
        "## 2. Noise",
        "",
        f"Values stored by real releases minus the numbers before noise; p below {level:g} is a finding.",
        "",
        *markdown_table(headers, rows),
    ]


def _game_section(games: Sequence[tuple[str, GameResult]]) -> list[str]:
    rows = [
        [
            mechanism,
            game.pattern,
            str(game.runs),
            f"{game.false_positives:.3f} / {game.true_positives:.3f}",
            f"{game.observed_mu:.3f}",
            f"{game.pattern_mu:.3f}",
            f"{game.claimed_mu:.3f}",
            "better than claimed" if game.findings else "within the claim",
        ]
        for mechanism, game in games
    ]
    headers = ["mechanism", "user", "months a side", "false / true positives", "mu at least", "mu of the pattern"]
    confidence = min((game.confidence for _, game in games), default=0.0)
    return [
        "## 3. Guessing",
        "",
        f"Whether the user is in a month's values, by the best linear score; bounds hold with {confidence:g}.",
        "",
        *markdown_table([*headers, "claimed mu", "verdict"], rows),
    ]


def _control_section(controls: Sequence[Control]) -> list[str]:
    rows = [
        [each.fault, each.part, "seen" if each.is_caught else "NOT seen", each.findings[0] if each.findings else "-"]
        for each in controls
    ]
    return [
        "## 4. Faults put in on purpose",
        "",
        *markdown_table(["fault", "to be seen by", "result", "first finding"], rows),
    ]


def _replay_document(replay: Replay) -> dict[str, Any]:
    neighbours = [
        {
            "user": each.user,
            "moved_by": sorted({change.by for change in each.changes}),
            "observed_mu": each.observed_mu,
            "claimed_mu": each.claimed_mu,
            "leaks": list(each.leaks),
        }
        for each in replay.neighbours
    ]
    return {
        "mechanism": replay.mechanism,
        "sketch": replay.sketch,
        "documents": replay.documents,
        "refusals": replay.refusals,
        "numbers": replay.numbers,
        "overspent": list(replay.overspent),
        "users": neighbours,
    }
