"""The operators a `.pt2` file may call: those of an image classifier, and nothing else.

A list of what is allowed, and not of what is forbidden, because the `aten` namespace also holds
`from_file` (maps a file), TorchScript's `save` (writes one), `set_` with a foreign storage, and
internal kernels that write where they are told; and because torch adds operators. Taken from the
Core ATen set, less random, uninitialised and backward ones, and from the exports of one or two
models of each family in torchvision and timm. Names are without overload; `name_` means in place.
A detector that was exported calls a few more; each checks its arguments and touches no file.

Not all others do: `_native_batch_norm_legit_no_training`, `_weight_norm`, `grid_sampler_2d` and
`_upsample_bilinear2d_aa` read past a tensor's end when their arguments do not fit together, and a
division of integers can end the process. That may crash the process which runs an unfamiliar
image's program, and is why the app does so in a worker.
"""

from dataclasses import dataclass

from gsc_core.classifier.pt2.expressions import OF_CLASSIFIER, OF_DETECTOR, Sizes

_POINTWISE = """
abs absolute acos acosh add addcdiv addcmul alpha_dropout asin asinh atan atan2 atanh
bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu clamp clamp_max clamp_min clip
copy cos cosh detach div divide dropout elu eq erf exp exp2 expm1 feature_dropout fill floor
floor_divide fmod ge gelu glu greater greater_equal gt hardshrink hardsigmoid hardswish hardtanh
isfinite isinf isnan le leaky_relu lerp less less_equal log log10 log1p log2 log_sigmoid logical_and
logical_not logical_or logical_xor logit lt masked_fill maximum minimum mish mul multiply
nan_to_num ne neg negative not_equal pow prelu reciprocal relu relu6 remainder round rsqrt
rsub selu sigmoid sign silu sin sinh softplus softshrink softsign sqrt square sub
subtract tan tanh threshold true_divide trunc where zero
"""
_REDUCTIONS = """
all amax amin any argmax argmin argsort count_nonzero cummax cumprod cumsum linalg_norm
linalg_vector_norm log_softmax logsumexp max mean median min norm prod softmax softmin sort std
std_mean sum topk var var_mean _log_softmax _softmax
"""
_LAYERS = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
addbmm addmm addmv avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear bmm cdist
channel_shuffle constant_pad_nd conv1d conv2d conv3d conv_transpose1d conv_transpose2d convolution
cosine_similarity einsum embedding grid_sampler grid_sampler_2d group_norm instance_norm
layer_norm linear local_response_norm matmul max_pool1d max_pool2d max_pool2d_with_indices
max_pool3d mm mv native_group_norm native_layer_norm outer pad pixel_shuffle
pixel_unshuffle reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d rms_norm
scaled_dot_product_attention tensordot
upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
_adaptive_avg_pool2d _native_batch_norm_legit_no_training _weight_norm
_upsample_bicubic2d_aa _upsample_bilinear2d_aa gru lstm
"""
_SHAPES = """
_to_copy _unsafe_view alias arange as_strided broadcast_to cat chunk clone col2im concat concatenate
contiguous diagonal expand expand_as flatten flip full full_like gather hstack im2col index
index_add index_copy index_select lift_fresh lift_fresh_copy linspace meshgrid
movedim narrow new_full new_ones new_zeros one_hot ones ones_like permute ravel repeat
repeat_interleave reshape reshape_as roll rot90 scalar_tensor scatter scatter_add select
select_scatter slice slice_scatter split split_with_sizes squeeze stack swapaxes swapdims sym_numel
sym_size sym_stride t take_along_dim tensor_split tile to transpose tril tril_indices triu
triu_indices type_as unbind unflatten unfold unsqueeze view view_as vstack zeros zeros_like
_assert_scalar _assert_tensor_metadata
"""
_FOURIER = "fft_fft2 fft_fftn fft_ifft2 fft_ifftn fft_irfft2 fft_rfft2 fft_rfft fft_irfft"
_COMPLEX = "complex imag real view_as_complex view_as_real"

_NAMES = " ".join([_POINTWISE, _REDUCTIONS, _LAYERS, _SHAPES, _FOURIER, _COMPLEX]).split()
ATEN = frozenset(_NAMES) | {f"{name}_" for name in _POINTWISE.split()}
"""Names in `torch.ops.aten` that may be called."""

PYTHON = frozenset(
    f"_operator.{name}"
    for name in "add sub mul floordiv mod neg eq ne lt le gt ge".split()  # noqa: SIM905
)
"""Arithmetic on the batch size."""


REGIONS = frozenset(
    f"torch.ops.higher_order.wrap_with_{name}" for name in ("set_grad_enabled", "autocast")
)
"""Calls of a part of the graph under `no_grad` or autocast, which are undone after opening."""


@dataclass(frozen=True)
class Contents:
    """What a kind of program may hold.

    Attributes:
        operators: names in aten.
        arithmetic: on sizes, as Python names it.
        regions: calls of parts of the graph.
        outputs: how many there are; None leaves that open.
        sizes: how intricate they may be.
    """

    operators: frozenset[str]
    arithmetic: frozenset[str]
    regions: frozenset[str]
    outputs: int | None
    sizes: Sizes


CLASSIFIER = Contents(ATEN, PYTHON, REGIONS, outputs=None, sizes=OF_CLASSIFIER)
DETECTOR = Contents(
    ATEN | {"_euclidean_dist", "nll_loss_forward"},
    PYTHON | {"torch.sym_min", "torch.sym_max"},
    frozenset(),
    outputs=4,
    sizes=OF_DETECTOR,
)
