"""NVIDIA's data-designer: a sampled column, and a text column that is written from it."""

from __future__ import annotations

import os

from task import MAX_TOKENS, MODEL, TEMPERATURE, finish, prompt, read_task

task = read_task()
os.environ |= {"NEMO_TELEMETRY_ENABLED": "false", "DATA_DESIGNER_HOME": str(task.directory / "home")}
import data_designer.config as dd  # noqa: E402  (it reads the environment)
from data_designer.interface import DataDesigner  # noqa: E402

designer = DataDesigner(
    artifact_path=task.directory / "artifacts",
    model_providers=[dd.ModelProvider(name="mock", endpoint=task.url, provider_type="openai", api_key="none")],
)
designer.set_run_config(dd.RunConfig(buffer_size=max(1000, task.rows), max_in_flight_tasks=4 * task.concurrency))
sampling = dd.ChatCompletionInferenceParams(
    temperature=TEMPERATURE, max_tokens=MAX_TOKENS, max_parallel_requests=task.concurrency
)
writer = dd.ModelConfig(
    alias="writer", model=MODEL, provider="mock", inference_parameters=sampling, skip_health_check=True
)
config = dd.DataDesignerConfigBuilder(model_configs=[writer])
numbers = dd.UniformSamplerParams(low=0, high=10**9)
config.add_column(
    dd.SamplerColumnConfig(name="number", sampler_type=dd.SamplerType.UNIFORM, params=numbers, convert_to="int")
)
config.add_column(
    dd.LLMTextColumnConfig(name="text", model_alias="writer", prompt=prompt(0).replace(" 0.", " {{ number }}."))
)
made = designer.create(config, num_records=task.rows, dataset_name="throughput")
finish(len(made.load_dataset()))
