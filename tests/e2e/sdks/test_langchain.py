"""LangChain's chat models of OpenAI and Anthropic through the whole system, with only base URL and key changed."""

from __future__ import annotations

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.e2e.system import CLAUDE, System, Team

QUESTION: list[BaseMessage] = [HumanMessage("Where is my parcel?")]


@tool
def find_parcel(number: str) -> str:
    """Say where a parcel is."""
    return f"{number} is on its way"


def openai_chat(team: Team) -> ChatOpenAI:
    return ChatOpenAI(
        model=team.model, base_url=f"{team.system.gateway}/v1", api_key=SecretStr(team.key), max_retries=0
    )


def anthropic_chat(team: Team) -> ChatAnthropic:
    return ChatAnthropic(
        model_name=team.model,
        base_url=team.system.gateway,
        api_key=SecretStr(team.key),
        max_tokens_to_sample=60,
        max_retries=0,
        timeout=60,
        stop=None,
    )


def test_langchain_s_openai_model_answers_whole_streamed_and_with_tools(system: System) -> None:
    team = system.new_team("langchain")
    model = openai_chat(team)

    whole = model.invoke(QUESTION)
    streamed = [chunk for chunk in model.stream(QUESTION) if chunk.content]
    model.bind_tools([find_parcel]).invoke(QUESTION)

    assert whole.text
    assert len(streamed) > 1
    assert whole.usage_metadata is not None
    booked = [(row["input_tokens"], row["output_tokens"]) for row in team.booked(3)]
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) in booked


def test_langchain_s_anthropic_model_answers_whole_streamed_and_with_tools(system: System) -> None:
    team = system.new_team("langchain-claude", **CLAUDE)
    model = anthropic_chat(team)

    whole = model.invoke(QUESTION)
    streamed = [chunk for chunk in model.stream(QUESTION) if chunk.text]
    model.bind_tools([find_parcel]).invoke(QUESTION)

    assert whole.text
    assert len(streamed) > 1
    assert {row["protocol"] for row in team.booked(3)} == {"anthropic_messages"}
