"""Ollama at the provider, as its own client sees it, and what stands in its books."""

from __future__ import annotations

from collections.abc import Iterator

import ollama
import pytest

from tests.demo.conftest import Account

HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def client(account: Account) -> Iterator[ollama.Client]:
    headers = {"authorization": f"Bearer {account.name}"}
    with ollama.Client(host=account.provider_url, headers=headers) as opened:
        yield opened


def test_an_answer_and_the_books_agree(account: Account, client: ollama.Client) -> None:
    answer = client.chat(model="llama3.2", messages=HELLO, options={"num_predict": 7})

    call = account.only_call()
    assert (answer.prompt_eval_count, answer.eval_count) == (call["input_tokens"], 7)
    assert answer.done_reason == "length"
    assert call["amount_nusd"] == (call["input_tokens"] + 7) * 20


def test_a_stream_tells_the_same_line_by_line(account: Account, client: ollama.Client) -> None:
    account.behave(output_tokens=12)

    pieces = list(client.generate(model="llama3.2", prompt="Say hello.", stream=True))

    assert [piece.done for piece in pieces] == [False] * 12 + [True]
    assert (pieces[-1].done_reason, pieces[-1].eval_count) == ("stop", 12)
    assert account.only_call()["finished"] is True


def test_refusals_have_ollamas_shape(account: Account, client: ollama.Client) -> None:
    for model, prompt, status in (("gpt-4o", "Hello", 404), ("llama3.2", "", 400)):
        with pytest.raises(ollama.ResponseError) as caught:
            client.generate(model=model, prompt=prompt)
        assert caught.value.status_code == status
    assert account.books()["total_nusd"] == 0
