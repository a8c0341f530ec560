"""A tokenizer and its chat template: messages → token ids, token ids → text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factory.errors import BadRequest, UsageError
from factory.types import Message


class Chat:
    """The tokenizer of a model, one thread's own. Raises UsageError when it has no chat template, or a broken one."""

    def __init__(self, tokenizer: Any, name: str, template: str | None, settings: Mapping[str, Any]):
        self._tokenizer, self._template, self._settings = tokenizer, template, dict(settings)
        if template is None and not tokenizer.chat_template:
            raise UsageError(
                f"the tokenizer of {name} has no chat template: it is no chat model",
                "choose one that is (`-Instruct`, `-it`, `-chat`), or give `engine.chat_template`, for a base model "
                "\"{% for message in messages %}{{ message['content'] }}\\n{% endfor %}\"",
            )
        from jinja2 import TemplateSyntaxError

        try:
            self._render([Message("user", "hello")], {})
        except TemplateSyntaxError as error:
            raise UsageError(
                f"the chat template of {name} has a fault: {error}", "correct `engine.chat_template`"
            ) from error
        except Exception:  # a template may refuse these messages, and take others
            return

    def encode(self, messages: Sequence[Message], extra: Mapping[str, Any]) -> list[int]:
        """Token ids of a chat, up to where the answer begins. Raises BadRequest where the template refuses.

        `extra`: more variables of the template, before those of the recipe.
        """
        return self._encode(messages, extra, begins=True)

    def encode_whole(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a whole chat, its answer included. Raises BadRequest where the template refuses."""
        return self._encode(messages, {}, begins=False)

    def _encode(self, messages: Sequence[Message], extra: Mapping[str, Any], *, begins: bool) -> list[int]:
        from jinja2 import TemplateError

        try:
            text = self._render(messages, extra, begins=begins)
        except TemplateError as error:
            raise BadRequest(f"the chat template refuses these messages: {str(error)[:500]}") from error
        except (TypeError, ValueError, KeyError) as error:
            told = f"{type(error).__name__}: {str(error)[:500]}"
            raise BadRequest(f"the chat template cannot take these messages: {told}") from error
        ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [int(token) for token in ids]

    def encode_answer(self, text: str) -> list[int]:
        """Token ids of an answer's own text, as they follow those of `encode`."""
        return [int(token) for token in self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]

    @property
    def begin(self) -> list[int]:
        """The token that begins every text; none where the tokenizer has none."""
        token = self._tokenizer.bos_token_id
        return [] if token is None else [int(token)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, without special tokens, as it is."""
        return self._decode(tokens, skip_special_tokens=True)

    def spell(self, token: int) -> str:
        """One token's own text."""
        return self._decode([token], skip_special_tokens=False)

    def special(self, text: str) -> int | None:
        """The id of a special token written like this, which never shows in a text."""
        if text not in self._tokenizer.all_special_tokens and text not in self._tokenizer.get_added_vocab():
            return None
        token = self._tokenizer.convert_tokens_to_ids(text)
        return token if isinstance(token, int) and not self.decode([token]) else None

    @property
    def end(self) -> int | None:
        """The tokenizer's end token."""
        token = self._tokenizer.eos_token_id
        return None if token is None else int(token)

    def _decode(self, tokens: Sequence[int], *, skip_special_tokens: bool) -> str:
        return str(
            self._tokenizer.decode(
                list(tokens), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
            )
        )

    def _render(self, messages: Sequence[Message], extra: Mapping[str, Any], *, begins: bool = True) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        return str(
            self._tokenizer.apply_chat_template(
                plain,
                chat_template=self._template,
                add_generation_prompt=begins,
                tokenize=False,
                **{**extra, **self._settings},
            )
        )
