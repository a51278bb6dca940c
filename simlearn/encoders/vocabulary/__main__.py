"""Build a vocabulary from files: `python -m simlearn.encoders.vocabulary build FILES --column NAME FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from simlearn.encoders.ngrams import NGrams
from simlearn.encoders.vocabulary import Vocabulary
from simlearn.files import LoadError
from simlearn.records import read_records


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; None takes the process's.

    Returns:
        The exit code: 0, or 2 for what cannot be read or built.
    """
    parser = argparse.ArgumentParser(
        prog="python -m simlearn.encoders.vocabulary", description="Build the vocabulary of NGramVectorizer."
    )
    parser.add_argument("command", choices=["build"], help="count tokens, or categories, and number the frequent ones")
    parser.add_argument(
        "paths", nargs="+", metavar="path", help="Parquet, CSV or JSON lines (also .gz, globs, remote), then a folder"
    )
    parser.add_argument(
        "--column", required=True, action="append", help="a column of texts; may be given several times"
    )
    parser.add_argument("--size", type=int, help="tokens to keep, the most frequent ones; all by default")
    parser.add_argument("--min-count", type=int, default=1, help="how often a token must occur (default 1)")
    parser.add_argument("--no-words", action="store_true", help="leave words out")
    parser.add_argument("--word-pairs", action="store_true", help="take pairs of neighbours, too")
    parser.add_argument(
        "--characters", type=_lengths, default=(3,), help="lengths of n-grams of characters, as 3,4 (default 3)"
    )
    parser.add_argument("--categories", action="store_true", help="count whole values, such as categories")
    options = parser.parse_intermixed_args(arguments)  # FILES --column NAME FOLDER
    *files, folder = options.paths
    if not files:
        parser.error("name files, and behind them the folder for dictionary.json")
    try:
        cut: Any = (
            _whole if options.categories else NGrams(not options.no_words, options.word_pairs, options.characters)
        )
        texts = _values(files, options.column, options.categories)
        vocabulary = Vocabulary.build(texts, options.size, options.min_count, cut)
        vocabulary.write(folder, "value" if options.categories else "token")
    except (LoadError, ImportError, KeyError, OSError, TypeError, ValueError) as error:
        print(f"error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    print(f"{folder}: {len(vocabulary)} {'categories' if options.categories else 'tokens'}")
    return 0


def _values(files: Sequence[str], columns: Sequence[str], categories: bool) -> Iterator[str]:
    for row in read_records(files, columns):
        for column in columns:
            value = row[column]
            if value is not None:
                yield str(value) if categories else value


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(int(length) for length in text.split(",") if length)


def _whole(value: str) -> list[str]:
    return [value]


if __name__ == "__main__":
    sys.exit(main())
