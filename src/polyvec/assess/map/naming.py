"""Names for groups of documents: the words that set their texts apart, by class-based TF-IDF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyvec.assess.map.plane import NO_CLUSTER

WORDS = 6
_LABEL_WORDS = 3
_LABEL_CHARACTERS = 34
_SAMPLE = 400  # documents of a group that are read
_CANDIDATES = 60
_SAID_BY_PAIR = 0.6
_FEWEST_SHARE = 0.15
_LIFT = 1.5
# Letters first, so that numbers and versions are no names; marks within words (c++ is too short to be one).
_TOKEN = r"(?u)\b[^\W\d_][\w'’+-]*\w\b"
_WEB = ("http", "https", "www", "com", "org", "html")


def cluster_words(
    texts: Sequence[str], clusters: np.ndarray, seed: int | None = 0, *, sample: int = _SAMPLE
) -> list[tuple[str, ...]]:
    """For each cluster its most distinctive words and word pairs, best first; fewer or none where there are none.

    The weight of a term in a cluster is the share of the cluster's documents that have it, times the logarithm of one
    over the mean of these shares over all clusters (the rows in none count as one). Shares instead of counts, so that
    neither one long document nor a large cluster decides alone. A word that
    occurs mostly within a pair is left to the pair, and no two terms of a name share a word.

    Args:
        texts: One text a row.
        clusters: Number of each row's cluster; 65535 for none.
        seed: For the sample.
        sample: Documents of each cluster that are read.

    Source: class-based TF-IDF, after Grootendorst, "BERTopic" (2022), section 3.3, with shares of documents in place of
    counts of words.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    number = int(clusters[clusters != NO_CLUSTER].astype(np.int64).max(initial=-1)) + 1 if len(clusters) else 0
    if not number:
        return []
    generator = np.random.default_rng(seed)
    rows, owner = [], []
    for cluster in (*range(number), NO_CLUSTER):
        members = np.flatnonzero(clusters == cluster)
        if len(members) > sample:
            members = np.sort(generator.choice(members, sample, replace=False))
        rows.append(members)
        owner.append(np.full(len(members), min(cluster, number)))
    chosen, owners = np.concatenate(rows), np.concatenate(owner)
    counter = CountVectorizer(
        ngram_range=(1, 2), token_pattern=_TOKEN, stop_words=sorted({*ENGLISH_STOP_WORDS, *_WEB}), binary=True
    )
    try:
        terms = counter.fit_transform([texts[row] for row in chosen])
    except ValueError:  # no word in any text
        return [()] * number
    sizes = np.maximum(np.bincount(owners, minlength=number + 1), 1)
    membership = csr_matrix((np.ones(len(chosen)), (owners, np.arange(len(chosen)))), shape=(number + 1, len(chosen)))
    found = np.asarray(counter.get_feature_names_out())
    shares = csr_matrix((membership @ terms).multiply(1 / sizes[:, None]))
    usual = np.asarray(shares.sum(axis=0)).ravel() / (number + bool(np.any(owners == number)))
    weight = -np.log(np.minimum(usual, 1)) if number > 1 else np.ones(len(usual))
    names = []
    for cluster in range(number):
        part = slice(shares.indptr[cluster], shares.indptr[cluster + 1])
        columns, share = shares.indices[part], shares.data[part]
        often = share >= min(_FEWEST_SHARE, share.max(initial=0))  # what few documents say is no name for all
        often &= (share >= _LIFT * usual[columns]) | (number == 1)  # nor is what all clusters say
        columns, share = columns[often], share[often]
        score = share * weight[columns]
        best = np.lexsort((columns, -score))[:_CANDIDATES]
        terms_of = [str(found[column]) for column in columns[best]]
        alone = {str(found[column]) for column in columns}
        # a pair with a word that says nothing by itself ("contains machine") says no more than its other word
        good = [place for place, term in enumerate(terms_of) if number == 1 or alone.issuperset(term.split(" "))]
        names.append(_picked([terms_of[place] for place in good], share[best][good]))
    return names


def _picked(terms: list[str], shares: np.ndarray) -> tuple[str, ...]:
    """The first `WORDS` terms that say something new; a pair that mostly comes with a word stands for it."""
    share_of = dict(zip(terms, shares.tolist(), strict=True))
    pairs = [term for term in terms if " " in term]
    picked: list[str] = []
    used: set[str] = set()

    def fresh(term: str) -> bool:
        stems = [_stem(word) for word in term.split(" ")]
        return len(set(stems)) == len(stems) and not used & set(stems)

    for term in terms:
        if not fresh(term):
            continue
        if " " not in term:
            said = (
                pair
                for pair in pairs
                if term in pair.split(" ") and share_of[pair] >= _SAID_BY_PAIR * share_of[term] and fresh(pair)
            )
            term = next(said, term)
        picked.append(term)
        used |= {_stem(word) for word in term.split(" ")}
        if len(picked) == WORDS:
            break
    return tuple(picked)


def _stem(word: str) -> str:
    """A word without a plural ending: enough to see that two terms of a name are one."""
    for ending, least in (("ies", 6), ("es", 6), ("s", 4)):
        if len(word) >= least and word.endswith(ending) and not word.endswith("ss"):
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("ey") if len(word) > 4 else word


def labels_of(words: Sequence[tuple[str, ...]], fallbacks: Sequence[str]) -> list[str]:
    """One label for each cluster, unique and never empty: its first words, else its fallback, else its number.

    Args:
        words: What `cluster_words` gave.
        fallbacks: What to call a cluster without words, for example the title of its middle document; may be empty.
    """
    labels: list[str] = []
    for number, (named, fallback) in enumerate(zip(words, fallbacks, strict=True)):
        label = _joined_label(named, _LABEL_WORDS) or shortened(fallback, _LABEL_CHARACTERS) or f"group {number + 1}"
        if label in labels:
            label = shortened(", ".join(named), 2 * _LABEL_CHARACTERS) or label
        plain, copy = label, number + 1
        while label in labels:
            label = f"{plain} ({copy})"
            copy += 1
        labels.append(label)
    return labels


def _joined_label(words: Sequence[str], most: int) -> str:
    label = ""
    for word in words[:most]:
        longer = f"{label}, {word}" if label else shortened(word, _LABEL_CHARACTERS)
        if label and len(longer) > _LABEL_CHARACTERS:
            break
        label = longer
    return label


def shortened(text: str, length: int) -> str:
    """The text on one line, without characters that do not print, cut at `length` characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 8 * length]).split())
    return line if len(line) <= length else line[: length - 1].rstrip(" ,;:.") + "…"
