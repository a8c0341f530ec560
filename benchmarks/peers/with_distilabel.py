"""distilabel: a pipeline of one TextGeneration task with OpenAILLM."""

from __future__ import annotations

from task import MAX_TOKENS, MODEL, TEMPERATURE, finish, read_task


def main() -> None:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    task = read_task()
    with Pipeline(name="throughput", cache_dir=task.directory) as pipeline:
        data = [{"instruction": prompt} for prompt in task.prompts()]
        load = LoadDataFromDicts(data=data, batch_size=task.concurrency)
        llm = OpenAILLM(
            model=MODEL,
            base_url=task.url,
            api_key="none",
            generation_kwargs={"temperature": TEMPERATURE, "max_new_tokens": MAX_TOKENS},
        )
        load >> TextGeneration(llm=llm, input_batch_size=task.concurrency)
    made = pipeline.run(use_cache=False)
    finish(len(made["default"]["train"]))


if __name__ == "__main__":
    main()
