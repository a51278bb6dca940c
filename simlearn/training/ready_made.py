"""Models of the literature as `TrainableModel`s: to train as they are, to read, or to subclass."""

from __future__ import annotations

from typing import Any, Literal

from simlearn.encoders import TextEncoder, TransformerEncoder
from simlearn.heads import CLSPooling, EncoderHead, FirstM, LastTokenPooling, LearntCodes, TokenProjection
from simlearn.losses import MultipleNegativesRankingLoss
from simlearn.scoring import DotScorer, MaxSim, PolyAttention, Scorer
from simlearn.towers import TwoTower
from simlearn.training.trainable_model import TrainableModel


class BiEncoder(TrainableModel):
    """One vector a text, and their dot product (Humeau et al. 2020, "Poly-encoders").

    Args:
        query: a transformer, see `TransformerEncoder`; with a pooling of its own where it is a `TextEncoder`.
        document: another one for documents; None shares the weights.
        scale: 1 / temperature of the softmax over the batch. None for 1 / √D, of the size of a vector: products of what
            a transformer's last layer has normalised then begin near 1, and train. The paper has 1, ParlAI 0.06.
        **options: of `TrainableModel`.
    """

    def __init__(
        self,
        query: TransformerEncoder | TextEncoder,
        document: TransformerEncoder | TextEncoder | None = None,
        *,
        scale: float | None = None,
        **options: Any,
    ) -> None:
        # In a list: torch takes no module before the constructor has run.
        self.bodies = [query, query if document is None else document]
        self.scale = self.bodies[1].embedding_size ** -0.5 if scale is None else scale
        super().__init__(**options)

    def configure_encoders(self) -> TwoTower:
        """The transformers; a shared one is stored, and cached, once."""
        query, document = self.bodies
        return TwoTower(query=query, document=document)

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        """The vector of the token that stands for a text: the first, or the last of a causal model.

        An encoder that gives one vector a text has pooled it itself.
        """
        body = self.bodies[1]
        if not isinstance(body, TransformerEncoder):
            return super().configure_head(input_embedding_size)
        return (LastTokenPooling if body.ends_with_special else CLSPooling)(input_embedding_size)

    def configure_scorer(self) -> Scorer:
        """The dot product."""
        return DotScorer()

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        """The softmax over the batch."""
        return MultipleNegativesRankingLoss(self.scale)


class PolyEncoder(BiEncoder):
    """Some vectors a query, to which each document attends with its one (Humeau et al. 2020, "Poly-encoders").

    Args:
        query: a transformer.
        document: another one for documents; None shares the weights.
        codes: m, the vectors of a query.
        variant: `"codes"` learns what they look for, `"first"` takes those of the first m tokens.
        attention: of codes and of documents: `"sqrt"`, `"basic"` as in the paper, or `"multihead"`, see `LearntCodes`
            and `PolyAttention`. Without the division by √D a code begins by looking at one token alone, and a model
            that starts from nothing found half as many.
        scale: see `BiEncoder`.
        **options: of `TrainableModel`.

    Raises:
        ValueError: for another variant.
    """

    def __init__(
        self,
        query: TransformerEncoder,
        document: TransformerEncoder | None = None,
        *,
        codes: int = 64,
        variant: Literal["codes", "first"] = "codes",
        attention: Literal["basic", "sqrt", "multihead"] = "sqrt",
        scale: float | None = None,
        **options: Any,
    ) -> None:
        if variant not in ("codes", "first"):
            raise ValueError(f"variant must be 'codes' or 'first', got {variant!r}")
        self.codes, self.variant, self.attention = codes, variant, attention
        super().__init__(query, document, scale=scale, **options)

    def configure_query_head(self, input_embedding_size: int) -> EncoderHead:
        """The codes."""
        if self.variant == "first":
            return FirstM(input_embedding_size, self.codes)
        return LearntCodes(input_embedding_size, self.codes, attention=self.attention)

    def configure_scorer(self) -> Scorer:
        """Each document attends to the codes."""
        size = self.bodies[1].embedding_size
        return PolyAttention(self.attention, embedding_size=size)


class LateInteraction(BiEncoder):
    """All tokens of both, in few dimensions, each of the query's with its best match (ColBERT, Khattab & Zaharia 2020).

    Args:
        query: a transformer.
        document: another one for documents; None shares the weights.
        size: of the vector of a token.
        scale: 1 / temperature of the softmax over the batch. Scores are means over the tokens of a query, in [−1, 1],
            so that queries of all lengths have one.
        **options: of `TrainableModel`.
    """

    def __init__(
        self,
        query: TransformerEncoder,
        document: TransformerEncoder | None = None,
        *,
        size: int = 128,
        scale: float = 20.0,
        **options: Any,
    ) -> None:
        self.size = size
        super().__init__(query, document, scale=scale, **options)

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        """A projection of each token."""
        return TokenProjection(input_embedding_size, self.size)

    def configure_scorer(self) -> Scorer:
        """The mean of the best matches."""
        return MaxSim("mean")
