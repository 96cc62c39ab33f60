"""Weights from a file to the network that was meant: what they say, and what has to be asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gsc_core.classifier.programs.program import check_weights
from gsc_core.classifier.pt2.reader import RECIPE
from gsc_core.classifier.weights.bounded import bounded_by
from gsc_core.classifier.weights.heads import COUNTER, ReplacedHead, put_in, replaced_head
from gsc_core.classifier.weights.library_names import conversions
from gsc_core.classifier.weights.networks_in_file import (
    NetworkWeights,
    networks_in,
    outside,
    select,
)
from gsc_core.classifier.weights.skeleton import Options, Skeleton, signature, words_of
from gsc_core.classifier.weights.unnamed_averages import with_names
from gsc_core.classifier.weights.weight_names import (
    Table,
    is_average,
    listed,
    of_training,
    plain_values,
    roots,
    unwrapped,
    without_parallel,
)
from gsc_core.errors import CheckpointError, SpecError
from gsc_core.errors.questions import Answer, Question, Setting
from gsc_core.evaluation.counts import number_of

_ASKED = {
    "transform_input": (
        "whether the network rescales its input",
        ("true", "if it was fine-tuned from the library's trained weights"),
        ("false", "if it was trained from scratch"),
    ),
}
"""Options that no weights show and that change the logits, as the libraries' builders set them."""

_CLOSE = 0.5  # of an architecture's tensors: from here on, its options are tried
_MAX_PREFIX_TOKENS = 8
_SHOWN_OPTIONS = 12


@dataclass(frozen=True)
class Fitted:
    """A network with the weights of a file.

    Attributes:
        module: the network.
        options: of its constructor, those among them that the weights have shown.
        notes: what a person should know of how the file was read, in whole sentences.
    """

    module: nn.Module
    options: Options
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Match:
    """Weights that fit an architecture, name by name."""

    skeleton: Skeleton
    table: Table
    head: ReplacedHead | None = None
    renamed: bool = False


def fit(
    content: Table, architecture: str, options: Options, name: str, choice: str | None = None
) -> Fitted:
    """Build the named architecture as the weights want it, and load them.

    Half-precision weights are widened to float32, which loses nothing.

    Args:
        content: every tensor of the file by its whole name.
        architecture: its full name.
        options: of its constructor.
        name: how messages call the file.
        choice: which weights, where the file holds several: `plain`, `ema` or a name.

    Raises:
        SpecError: the architecture, its options or the choice are wrong, or something has to be
            asked that weights cannot tell.
        CheckpointError: the weights do not fit, or are not finite and dense.
    """
    with bounded_by(content):
        return _fitted(content, architecture, options, name, choice)


def _fitted(
    content: Table, architecture: str, options: Options, name: str, choice: str | None
) -> Fitted:
    table, notes = plain_values(unwrapped(content), name)
    start = Skeleton.of(architecture, options)
    table = with_names(without_parallel(table, start.tensors), start, name)
    networks = networks_in(table, start.tensors)
    network = select(networks, choice, name)
    rest = outside(networks, table)
    own, aside = _without_training(network.table, start)
    aside |= {key: value for key, value in rest.items() if of_training(key, value)}
    further = sorted(key for key in rest if key not in aside and not is_average(key))
    match, more = _matched(own, start, further, name)
    _require_answers(match.skeleton, options, name)
    module = match.skeleton.same_network()
    table = match.table if match.head is None else put_in(module, match.head, match.table)
    table = {k: v.float() if v.is_floating_point() else v for k, v in table.items()}
    check_weights(table, name)
    _load(module, table)
    notes += (*_said_of(network, networks), *_said_of_rest(aside, rest, start), *more)
    return Fitted(module, match.skeleton.options, notes)


def _load(module: nn.Module, table: Table) -> None:
    """Load what was compared; layers see the version of today, as their names are today's."""
    versioned = module.state_dict()
    versioned.update(table)
    module.load_state_dict(versioned)


def _without_training(table: Table, skeleton: Skeleton) -> tuple[Table, Table]:
    """The network's own tensors, and those that serve training alone."""
    aside = {
        key: value
        for key, value in table.items()
        if key not in skeleton.tensors and (key in skeleton.of_training or of_training(key, value))
    }
    return {key: value for key, value in table.items() if key not in aside}, aside


def _matched(
    table: Table, start: Skeleton, further: list[str], name: str
) -> tuple[_Match, tuple[str, ...]]:
    """The architecture as the weights want it, and what was concluded from them."""
    start, notes = _sized(table, start)
    match = _match(table, start, name)
    if match is None and _likeness(table, start) >= _CLOSE:
        match, shown = _with_another_option(table, start, name)
        notes += shown
    if match is None:
        raise _misfit(table, start, further, name)
    if further:
        raise CheckpointError(
            f"{name} holds layers besides those of {start.architecture} ({listed(further)}), so it "
            f"is a network of your own around it: export it whole, as .pt2, with {RECIPE}."
        )
    if not set(match.skeleton.of_classes) & match.table.keys() and match.head is None:
        raise _headless(name, start.architecture)
    if match.renamed:
        notes += ("Its weights are named as in an earlier version, which its library reads.",)
    if match.head is not None:
        notes += (
            f"Its head is one linear layer of its own ({match.head.linear}) in place of "
            f"{match.head.place}; anything else without weights, such as dropout or a "
            "softmax, was left out.",
        )
    return match, notes


def _match(table: Table, skeleton: Skeleton, name: str) -> _Match | None:
    """The weights under their own names, else as the library's loaders rename them."""
    if match := _match_names(table, skeleton, name):
        return match
    for renamed in conversions(table, _with_its_classes(table, skeleton, name)):
        if match := _match_names(renamed, skeleton, name):
            return _Match(match.skeleton, match.table, match.head, renamed=True)
    return None


def _match_names(table: Table, skeleton: Skeleton, name: str) -> _Match | None:
    sized = _with_its_classes(table, skeleton, name)
    if not _misfits(table, sized.tensors):
        return _Match(sized, table)
    head = replaced_head(table, skeleton)
    if head is None or head.linear is None:
        return None
    place, linear = f"{head.place}.", f"{head.linear}."
    others = {k: v for k, v in table.items() if not k.startswith(linear)}
    expected = {k: v for k, v in skeleton.tensors.items() if not k.startswith(place)}
    return None if _misfits(others, expected) else _Match(skeleton, table, head)


def _with_its_classes(table: Table, skeleton: Skeleton, name: str) -> Skeleton:
    """With as many classes as the weights have, where the head is the architecture's own."""
    for key in reversed(skeleton.of_classes):
        actual, expected = table.get(key), skeleton.tensors.get(key)
        if actual is None or actual.ndim == 0 or actual.shape[0] == 0:
            continue
        if expected is not None and actual.shape[1:] != expected.shape[1:]:
            continue
        classes = actual.shape[0]
        if expected is not None and expected.shape[0] == classes:
            return skeleton
        if "num_classes" in skeleton.options:
            said = skeleton.options["num_classes"]
            raise SpecError(f"{name} has {classes} classes, but the options say {said}.")
        return skeleton.changed(num_classes=classes)
    return skeleton


def _sized(table: Table, start: Skeleton) -> tuple[Skeleton, tuple[str, ...]]:
    """With the size and channels of the images that shapes of the weights show."""
    notes: tuple[str, ...] = ()
    for key in start.tensors.keys() & table.keys():
        changes = _shown_by(table[key], start.tensors[key], start)
        for option, value in changes.items():
            changed = _buildable(start, option, value)
            if changed is not None and changed.tensors[key].shape == table[key].shape:
                start = changed
                notes += (_shown(f"{option}={value}"),)
    return start, notes


def _shown(option: str) -> str:
    return f"The network is built with {option}, which the shapes of the weights show."


def _shown_by(actual: Tensor, expected: Tensor, start: Skeleton) -> dict[str, int]:
    arguments = signature(start.module).keys() - start.options.keys()
    differ = [(a, e) for a, e in zip(actual.shape, expected.shape, strict=False) if a != e]
    if actual.ndim != expected.ndim or len(differ) != 1:
        return {}
    if actual.ndim == 4 and actual.shape[1] != expected.shape[1] == 3:
        return {"in_chans": actual.shape[1]} if "in_chans" in arguments else {}
    option = next((o for o in ("img_size", "image_size") if o in arguments), None)
    size = _image_size(*differ[0], _size_of(start.module))
    return {option: size} if option and size else {}


def _size_of(module: nn.Module) -> int:
    size: Any = getattr(getattr(module, "patch_embed", None), "img_size", None)
    size = size or getattr(module, "image_size", None) or 0
    return int(size[0] if isinstance(size, tuple | list) else size)


def _image_size(tokens: int, usual_tokens: int, usual_size: int) -> int | None:
    """The side of square images that make so many tokens, some of which are not patches."""
    for prefix in range(_MAX_PREFIX_TOKENS + 1):
        sides = [math.isqrt(max(0, n - prefix)) for n in (tokens, usual_tokens)]
        if [side**2 + prefix for side in sides] == [tokens, usual_tokens] and sides[1]:
            size, rest = divmod(usual_size * sides[0], sides[1])
            return size if rest == 0 and size else None
    return None


def _with_another_option(
    table: Table, start: Skeleton, name: str
) -> tuple[_Match | None, tuple[str, ...]]:
    """The one other setting of an option that fits; raises SpecError where several do."""
    matches = {
        f"{option}={_as_typed(value)}": match
        for option, value in _alternatives(start)
        if (changed := _buildable(start, option, value)) is not None
        and (match := _match(table, changed, name)) is not None
    }
    if len(matches) > 1:
        question = Question(
            doubt=f"The weights in {name} fit {start.architecture} with more than one option, and "
            "do not say which of them the model was made with",
            answers=tuple(Answer.of(Setting.OPTIONS, said) for said in matches),
        )
        raise SpecError.asking(question)
    if not matches:
        return None, ()
    said, match = next(iter(matches.items()))
    return match, (_shown(said),)


def _alternatives(start: Skeleton) -> Iterator[tuple[str, Any]]:
    for option, parameter in signature(start.module).items():
        if option in start.options:
            continue
        if isinstance(parameter.default, bool):
            yield from ((option, value) for value in (True, False))
        else:
            yield from ((option, word) for word in words_of(parameter))


def _buildable(start: Skeleton, option: str, value: Any) -> Skeleton | None:
    try:
        return start.changed(**{option: value})
    except SpecError:
        return None


def _as_typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require_answers(skeleton: Skeleton, given: Options, name: str) -> None:
    """Raise SpecError for what weights cannot tell, changes the logits, and was not said."""
    for option in _ASKED.keys() & signature(skeleton.module).keys() - given.keys():
        what, *answers = _ASKED[option]
        question = Question(
            doubt=f"{name} fits {skeleton.architecture}, but weights do not say {what}",
            answers=tuple(
                Answer.of(Setting.OPTIONS, f"{option}={value}", when) for value, when in answers
            ),
        )
        raise SpecError.asking(question)


def _said_of(network: NetworkWeights, networks: list[NetworkWeights]) -> Iterator[str]:
    others = [other.label for other in networks if other is not network]
    if network.averaged:
        yield f"Its weights are an average over training (EMA), {network.label} in the file."
    elif others:
        yield f"Its weights are {network.label} in the file."
    if others:
        yield f"The file also holds {listed(others)}, which was left out."


def _said_of_rest(aside: Table, rest: Table, start: Skeleton) -> Iterator[str]:
    averages = [key for key in rest if key not in aside and is_average(key)]
    auxiliary = [key for key in aside if key in start.of_training]
    other = [key for key in aside if key not in start.of_training]
    if averages:
        yield (
            f"The file also holds averaged weights ({listed(averages)}), whose names are not the "
            "network's: they were left out."
        )
    if auxiliary:
        yield f"Left out because only training needs them: the heads {listed(roots(auxiliary))}."
    if other:
        named = listed(roots(other))
        tensors = number_of(len(other), "tensor")
        yield f"Left out because only training needs them: {tensors} ({named})."


def _misfits(actual: Table, expected: Table) -> list[str]:
    """What does not fit, of each kind the first tensors and how many."""
    counters = {key for key in expected if key.endswith(COUNTER)}
    problems = {
        "missing": sorted(expected.keys() - actual.keys() - counters),
        "not in the architecture": sorted(actual.keys() - expected.keys()),
        "of another shape": [
            f"{key} ({_shape(actual[key])} instead of {_shape(expected[key])})"
            for key in sorted(actual.keys() & expected.keys())
            if actual[key].shape != expected[key].shape
        ],
    }
    return [f"{len(keys)} {what}: {listed(keys)}" for what, keys in problems.items() if keys]


def _likeness(table: Table, skeleton: Skeleton) -> float:
    same = [k for k, v in skeleton.tensors.items() if k in table and table[k].shape == v.shape]
    return len(same) / max(1, len(skeleton.tensors))


def _misfit(table: Table, start: Skeleton, further: list[str], name: str) -> CheckpointError:
    sized = _with_its_classes(table, start, name)
    head = replaced_head(table, start)
    missing = {key for key in sized.tensors.keys() - table.keys() if not key.endswith(COUNTER)}
    if missing and missing <= set(start.of_classes) and not table.keys() - sized.tensors.keys():
        return _headless(name, start.architecture, further)
    if head is not None:
        return CheckpointError(
            f"{name} has a head of your own in place of {head.place} ({listed(head.names)}), "
            f"and weights do not say what is computed between its layers: export the whole model, "
            f"as .pt2, with {RECIPE}."
        )
    arguments = list(signature(start.module))[:_SHOWN_OPTIONS]
    such_as = f", such as {', '.join(arguments)}" if arguments else ""
    misfits = "; ".join(_misfits(table, sized.tensors))
    question = Question(
        doubt=f"The weights in {name} do not fit {start.architecture} ({misfits})",
        otherwise=f"name the architecture and the options it was trained with{such_as}",
        fields=(Setting.ARCHITECTURE, Setting.OPTIONS),
    )
    return CheckpointError.asking(question)


def _headless(name: str, architecture: str, further: list[str] | None = None) -> CheckpointError:
    if further:
        return CheckpointError(
            f"{name} holds {architecture} without its head, and layers besides "
            f"({listed(further)}): it is a network of your own, so export it whole, as .pt2, with "
            f"{RECIPE}."
        )
    return CheckpointError(
        f"{name} holds {architecture} without a head, so it gives features and no classes: give "
        "the weights of a classifier that was fine-tuned from it."
    )


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
