"""Fourteen devices in a sparse graph: six holders each, three of whom open a secret."""

from cohort import Cohort, make_plan, make_vectors, share_work, use_sparse_graph

COUNT, HOLDERS, THRESHOLD = 14, 6, 3


def use_small_sparse_graph(monkeypatch):
    """For as long as `monkeypatch` lasts. What is the same for all devices is computed once."""
    use_sparse_graph(monkeypatch, HOLDERS, THRESHOLD)
    share_work(monkeypatch)


def make_cohort(count=COUNT, seed=1, **plan):
    plan = make_plan(**{"floor": 4, "maximum": count, "gamma": 0.0} | plan)
    return Cohort(plan, make_vectors(count, plan), seed=seed)


def holders_of(masking, index):
    return frozenset(masking.sealed[index])
