"""Train the embedded model ``tiny`` on text that this repository makes, and export it into the package.

    python tools/train_tiny.py --hours 1.5                # start, or continue after a kill
    python tools/train_tiny.py --hours 1.5 --export-only  # export the last checkpoint without training on

Checkpoints, tokenizer and log lie in ``--work`` (git-ignored); the export goes to ``--output``.
"""

import argparse
from pathlib import Path

from tiny.export import export
from tiny.tokenizer import load_or_train
from tiny.training import Settings, Trainer

REPOSITORY = Path(__file__).resolve().parents[1]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=Settings.__dataclass_fields__["hours"].default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="threads that compute gradients")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "tiny")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "src" / "latentext" / "models" / "tiny")
    parser.add_argument("--export-only", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Make or continue the run, then export it."""
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)
    tokenizer = load_or_train(arguments.work / "tokenizer", arguments.seed)
    trainer = Trainer(
        tokenizer, Settings(seed=arguments.seed, hours=arguments.hours), arguments.work, arguments.workers
    )
    trainer.resume()
    if not arguments.export_only:
        trainer.train()
    export(trainer.model, tokenizer, arguments.output, trainer.record())


if __name__ == "__main__":
    main()
