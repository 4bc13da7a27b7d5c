"""A batch of pods and the nodes they may go to, as the arrays that kernels read and change.

Nodes are taken at *positions*: those that agree in every shared topology key in use (zone, rack) form a *cell*, whose nodes
stand side by side in the order of their rows. A topology key whose every value is one node's own (hostname) is a *sole* key and
divides nothing. Amounts are float64 that hold integers up to `EXACT`, on which all that is done here is exact: even the quotient of
two such integers is rounded down to the same integer as in integer arithmetic, for it cannot reach the next one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neaptide.model.columns import Bools, Floats, Ints, Longs

Shorts = NDArray[np.int16]

EXACT = 2**53 // 100
"""The largest amount: percentages multiply it by 100."""
REFUSED = -1
LEAST_ALLOCATED, MOST_ALLOCATED, REQUESTED_TO_CAPACITY = range(3)
SPREAD, AT_MOST, TOGETHER, APART = range(4)
"""Kinds of rules: see Rules."""
NEVER = 1 << 62
"""`Census.at_least` where nobody asks for the least count."""
SHARE, SHARE_OF_NONE, PULL, CROWD = range(4)
"""Kinds of wishes: see Wishes."""


class Nodes(NamedTuple):
    """`free` and `scored` change as pods are placed.

    Attributes:
        free: [resources, nodes] what pods can still ask for.
        scored: [measures, nodes] what the pods there ask for, as scores measure it.
        capacity: [measures, nodes] what that is a part of; 0 where a node has none.
        first: [cells + 1] where each cell begins.
        width: [cells] the least power of two that is not below a cell's number of nodes.
        cell: [nodes] the cell of a position.
        rank: [nodes] the place of a position's node among all nodes in the order of their rows: of equal nodes the first wins.
        position: [nodes] the inverse of `rank`.
    """

    free: Floats
    scored: Floats
    capacity: Floats
    first: Longs
    width: Longs
    cell: Longs
    rank: Longs
    position: Longs


class Scoring(NamedTuple):
    """How a node is scored for a class: `fit_weight` * fit + `balance_weight` * balance + the class's fixed score there.

    Attributes:
        strategy: of the fit score, one of the three above.
        weight: [measures] of each measure in the fit score; 0 where it has no part.
        balanced: [measures] whether a measure has a part in the balance score.
        curve: [101] the fit score for each percentage of use, for REQUESTED_TO_CAPACITY.
        fit_weight, balance_weight: the weights of the two scores in the profile; 0 where it lacks them.
    """

    strategy: int
    weight: Floats
    balanced: Bools
    curve: Floats
    fit_weight: float
    balance_weight: float


class Classes(NamedTuple):
    """Classes of pods.

    Attributes:
        request: [resources, classes] what a pod needs free.
        scored: [measures, classes] what it adds to `Nodes.scored`; below 0 where scores of this class leave the measure out.
        balances: [classes] whether the balance score has a say.
        fixed: [nodes, classes] scores that no placement changes, weighted; below 0 where a pod of the class can never go.
    """

    request: Floats
    scored: Floats
    balances: Bools
    fixed: Shorts


class Census(NamedTuple):
    """Counts of pods by domain, in lists called *tallies*. All but the first five attributes change as pods are placed.

    Attributes:
        domain: [keys, nodes] the domain of each position by topology key, below 0 where it has none.
        key: [tallies] the topology key that a tally goes by.
        looked_at, mask: [masks, nodes], [tallies] the nodes that a tally counts on.
        offset: [tallies + 1] where a tally's counts begin in `pods`.
        exists: [as pods] whether the domain has a node that is looked at.
        pods: [domains of all tallies] how many pods of the tally's kind stand in the domain.
        least: [tallies] the lowest count of a domain that exists.
        at_least: [tallies] how many domains have it; NEVER where nobody asks.
        sum_of, total: [tallies], [sums] tallies of one affinity share a sum of all that they count.
    """

    domain: Ints
    key: Longs
    looked_at: Bools
    mask: Longs
    offset: Longs
    exists: Bools
    pods: Ints
    least: Longs
    at_least: Longs
    sum_of: Longs
    total: Longs


class Rules(NamedTuple):
    """What nodes must meet by the counts, and which tallies a pod adds to.

    A rule of one of the kinds admits a node if

    - SPREAD: it has a domain, whose count is at most `least + limit`;
    - AT_MOST: it has a domain, whose count is at most `limit`;
    - TOGETHER: it has a domain, whose count is above 0, or any domain where `limit` is 1 and the tally's sum is 0;
    - APART: it has no domain, or one whose count is 0.

    Attributes:
        kind, tally, limit: [rules], first those by a sole key, then those by a shared one; by class in both parts.
        owner: [rules] the class.
        sole, shared: [classes + 1] rules `sole[c] : sole[c + 1]` and `shared[c] : shared[c + 1]` are those of class c.
        first_added, added: a pod of class c adds 1 to the tallies `added[first_added[c] : first_added[c + 1]]`.
    """

    kind: Longs
    tally: Longs
    limit: Longs
    owner: Longs
    sole: Longs
    shared: Longs
    first_added: Longs
    added: Longs


class Wishes(NamedTuple):
    """Scores that depend on which nodes are feasible: a node's raw score is set in proportion to those of all the others.

    - SHARE: 100 * raw / largest; SHARE_OF_NONE: 100 less that. Raw scores are in `raw`.
    - PULL: 100 * (raw - least) / (largest - least). A raw score is the sum of `factor` * pods over the terms, pods being those
      of the term's tally in the node's domain.
    - CROWD: 100 * (largest + least - raw) / largest, and 0 for nodes that are not in `scored`. A raw score is the rounded sum of
      log(size + 2) * pods + factor over the terms whose `key` the node has, size being the number of domains of
      that key (or of nodes, where `by_node`) among the feasible nodes that are scored.

    Attributes:
        first: [classes + 1] wishes `first[c] : first[c + 1]` are those of class c.
        by_cell: [classes] whether all nodes of a cell have the same raw scores.
        kind, weight: [wishes].
        row: [wishes] of `raw` or of `scored`.
        raw: [rows, nodes].
        scored: [rows, nodes].
        first_term: [wishes + 1] terms `first_term[w] : first_term[w + 1]` are those of wish w.
        tally, key, factor, by_node: [terms].
        log: [nodes + 3] the natural logarithm of the index.
    """

    first: Longs
    by_cell: Bools
    kind: Longs
    weight: Longs
    row: Longs
    raw: Longs
    scored: Bools
    first_term: Longs
    tally: Longs
    key: Longs
    factor: Longs
    by_node: Bools
    log: Floats


class Problem(NamedTuple):
    nodes: Nodes
    scoring: Scoring
    classes: Classes
    census: Census
    rules: Rules
    wishes: Wishes
