"""Facets of a model of torch while it runs: keys, queries, values and tokens of any layer, without the prefix.

torch is used only where a model of torch was passed, so it is imported already.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vitscope import _arrays
from vitscope._arrays import Grid
from vitscope._vitscope import InputError

Key = tuple[int, str]
FACETS = ("key", "query", "value", "token")

# The names of three projections, as modelers call them.
_SPLIT = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q", "k", "v"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
)
# The last LayerNorm's, the likelier first.
_NORMS = ("norm", "layernorm", "layer_norm", "post_layernorm", "ln_post", "final_layer_norm", "fc_norm", "ln_f")


class tokens(NamedTuple):
    """What of a module's output is taken: rows ``[B, prefix:, D]``."""

    prefix: int | None = None
    """Tokens before the patches (class, registers); found from the patch embedding unless set."""


class _Block(NamedTuple):
    name: str
    module: Any
    attention: Any


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _projections(attention: Any) -> list[tuple[Any, str]] | None:
    """The weights of the projections of an attention module, each with what it makes; None for another module."""
    packed = getattr(attention, "in_proj_weight", None)
    if packed is not None:
        return [(packed, "all")]
    fused = getattr(getattr(attention, "qkv", None), "weight", None)
    if fused is not None:
        return [(fused, "all")]
    children = dict(attention.named_children())
    for names in _SPLIT:
        weights = [getattr(children.get(name), "weight", None) for name in names]
        if all(weight is not None and weight.dim() == 2 for weight in weights):
            return list(zip(weights, ("query", "key", "value")))
    return None


def _stacks(model: Any) -> dict[str, list[_Block]]:
    """Blocks with attention, by the list that they stand in."""
    modules = dict(model.named_modules())
    stacks: dict[str, list[_Block]] = {}
    for name, module in modules.items():
        if _projections(module) is None:
            continue
        path = name.split(".")
        while path and not path[-1].isdigit():
            path.pop()
        if not path:
            continue
        block = ".".join(path)
        stack = ".".join(part for part in path if not part.isdigit())
        blocks = stacks.setdefault(stack, [])
        if all(known.name != block for known in blocks):
            blocks.append(_Block(block, modules[block], module))
    return stacks


def _stack(model: Any) -> tuple[str, list[_Block]]:
    stacks = _stacks(model)
    if not stacks:
        raise InputError(
            f"{type(model).__name__} has no blocks with attention whose projections are known (qkv, in_proj, q_proj and"
            " the like): name modules with hooks={'blocks.11': vs.tokens()}"
        )
    visual = [name for name in stacks if "vis" in name]
    names = list(stacks) if len(stacks) == 1 else visual
    if len(names) != 1:
        raise InputError(
            f"{type(model).__name__} has several stacks of blocks ({', '.join(stacks)}): pass the part that sees images,"
            " such as model.visual or model.encoder"
        )
    return names[0], stacks[names[0]]


def _norm_after(model: Any, block: str) -> Any:
    """The LayerNorm after the last block: of the module that holds the stack, or of one around it."""
    modules = dict(model.named_modules())
    path = block.split(".")[:-1]
    while True:
        owner = modules[".".join(path)]
        children = dict(owner.named_children())
        for name in _NORMS:
            norm = children.get(name)
            if norm is not None and type(norm).__name__ != "Identity" and not list(norm.children()):
                return norm
        if not path:
            return None
        path.pop()


def patch_conv(model: Any) -> Any:
    """The convolution that cuts an image into patches; None where there is none."""
    for module in model.modules():
        kernel, stride = getattr(module, "kernel_size", None), getattr(module, "stride", None)
        if isinstance(kernel, tuple) and len(kernel) == 2 and kernel == stride:
            if getattr(module, "in_channels", 0) == 3:
                return module
    return None


def _part_with(model: Any, stack: str) -> Any:
    """The part of a model that can be run on images alone: of a model with several towers, the one of the stack."""
    if len(_stacks(model)) == 1:
        return model
    modules = dict(model.named_modules())
    path = stack.split(".")
    for depth in range(1, len(path) + 1):
        part = modules.get(".".join(path[:depth]))
        if part is not None and "vis" in path[depth - 1]:
            return part
    return model


def _layers(layers: Any, depth: int) -> list[int]:
    if layers == "all":
        return list(range(1, depth + 1))
    if layers == "last":
        return [depth]
    asked = [layers] if isinstance(layers, int) else layers
    if isinstance(asked, str) or not isinstance(asked, Iterable):
        raise InputError(f"layers {layers!r}: expected 'all', 'last', a number from 1, or a list of them")
    found = set()
    for layer in asked:
        at = depth + 1 + layer if layer < 0 else layer
        if not 1 <= at <= depth:
            raise InputError(f"layers asks for layer {layer}, but the model has {depth}: choose 1 to {depth}")
        found.add(at)
    return sorted(found)


class Tap:
    """Facets of a model while it runs: use :func:`tap`."""

    def __init__(
        self,
        model: Any,
        layers: Any,
        facets: Sequence[str] | str,
        *,
        rope: str,
        token_norm: str,
        prefix: int | None,
        hooks: Mapping[str, tokens] | None,
    ) -> None:
        if not _arrays.of_torch(model):
            raise InputError(f"tap takes an nn.Module of torch, got {type(model).__name__}")
        for name, word in (("rope", rope), ("token_norm", token_norm)):
            if word not in ("before", "after"):
                raise InputError(f"{name} {word!r}: expected before or after")
        self._torch = _module("torch")
        self._rotated, self._normed, self._prefix = rope == "after", token_norm == "after", prefix
        self._hooks = dict(hooks or {})
        self.features: dict[Any, Any] = {}
        """The facets of the last forward pass: ``{(layer, facet): [B, N, D]}``, and of hooks by the module's name."""
        self.grid: Grid | None = None
        """Rows and columns of patches of the last forward pass."""
        self.model = model
        """What is run on images: the model, or its visual tower."""
        self._facets = [facets] if isinstance(facets, str) else list(facets)
        for facet in self._facets:
            if facet not in FACETS:
                raise InputError(f"facets {facet!r}: expected any of {', '.join(FACETS)}")
        self._blocks: dict[int, _Block] = {}
        self._norm: Any = None
        self.layers: list[int] = []
        """The layers that are tapped, from 1."""
        self.depth = 0
        """The blocks of the model."""
        if layers is not None:
            stack, blocks = _stack(model)
            self.model = _part_with(model, stack)
            self.depth = len(blocks)
            self.layers = _layers(layers, self.depth)
            self._blocks = {layer: blocks[layer - 1] for layer in self.layers}
            self._norm = _norm_after(model, blocks[-1].name)
        modules = dict(model.named_modules())
        for name in self._hooks:
            if name not in modules:
                raise InputError(f"hooks name {name!r}, which is no module of {type(model).__name__}")
        self._named = {name: modules[name] for name in self._hooks}
        self._weights: dict[int, tuple[int, str]] = {}
        for layer, block in self._blocks.items():
            for weight, makes in _projections(block.attention) or []:
                self._weights[id(weight)] = (layer, makes)
        self._conv = patch_conv(model)
        shuffling = (m for m in self.model.modules() if type(m).__name__ == "ViTMAEEmbeddings")
        self._shuffling = next(shuffling, None)
        self._order: Any = None
        self._handles: list[Any] = []
        self._undo: list[Callable[[], None]] = []
        self._mode: Any = None
        self._current: int | None = None

    # What a forward pass shows.

    def _rows(self, output: Any, prefix: int | None, what: str, batch_first: bool = True) -> Any:
        """Patch rows ``[B, N, D]`` of tokens ``[B, T, D]``, or of maps ``[B, D, H, W]``."""
        if isinstance(output, (tuple, list)):
            output = output[0]
        output = getattr(output, "last_hidden_state", output).detach()
        if output.dim() == 4:
            self.grid = (int(output.shape[2]), int(output.shape[3]))
            return output.flatten(2).transpose(1, 2)
        if output.dim() != 3:
            raise InputError(f"{what}: expected tokens [B, T, D], got shape {tuple(output.shape)}")
        if not batch_first:
            output = output.transpose(0, 1)
        count = int(output.shape[1])
        prefix = self._prefix if prefix is None else prefix
        if prefix is None:
            if self.grid is None:
                raise InputError(
                    f"{what}: the model has no convolution that cuts patches, so give prefix, the tokens before the patches"
                )
            prefix = count - self.grid[0] * self.grid[1]
            if prefix < 0:
                raise InputError(
                    f"{what}: {count} tokens for {self.grid[0]} x {self.grid[1]} patches: the model leaves patches out (a"
                    " masked autoencoder's mask_ratio must be 0) or merges them"
                )
        rows = output[:, prefix:]
        if self.grid is None or self.grid[0] * self.grid[1] != rows.shape[1]:
            side = round(rows.shape[1] ** 0.5)
            if side * side != rows.shape[1]:
                raise InputError(f"{what}: {rows.shape[1]} patches make no square grid; check prefix={prefix}")
            self.grid = (side, side)
        if self._order is not None:
            rows = rows.gather(1, self._order[..., None].expand_as(rows))
        return rows

    def _saw_projection(self, weight: Any, output: Any, batch_first: bool) -> None:
        layer, makes = self._weights[id(weight)]
        names = ("query", "key", "value") if makes == "all" else (makes,)
        parts = output.chunk(3, dim=-1) if makes == "all" else (output,)
        for facet, part in zip(names, parts):
            if facet in self._facets and not (self._rotated and (layer, facet) in self.features):
                if part.dim() == 4:
                    part = part.flatten(2)
                what = f"{facet}.{layer}"
                self.features[layer, facet] = self._rows(part, None, what, batch_first)

    def _saw_attention(self, query: Any, key: Any) -> None:
        """Queries and keys as attention uses them, ``[B, heads, T, d]``: after rotation."""
        if self._current not in self._blocks:
            return
        for facet, part in (("query", query), ("key", key)):
            if facet in self._facets:
                what = f"{facet}.{self._current}"
                rows = part.transpose(1, 2).flatten(2)
                self.features[self._current, facet] = self._rows(rows, None, what)

    def _listen(self) -> Any:
        """Sees every linear map and every attention, also where fused code hides what is in between."""
        torch = self._torch
        functional = torch.nn.functional
        linear, attention = functional.linear, functional.scaled_dot_product_attention
        multi_head = functional.multi_head_attention_forward
        base: Any = torch.overrides.TorchFunctionMode
        tap = self

        class Listener(base):  # type: ignore[misc]
            def __torch_function__(
                self, function: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                kwargs = kwargs or {}
                output = function(*args, **kwargs)
                if function is linear:
                    weight = args[1] if len(args) > 1 else kwargs.get("weight")
                    if id(weight) in tap._weights:
                        tap._saw_projection(weight, output, True)
                elif function is attention and tap._rotated:
                    query = args[0] if args else kwargs["query"]
                    key = args[1] if len(args) > 1 else kwargs["key"]
                    tap._saw_attention(query, key)
                elif function is multi_head:
                    # Inside, nothing is seen any more; [T, B, D] here.
                    weight = args[5] if len(args) > 5 else kwargs.get("in_proj_weight")
                    if id(weight) in tap._weights:
                        query = args[0] if args else kwargs["query"]
                        bias = args[6] if len(args) > 6 else kwargs.get("in_proj_bias")
                        tap._saw_projection(weight, linear(query, weight, bias), False)
                return output

        return Listener()

    def __enter__(self) -> Tap:
        if self._mode is not None:
            raise InputError("this tap is in use: leave its with block first")
        self.features = {}
        hook = self._handles.append
        hook(self.model.register_forward_pre_hook(self._begin))
        if self._conv is not None:
            hook(self._conv.register_forward_hook(self._saw_patches))
        if self._shuffling is not None:
            hook(self._shuffling.register_forward_hook(self._saw_shuffle))
        for layer, block in self._blocks.items():
            if "token" in self._facets:
                hook(block.module.register_forward_hook(self._token_hook(layer, block)))
            if self._rotated:
                hook(block.attention.register_forward_pre_hook(self._enter_hook(layer)))
                hook(block.attention.register_forward_hook(self._leave_hook))
                self._make_seen(block.attention)
        for name, module in self._named.items():
            hook(module.register_forward_hook(self._named_hook(name)))
        if any(facet != "token" for facet in self._facets) and self._blocks:
            self._mode = self._listen()
            self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._mode is not None:
            self._mode.__exit__(*error)
            self._mode = None
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for undo in reversed(self._undo):
            undo()
        self._undo = []
        if error[0] is None and self.features:
            self._check()

    def _check(self) -> None:
        missing = [
            f"{facet}.{layer}"
            for layer in self.layers
            for facet in self._facets
            if (layer, facet) not in self.features
        ]
        if missing:
            raise InputError(
                f"the forward pass did not show {', '.join(missing)}: the projections are not called as linear maps"
                " (torch.compile, quantized or fused kernels hide them); run the plain model"
            )

    def _make_seen(self, attention: Any) -> None:
        """Attention is let run through the function that is listened to, until the block is left."""
        if getattr(attention, "fused_attn", None) is False:
            attention.fused_attn = True
            self._undo.append(lambda: setattr(attention, "fused_attn", False))
        config: Any = getattr(attention, "config", None)
        kind = getattr(config, "_attn_implementation", None)
        if kind is not None and kind != "sdpa":
            config._attn_implementation = "sdpa"
            self._undo.append(lambda: setattr(config, "_attn_implementation", kind))

    def _begin(self, module: Any, inputs: Any) -> None:
        self.features, self.grid, self._order = {}, None, None

    def _saw_shuffle(self, module: Any, inputs: Any, output: Any) -> None:
        """The masked autoencoder of transformers shuffles patches even where it masks none: they are put back."""
        self._order = output[2]

    def _saw_patches(self, module: Any, inputs: Any, output: Any) -> None:
        self.grid = (int(output.shape[2]), int(output.shape[3]))

    def _token_hook(self, layer: int, block: _Block) -> Callable[[Any, Any, Any], None]:
        batch_first = bool(getattr(block.attention, "batch_first", True))

        def hook(module: Any, inputs: Any, output: Any) -> None:
            tokens_out = output[0] if isinstance(output, (tuple, list)) else output
            if layer == self.depth and self._normed and self._norm is not None:
                with self._torch.no_grad():
                    tokens_out = self._norm(tokens_out.detach())
            self.features[layer, "token"] = self._rows(tokens_out, None, f"token.{layer}", batch_first)

        return hook

    def _enter_hook(self, layer: int) -> Callable[[Any, Any], None]:
        def hook(module: Any, inputs: Any) -> None:
            self._current = layer

        return hook

    def _leave_hook(self, module: Any, inputs: Any, output: Any) -> None:
        self._current = None

    def _named_hook(self, name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self.features[name] = self._rows(output, self._hooks[name].prefix, name)

        return hook

    def run(self, images: Any, forward: Callable[[Any, Any], Any] | None = None) -> dict[Any, Any]:
        """Runs the model on a batch without gradients, in evaluation mode, and gives the facets."""
        was_training = self.model.training
        self.model.eval()
        try:
            with self._torch.no_grad(), self:
                if forward is None:
                    self.model(images)
                else:
                    forward(self.model, images)
        finally:
            self.model.train(was_training)
        return self.features


def tap(
    model: Any,
    layers: Any = "all",
    facets: Sequence[str] | str = ("key", "query", "value", "token"),
    *,
    rope: str = "before",
    token_norm: str = "after",
    prefix: int | None = None,
    hooks: Mapping[str, tokens] | None = None,
) -> Tap:
    """A context manager that keeps the facets of every forward pass inside it::

        with vs.tap(model, layers=[6, 12], facets=["key", "token"]) as tap:
            model(images)
        tap.features[12, "key"]  # [B, N, D], on the model's device

    Works for ViTs of timm, transformers, torch.hub and open_clip, also where fused attention hides keys and queries, and
    for any module by name: ``hooks={"blocks.11": vs.tokens(prefix=5)}``.

    Args:
        model: An ``nn.Module``. Of a model with a text tower, the visual one is tapped.
        layers: ``"all"``, ``"last"``, a number from 1 (or from -1, the last), a list of them, or None with hooks.
        facets: Any of key, query, value (what the projections give), token (the block's output).
        rope: Keys and queries before or after rotation.
        token_norm: The last layer's token after or before the final LayerNorm.
        prefix: Tokens before the patches (class, registers); found from the patch embedding unless set.
        hooks: Modules whose outputs are kept, by name, in place of layers or beside them.
    """
    if hooks is not None and layers == "all":
        layers = None
    return Tap(
        model, layers, facets, rope=rope, token_norm=token_norm, prefix=prefix, hooks=hooks
    )
