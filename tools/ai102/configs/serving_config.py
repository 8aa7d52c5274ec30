"""The serving options of a network's model as protobuf: batching, queues, instances, warm-up, versions, metrics."""

from __future__ import annotations

from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2 as pb

from ai102.contract import Network, Tensor
from ai102.contract.serving import Batching, Instances, Queue
from ai102.lint.triton_versions import has_field
from ai102_runtime.data_types import BY_NAME

# Triton's only latency histogram; it has one for all models from release 2.65 on, for decoupled ones before.
HISTOGRAM = "nv_inference_first_response_histogram_ms"
# Bounds of its buckets as multiples of the latency goal; the goal itself is a bound, so that misses can be counted.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)


def serve_network(config: pb.ModelConfig, network: Network, *, is_plan: bool, target: str, triton: str) -> None:
    """Set everything except the tensors, the platform and the parameters of a network's model."""
    if network.batching.max_batch_size:
        _batch(config.dynamic_batching, network.batching)
    config.instance_group.extend(_instances(network.instances, is_plan=is_plan, has_gpu=target == "tensorrt"))
    config.version_policy.latest.num_versions = network.versions.serve
    config.model_warmup.extend(_warmup(network))
    if network.response_cache:
        config.response_cache.enable = True
    if is_plan and network.tensorrt.cuda_graphs:
        _set_cuda_graphs(config.optimization.cuda, network)
    if has_field(triton, "model_metrics"):
        control = config.model_metrics.metric_control.add()
        control.metric_identifier.family = HISTOGRAM
        control.histogram_options.buckets.extend(network.latency_goal.p99_ms * share for share in BUCKETS)


def serve_in_one_process(config: pb.ModelConfig, network: Network) -> None:
    """Set batching and instances of an ensemble that runs in one process: those of its network, on the CPU."""
    if network.batching.max_batch_size:
        _batch(config.dynamic_batching, network.batching)
    config.instance_group.extend(_instances(network.instances, is_plan=False, has_gpu=False))


def _batch(batcher: pb.ModelDynamicBatching, batching: Batching) -> None:
    batcher.SetInParent()
    batcher.max_queue_delay_microseconds = batching.max_queue_delay_us
    batcher.preferred_batch_size.extend(batching.preferred_batch_sizes)
    batcher.preserve_ordering = batching.preserve_ordering
    if batching.queue:
        batcher.default_queue_policy.CopyFrom(_policy(batching.queue))
    if batching.priorities:
        batcher.priority_levels = batching.priorities.levels
        batcher.default_priority_level = batching.priorities.default
        for level, queue in batching.priorities.queues.items():
            batcher.priority_queue_policy[int(level)].CopyFrom(_policy(queue))


def _policy(queue: Queue) -> pb.ModelQueuePolicy:
    return pb.ModelQueuePolicy(
        timeout_action=pb.ModelQueuePolicy.TimeoutAction.Value(queue.on_timeout.upper()),
        default_timeout_microseconds=queue.timeout_us,
        allow_timeout_override=queue.callers_may_shorten,
        max_queue_size=queue.max_size,
    )


def _instances(instances: Instances, *, is_plan: bool, has_gpu: bool) -> Iterator[pb.ModelInstanceGroup]:
    """A plan runs only on GPUs; an ONNX file runs on the CPU, and also on GPUs if the contract assigns some."""
    group = pb.ModelInstanceGroup
    if not is_plan:
        yield _limited(group(kind=group.KIND_CPU, count=instances.count), instances)
    if is_plan or (instances.gpu and has_gpu):
        count = instances.gpu.count if instances.gpu else instances.count
        devices = instances.gpu.devices if instances.gpu else ()
        yield _limited(
            group(kind=group.KIND_GPU, count=count, gpus=devices, profile=["0"] if is_plan else []), instances
        )


def _limited(group: pb.ModelInstanceGroup, instances: Instances) -> pb.ModelInstanceGroup:
    if instances.rate_limiter:
        group.rate_limiter.priority = instances.rate_limiter.priority
        for resource in instances.rate_limiter.resources:
            added = group.rate_limiter.resources.add(name=resource.name, count=resource.count)
            setattr(added, "global", resource.is_global)  # a keyword in Python
    return group


def warm_lengths(network: Network) -> tuple[int, ...]:
    """The sizes of dims of -1 in the network's warm-up."""
    return network.text.lengths if network.text else (1,)


def warmup_file(tensor: Tensor, length: int) -> str:
    """The name of the file in the model's folder `warmup` with one sample of the tensor at that length."""
    name = tensor.name.replace("/", "_")
    return f"{name}.{length}" if -1 in tensor.dims else name


def warm_runs(network: Network) -> Iterator[tuple[int, int]]:
    """(length, batch size) of each warm-up run; the length is the size of dims of -1."""
    for length in warm_lengths(network) if _has_lengths(network) else (1,):
        for batch in network.warmup.batch_sizes if network.warmup else ():
            yield length, batch


def sized(tensor: Tensor, length: int) -> list[int]:
    """The tensor's dims at that length, without the batch."""
    return [length if size == -1 else size for size in tensor.dims]


def _has_lengths(network: Network) -> bool:
    return any(-1 in tensor.dims for tensor in network.inputs)


def _warmup(network: Network) -> Iterator[pb.ModelWarmup]:
    for length, batch in warm_runs(network):
        name = f"batch {batch}" + (f", length {length}" if _has_lengths(network) else "")
        added = pb.ModelWarmup(name=name, batch_size=batch, count=1)
        for tensor in network.inputs:
            value = added.inputs[tensor.name]
            value.data_type = data_type(tensor)
            value.dims.extend(sized(tensor, length) or [1])
            value.input_data_file = warmup_file(tensor, length)
        yield added


def _set_cuda_graphs(cuda: pb.ModelOptimizationPolicy.Cuda, network: Network) -> None:
    cuda.graphs = True
    for length, batch in warm_runs(network):
        spec = cuda.graph_spec.add(batch_size=batch)
        for tensor in network.inputs:
            spec.input[tensor.name].dim.extend(sized(tensor, length))


def data_type(tensor: Tensor) -> int:
    """Triton's number of the type."""
    number: int = pb.DataType.Value(BY_NAME[tensor.type].config_name)
    return number
