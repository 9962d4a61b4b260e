"""What one cell or function does to names, and what is known of the functions of a notebook."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ast

NOTHING: frozenset[str] = frozenset()
Paths = frozenset[str]  # constants and `$names` of a path; empty when nothing is known of it


class Flow(NamedTuple):
    """Where a value comes from: it may be (a view of) one of `alias`, and may contain what `holds` names."""

    alias: frozenset[str] = NOTHING
    holds: frozenset[str] = NOTHING
    unsafe: bool = False  # a function that changes its arguments

    @property
    def every(self) -> frozenset[str]:
        """Every name that the value has to do with."""
        return self.alias | self.holds


def joined(flows: list[Flow]) -> Flow:
    """Return a value that may be any of several."""
    return Flow(
        frozenset().union(*(flow.alias for flow in flows)),
        frozenset().union(*(flow.holds for flow in flows)),
        any(flow.unsafe for flow in flows),
    )


def held(flow: Flow) -> Flow:
    """Return a new object that contains the value."""
    return Flow(NOTHING, flow.every, flow.unsafe)


@dataclass
class Effects:
    """What running a piece of code does. Names of functions' own variables are written `function:name`."""

    reads: set[str] = field(default_factory=set)  # before the code itself has surely bound them
    loads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)  # surely
    may_bind: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)  # objects of these names, and what they were made of
    may_change: set[str] = field(default_factory=set)  # and whatever else can be reached from them
    parts: set[tuple[str, str]] = field(default_factory=set)  # (a, b): changing a changes b
    keeps: set[tuple[str, str]] = field(default_factory=set)  # (a, b): a uses b, and does not change it
    deferred: dict[str, set[str]] = field(default_factory=dict)  # name -> what its functions read when they run
    draws: int = 0  # random numbers: 0 no, 1 perhaps, 2 yes
    seeds: bool = False
    plots: bool = False
    plot_settings: bool = False
    reads_all: bool = False
    always: list[str] = field(default_factory=list)  # reasons to keep the cell whatever is needed
    read_files: set[Paths] = field(default_factory=set)
    written_files: set[Paths] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)

    def aliased(self, one: str, other: str) -> None:
        """Note that two names may stand for parts of one object."""
        if one != other:
            self.parts |= {(one, other), (other, one)}

    def outward(self, prefix: str) -> Effects:
        """Return what of a function's effects is seen outside it; edges stay, as its own names are unique."""
        mine = f"{prefix}:"
        return Effects(
            may_bind={name for name in self.may_bind | self.binds if ":" not in name},
            changes={name for name in self.changes if not name.startswith(mine)},
            may_change={name for name in self.may_change if not name.startswith(mine)},
            draws=self.draws,
            seeds=self.seeds,
            plots=self.plots,
            plot_settings=self.plot_settings,
            reads_all=self.reads_all,
            always=list(self.always),
            read_files=set(self.read_files),
            written_files=set(self.written_files),
        )

    def add(self, other: Effects) -> None:
        """Take over what a function does when it is called."""
        self.may_bind |= other.may_bind
        self.changes |= other.changes
        self.may_change |= other.may_change
        self.draws = max(self.draws, other.draws)
        self.seeds |= other.seeds
        self.plots |= other.plots
        self.plot_settings |= other.plot_settings
        self.reads_all |= other.reads_all
        self.always += [reason for reason in other.always if reason not in self.always]
        self.read_files |= other.read_files
        self.written_files |= other.written_files


@dataclass
class Function:
    """A function, method or class of the notebook."""

    name: str
    node: ast.AST
    free: set[str]
    local: set[str] = field(default_factory=set)
    effects: Effects = field(default_factory=Effects)
    unsafe: bool = False  # changes its arguments
    changes_self: bool = False
    hands_on: bool = False  # returns (parts of) its arguments
    returned: set[str] = field(default_factory=set)  # names outside it that it may return
    holders: set[str] = field(default_factory=set)  # names outside it that keep its arguments
    makes_functions: bool = False

    def verdict(self) -> tuple[object, ...]:
        """Return what other functions' analysis depends on."""
        outer = self.effects
        return (
            *(self.unsafe, self.changes_self, self.hands_on, len(self.returned), len(self.holders), outer.draws),
            *(len(outer.changes), len(outer.may_change), len(outer.always), len(outer.parts), len(outer.keeps)),
        )


@dataclass
class Book:
    """What is known of a notebook as a whole, whatever the order of its cells."""

    origins: dict[str, str] = field(default_factory=dict)  # imported name -> dotted origin
    bound: set[str] = field(default_factory=set)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    methods: dict[str, list[Function]] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)
    plots: set[str] = field(default_factory=set)  # names of figures and axes
    streams: set[str] = field(default_factory=set)  # names of iterators: reading them changes them
    copies: dict[str, set[str]] = field(default_factory=dict)  # name -> names in what it is a shallow copy of
    seeded: set[str] = field(default_factory=set)  # names of models that draw from generators of their own, or not
    strings: dict[str, set[str]] = field(default_factory=dict)  # name -> constants in what it is bound to


def reach(edges: dict[str, set[str]], roots: set[str] | frozenset[str]) -> set[str]:
    """Return the names that can be reached, the roots among them."""
    found = set(roots)
    waiting = list(roots)
    while waiting:
        for name in edges.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def graph(pairs: set[tuple[str, str]]) -> dict[str, set[str]]:
    """Return pairs as a table of neighbours."""
    found: dict[str, set[str]] = {}
    for one, other in pairs:
        found.setdefault(one, set()).add(other)
    return found


def changed_by(effects: Effects) -> set[str]:
    """Return every name whose object the code may change, by the code's own edges."""
    deep = reach(graph(effects.parts | effects.keeps), effects.may_change)
    return deep | reach(graph(effects.parts), effects.changes)
