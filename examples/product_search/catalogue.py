"""Write a made-up shop, its clicks and its judged queries, in the files that qdrl reads.

    python examples/product_search/catalogue.py FOLDER [--small] [--seed 0]

What makes it worth searching: people and the shop use different words (synonyms, plurals, abbreviations), a few
products get most of the clicks, and many titles do not say what the thing is. "Velora Nova 350 ml black" is a kettle, a
vase or a lamp: a brand's series runs through several categories, and only the category tells them apart.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from simlearn import NGrams, Vocabulary

# What a category is called in titles, and then what people call it.
NOUNS = """
kettle teakettle boiler, toaster breadgrill crisper, blender smoothiemaker liquidiser, pan skillet frypan,
pot saucepan casserole, knife blade cleaver, spoon ladle scoop, mug cup beaker, glass tumbler goblet,
plate dish platter, vase urn jug, lamp light luminaire, candle taper tealight, cushion pillow bolster,
blanket throw plaid, curtain drape blind, rug carpet mat, chair seat stool, desk bureau worktop,
shelf bookcase whatnot, mirror lookingglass pier, clock timepiece alarm, frame mount passepartout,
bin wastebasket trashcan, broom brush sweeper, vacuum hoover cleaner, iron presser steamer, fan ventilator blower,
heater radiator stove, drill screwgun driver, hammer mallet sledge, saw handsaw cutter, ladder steps stepstool,
hose pipe sprinkler, spade shovel digger, planter flowerpot trough, tent shelter bivouac, bottle flask canteen,
backpack rucksack knapsack, helmet headgear hardhat, bicycle bike cycle, headphones earphones headset,
speaker loudspeaker soundbox, keyboard keypad typer, charger adapter powerbrick, camera camcorder webcam,
notebook jotter diary, pen biro ballpoint
"""
FORMS = "set kit case stand holder box pack collection".split()  # in place of a noun, and in every category
COLOURS = """
red crimson scarlet, blue navy azure, green olive emerald, grey gray graphite, black ebony jet, white ivory snowy,
yellow golden lemon, brown chestnut cocoa, pink rosy blush, purple violet lilac
"""
MATERIALS = """
steel inox stainless, wood wooden oak, plastic pvc acrylic, cotton fabric cloth, leather hide rawhide,
glassy crystal clear, ceramic stoneware porcelain, bamboo cane rattan
"""
SERIES = """
Nova Aura Terra Luna Vento Prima Onda Forte Alba Mira Zenit Polar Orbit Delta Sigma Vega Tempo Sonata Fjord Kosmo Atlas
Iris Amber Echo
""".split()
UNITS = {"ml": "millilitres", "cm": "centimetres", "w": "watts"}
SYLLABLES = (
    "ba be bra da dro fe fi ga gru ha jo ka kle li lo ma mi ne nor pe pla ri ro sa ste ta tri ul ve vo za zi".split()
)


class Product(NamedTuple):
    """What the shop knows of a product, and its customers, but not all of which its title says."""

    id: str
    category: int
    brand: str
    series: str
    amount: int
    unit: str
    colour: int
    material: int
    title: str


class Size(NamedTuple):
    """How large a shop is."""

    products: int
    clicks: int
    brands: int
    queries: int
    shards: int


FULL = Size(products=20_000, clicks=100_000, brands=80, queries=2000, shards=8)
SMALL = Size(products=400, clicks=3000, brands=8, queries=150, shards=2)


def words(table: str) -> list[list[str]]:
    """Each entry of a table: the shop's word, then those of its customers."""
    return [entry.split() for entry in table.split(",")]


CATEGORY_WORDS, COLOUR_WORDS, MATERIAL_WORDS = words(NOUNS), words(COLOURS), words(MATERIALS)


def category_id(category: int) -> str:
    """What the files call a category."""
    return str(1000 + category)


class Shop:
    """Products, and what people type who then click on them; the same for the same seed."""

    def __init__(self, size: Size, seed: int = 0) -> None:
        self.draw = random.Random(seed)
        brands = self._brands(size.brands)
        self.products = [self._product(number, *self.draw.choice(brands)) for number in range(size.products)]
        # Zipf's law: the k-th product is clicked k**-0.7 times as often as the first.
        self.popularity = list(accumulate((rank + 1) ** -0.7 for rank in range(size.products)))

    def clicks(self, count: int) -> list[dict[str, str]]:
        """Rows of a query and the product that was clicked."""
        clicked = self.draw.choices(self.products, cum_weights=self.popularity, k=count)
        return [
            {
                "query_search_phrase": self.query(product),
                "document_name": product.title,
                "product_category_id": category_id(product.category),
                "document_id": product.id,
            }
            for product in clicked
        ]

    def query(self, product: Product) -> str:
        """What somebody types who wants this product: some of its traits, in the customers' words."""
        traits: list[tuple[float, Callable[[], str]]] = [
            (0.55, lambda: self._shortened(product.brand)),
            (0.45, lambda: product.series),
            (0.35, lambda: self._said(COLOUR_WORDS[product.colour])),
            (0.25, lambda: self._said(MATERIAL_WORDS[product.material])),
            (0.25, lambda: f"{product.amount} {self.draw.choice([product.unit, UNITS[product.unit]])}"),
            (0.8, lambda: self._plural(self._said(CATEGORY_WORDS[product.category]))),
        ]
        chosen = [say() for chance, say in traits if self.draw.random() < chance]
        if len(chosen) < 2:
            return self.query(product)
        self.draw.shuffle(chosen)
        return " ".join(chosen).lower()

    def _brands(self, count: int) -> list[tuple[str, list[int], list[str]]]:
        """A brand, the categories that it makes, and its series, each of which runs through all of them."""
        names: set[str] = set()
        while len(names) < count:
            names.add("".join(self.draw.sample(SYLLABLES, 3)).capitalize())
        categories = range(len(CATEGORY_WORDS))
        return [(name, self.draw.sample(categories, 8), self.draw.sample(SERIES, 3)) for name in sorted(names)]

    def _product(self, number: int, brand: str, categories: Sequence[int], series: Sequence[str]) -> Product:
        draw = self.draw
        category, name, unit = draw.choice(categories), draw.choice(series), draw.choice(list(UNITS))
        amount, colour, material = 50 * draw.randint(1, 12), draw.randrange(10), draw.randrange(8)
        what = draw.choices([CATEGORY_WORDS[category][0], draw.choice(FORMS), None], weights=[30, 35, 35])[0]
        traits = [f"{amount} {unit}", COLOUR_WORDS[colour][0], MATERIAL_WORDS[material][0], what]
        kept = [trait for trait in traits if trait and (trait == what or draw.random() < 0.8)]
        draw.shuffle(kept)
        title = " ".join([brand, name, *kept])
        return Product(f"p{number}", category, brand, name, amount, unit, colour, material, title)

    def _said(self, names: Sequence[str]) -> str:
        own, *others = names
        return own if self.draw.random() < 0.5 else self.draw.choice(others)

    def _plural(self, word: str) -> str:
        return word + "s" if self.draw.random() < 0.2 and not word.endswith("s") else word

    def _shortened(self, word: str) -> str:
        return word[:4] if self.draw.random() < 0.15 else word


def judged_queries(clicks: Iterable[dict[str, str]], count: int) -> Iterator[dict[str, Any]]:
    """The first distinct phrases, each with all products that were clicked for it."""
    relevant: dict[str, set[str]] = {}
    for click in clicks:
        relevant.setdefault(click["query_search_phrase"], set()).add(click["document_id"])
    for phrase in list(relevant)[:count]:
        yield {"query_search_phrase": phrase, "relevant_document_ids": sorted(relevant[phrase])}


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_shards(folder: Path, rows: list[dict[str, str]], count: int) -> None:
    """Parquet files of like size."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pq.write_table(pa.Table.from_pylist(rows[number::count]), folder / f"part-{number:03}.parquet")


def write(folder: Path, size: Size, seed: int = 0) -> None:
    """All files of a shop."""
    shop = Shop(size, seed)
    training, validation = shop.clicks(size.clicks), shop.clicks(size.clicks // 10)
    write_shards(folder / "training_dataset", training, size.shards)
    write_shards(folder / "validation_dataset", validation, 1)
    items = (
        {
            "document_id": product.id,
            "document_name": product.title,
            "product_category_id": category_id(product.category),
        }
        for product in shop.products
    )
    write_lines(folder / "recall_validation_items_dataset/items.json", items)
    queries = judged_queries(shop.clicks(2 * size.queries), size.queries)
    write_lines(folder / "recall_validation_queries_dataset/queries.json", queries)
    texts = (click[column] for click in training for column in ("query_search_phrase", "document_name"))
    Vocabulary.build(texts, tokens=NGrams(characters=())).write(folder / "dictionary")
    Vocabulary(map(category_id, range(len(CATEGORY_WORDS)))).write(folder / "categories", "value")


def main() -> None:
    """Write a shop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true", help="400 products and 3,000 clicks, to see that all runs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size = SMALL if arguments.small else FULL
    write(arguments.folder, size, arguments.seed)
    print(f"{arguments.folder}: {size.products:,} products, {size.clicks:,} clicks, {size.queries:,} judged queries")


if __name__ == "__main__":
    main()
