"""Which tokens or categories are known, and their numbers; `python -m simlearn.encoders.vocabulary` builds one."""

from simlearn.encoders.vocabulary.dictionary import Vocabulary

__all__ = ["Vocabulary"]
