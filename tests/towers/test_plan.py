"""From what `configure_encoders` returns to named encoders and the parts of each tower."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_servables import Letters, Numbers

from simlearn.encoders import Encoder, Prompted
from simlearn.files import LoadError
from simlearn.meta import columns
from simlearn.models import SimilarityModel
from simlearn.towers import Field, Fields, TwoTower
from simlearn.towers.inputs import CachedRows
from simlearn.towers.plan import Part, TowerCollator, merge_meta, plan

A, B = Letters(2), Letters(3)


@dataclass
class Product:
    title: str
    price: float


class WithMeta(Letters):
    def extract_meta(self, objects: list[Any]) -> list[dict[str, Any]]:
        return [{"length": len(text)} for text in objects]


class TestPlan:
    def test_one_encoder(self) -> None:
        made = plan(A)
        assert made.encoders == {"default": A} and made.is_symmetric
        assert made["query"] == made["document"] == (Part("default", "default"),)

    def test_a_dictionary_reads_whole_objects_in_the_order_of_names(self) -> None:
        made = plan({"b": A, "a": B, "c": A})
        assert made.encoders == {"a": B, "b": A}
        assert made["query"] == (Part("a", "a"), Part("b", "b"), Part("c", "b"))

    def test_fields(self) -> None:
        made = plan(Fields(title=A, kind=Field("type", B), body=A.with_prompt("body: ")))
        assert made["query"] == (
            Part("body", "body", "body", "body: "),
            Part("kind", "kind", "type"),
            Part("title", "body", "title"),
        )
        assert plan(Field("größe", A))["query"] == (Part("default", "default", "größe"),)
        assert plan({"a": Field("x", A)})["query"] == (Part("a", "a", "x"),)

    def test_two_towers(self) -> None:
        made = plan(TwoTower(query=A, document=B))
        assert not made.is_symmetric
        assert made.encoders == {"query": A, "document": B}
        assert (made["query"], made["document"]) == ((Part("default", "query"),), (Part("default", "document"),))

    def test_towers_that_share(self) -> None:
        made = plan(TwoTower(query=A.with_prompt("q: "), document=Fields(title=A, body=B)))
        assert made.encoders == {"query": A, "body": B}
        assert made["query"] == (Part("default", "query", None, "q: "),)
        assert made["document"] == (Part("body", "body", "body"), Part("title", "query", "title"))

    def test_one_name_in_both_towers(self) -> None:
        made = plan(TwoTower(query=Fields(title=A), document=Fields(Title=B)))
        assert made.encoders == {"title": A, "document_Title": B}

    def test_prompts_share_the_encoder(self) -> None:
        prompted = Prompted(A, "q: ")
        assert plan({"a": prompted, "b": A}).encoders == {"a": A}


class TestRoles:
    def test_towers_by_role(self) -> None:
        made = plan(TwoTower(query=A, document=B))
        assert (made.roles, list(made.towers)) == (("query", "document"), ["query", "document"])
        assert (made.input_size("query"), made.input_size("document")) == (A.embedding_size, B.embedding_size)

    def test_one_tower_answers_to_both_and_stands_once(self) -> None:
        made = plan(A)
        assert (made.roles, list(made.towers)) == (("query", "document"), ["query"])
        assert made["document"] is made["query"]

    @pytest.mark.parametrize("spec", [A, TwoTower(query=A, document=A)], ids=["one tower", "two towers"])
    @pytest.mark.parametrize("role", ["passage", "", "Query"])
    def test_another_role_is_refused_with_those_there_are(self, spec: Any, role: str) -> None:
        with pytest.raises(ValueError, match=rf"no tower for '{role}'; the roles are query and document"):
            plan(spec)[role]
        with pytest.raises(ValueError, match="the roles are query and document"):
            SimilarityModel(spec).embed(["a"], role)


class TestRefusals:
    @pytest.mark.parametrize("name", ["keys", "values", "type", "forward", "train", "items", "pop"])
    def test_names_that_torch_needs(self, name: str) -> None:
        with pytest.raises(
            ValueError, match=rf"cannot be called '{name}'.*Fields\({name}_=Field\('{name}', \.\.\.\)\)"
        ):
            plan(Fields({name: A}))
        assert plan(Fields({f"{name}_": Field(name, A)}))["query"][0].field == name

    @pytest.mark.parametrize("name", ["", ".", "a.b", "a/b", "../a", "größe", "head\n", 1, None])
    def test_names_that_are_no_folders(self, name: Any) -> None:
        with pytest.raises(ValueError, match="encoder name must be made of"):
            plan({name: A})
        with pytest.raises(ValueError, match="encoder name must be made of"):
            plan({"a": A, name: B})

    def test_head_is_a_good_name(self) -> None:
        assert plan({"head": A, "heads": B, "encoders": Letters(1)}).encoders.keys() == {"head", "heads", "encoders"}

    @pytest.mark.parametrize("spec", [{"title": A, "Title": B}, TwoTower({"document_x": A, "x": B}, {"x": Letters(1)})])
    def test_names_that_would_share_a_folder(self, spec: Any) -> None:
        with pytest.raises(ValueError, match="two encoders are called .* would share a folder; rename one"):
            plan(spec)

    @pytest.mark.parametrize(
        "spec",
        [None, "model", torch.nn.Linear(1, 1), [A], {"a": None}, Fields(a="b"), {"a": {"b": A}}, Field("a", None)],
    )
    def test_what_is_no_encoder(self, spec: Any) -> None:
        with pytest.raises(TypeError, match=r"must be an Encoder, got .*configure_encoders returns"):
            plan(spec)
        with pytest.raises(TypeError, match="must be an Encoder"):
            plan(TwoTower(query=A, document=spec))

    @pytest.mark.parametrize("empty", [{}, Fields()])
    def test_nothing(self, empty: Any) -> None:
        with pytest.raises(ValueError, match="must not be empty"):
            plan(empty)

    def test_towers_in_towers(self) -> None:
        with pytest.raises(TypeError, match="cannot stand inside a TwoTower"):
            plan(TwoTower(query=TwoTower(query=A, document=B), document=B))  # type: ignore[arg-type]


class TestPart:
    @given(st.none() | st.text(), st.none() | st.text())
    def test_comes_back_from_json(self, field: str | None, prompt: str | None) -> None:
        part = Part("a b", "c-d", field, prompt)
        assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part

    @pytest.mark.parametrize(
        "content",
        [
            None,
            "a",
            [],
            {},
            {"name": "a"},
            {"name": "a", "encoder": "b", "more": 1},
            {"name": "../a", "encoder": "b"},
            {"name": "a", "encoder": "b/c"},
            {"name": 1, "encoder": "b"},
            {"name": "a", "encoder": "b", "field": 3},
            {"name": "a", "encoder": "b", "prompt": ["p"]},
        ],
    )
    def test_damage(self, content: Any) -> None:
        with pytest.raises(LoadError, match="not a part of a tower"):
            Part.from_json(content)

    def test_picks_keys_and_attributes(self) -> None:
        objects = [{"title": "red"}, Product("spoon", 1.0)]
        assert Part("a", "b", "title").pick(objects) == ["red", "spoon"]
        assert Part("a", "b").pick(objects) is objects
        assert Part("a", "b", "keys").pick([{"keys": 1}]) == [1]

    def test_fields_that_are_not_there(self) -> None:
        with pytest.raises(KeyError, match=r"no field 'body', only \['title'\]"):
            Part("a", "b", "body").pick([{"title": "red"}])
        with pytest.raises(
            KeyError, match=r"a Product has no field 'body'; Fields and Field need mappings or attributes"
        ):
            Part("a", "b", "body").pick([Product("red", 1.0)])
        with pytest.raises(KeyError, match="a str has no field 'title'"):
            Part("a", "b", "title").pick(["red"])


class TestCollator:
    OBJECTS = ({"title": "red", "price": 2.0}, {"title": "spoon", "price": 1.0})

    def collator(self, spec: Any) -> TowerCollator:
        made = plan(spec)
        return TowerCollator.of(made["query"], made.encoders)

    def test_every_part_gets_its_features(self) -> None:
        collate = self.collator(Fields(title=A.with_prompt("t: "), price=Numbers()))
        inputs = pickle.loads(pickle.dumps(collate))(list(self.OBJECTS))
        assert inputs.size == 2 and inputs.meta == {}
        assert inputs.features["price"].tolist() == [[2.0], [1.0]]
        expected = A.get_collate_fn()(["t: red", "t: spoon"])
        assert torch.equal(inputs.features["title"]["codes"], expected["codes"])

    def test_meta_comes_along(self) -> None:
        collate = self.collator(Fields(title=WithMeta(2), price=Numbers()))
        assert collate(list(self.OBJECTS)).meta["length"].tolist() == [3, 5]  # type: ignore[union-attr]

    def test_known_parts_are_not_collated(self) -> None:
        collate = self.collator(Fields(title=WithMeta(2), price=Numbers()))
        seen: list[Any] = []

        def rows(titles: list[str]) -> CachedRows:
            seen.extend(titles)
            return CachedRows(torch.tensor([7, 8]))

        inputs = collate(list(self.OBJECTS), {"title": rows})
        assert seen == ["red", "spoon"]
        assert inputs.features["title"].rows.tolist() == [7, 8]
        assert inputs.meta == {}, "the cache has it"

    def test_prompts_for_an_encoder_without(self) -> None:
        class Plain(Numbers):
            get_prompted_collate_fn = Encoder.get_prompted_collate_fn

        with pytest.raises(TypeError, match="Plain has no prompts"):
            self.collator(Prompted(Plain(), "q: "))

    def test_two_parts_with_one_column(self) -> None:
        meta = columns([{"length": 1}])
        assert merge_meta({"a": meta, "b": {}}) == meta
        with pytest.raises(ValueError, match="'length' of part 'b' is extracted by another part too; rename one"):
            merge_meta({"a": meta, "b": meta})
