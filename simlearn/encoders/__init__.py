"""From objects to embeddings."""

from simlearn.encoders.bag_of_tokens_encoder import BagOfTokensEncoder
from simlearn.encoders.categorical_encoder import CategoricalEncoder
from simlearn.encoders.encoder import CollateFn, Encoder, MetaExtractor
from simlearn.encoders.fasttext_encoder import FasttextEncoder
from simlearn.encoders.hashed_ngrams import HashedNGrams
from simlearn.encoders.image_encoder import ImageEncoder
from simlearn.encoders.ngram_vectorizer import NGramVectorizer
from simlearn.encoders.ngrams import NGrams
from simlearn.encoders.normalizers import AsciiFold, Normalizer, UnicodeFold
from simlearn.encoders.numeric_encoder import NumericEncoder
from simlearn.encoders.prompted import Prompted
from simlearn.encoders.qdrl_vectorizer import QdrlVectorizer
from simlearn.encoders.switch_encoder import SwitchEncoder
from simlearn.encoders.text_encoder import TextEncoder
from simlearn.encoders.transformer_encoder import TransformerEncoder
from simlearn.encoders.vector_encoder import VectorEncoder
from simlearn.encoders.vocabulary import Vocabulary
from simlearn.encoders.word_vectors import WordVectors

__all__ = [
    "AsciiFold",
    "BagOfTokensEncoder",
    "CategoricalEncoder",
    "CollateFn",
    "Encoder",
    "FasttextEncoder",
    "HashedNGrams",
    "ImageEncoder",
    "MetaExtractor",
    "NGramVectorizer",
    "NGrams",
    "Normalizer",
    "NumericEncoder",
    "Prompted",
    "QdrlVectorizer",
    "SwitchEncoder",
    "TextEncoder",
    "TransformerEncoder",
    "UnicodeFold",
    "VectorEncoder",
    "Vocabulary",
    "WordVectors",
]
