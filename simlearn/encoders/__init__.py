"""From objects to embeddings."""

from simlearn.encoders.bag_of_tokens_encoder import BagOfTokensEncoder
from simlearn.encoders.encoder import CollateFn, Encoder, MetaExtractor
from simlearn.encoders.fasttext_encoder import FasttextEncoder
from simlearn.encoders.hashed_ngrams import HashedNGrams
from simlearn.encoders.image_encoder import ImageEncoder
from simlearn.encoders.prompted import Prompted
from simlearn.encoders.switch_encoder import SwitchEncoder
from simlearn.encoders.text_encoder import TextEncoder
from simlearn.encoders.word_vectors import WordVectors

__all__ = [
    "BagOfTokensEncoder",
    "CollateFn",
    "Encoder",
    "FasttextEncoder",
    "HashedNGrams",
    "ImageEncoder",
    "MetaExtractor",
    "Prompted",
    "SwitchEncoder",
    "TextEncoder",
    "WordVectors",
]
