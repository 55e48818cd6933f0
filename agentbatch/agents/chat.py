"""The default agent: render the prompt, ask the model, check the answer."""

from __future__ import annotations

from typing import Literal

from agentbatch.agents.asking import Asker, AskingConfig, build_asker
from agentbatch.assembly import Assembly
from agentbatch.items import Output, Scope
from agentbatch.record import record
from agentbatch.step import Visit


class ChatConfig(AskingConfig):
    """One prompt, one answer."""

    kind: Literal["chat"] = "chat"


@record
class ChatAgent:
    """One prompt, one answer; with a schema, a checked and parsed one."""

    asker: Asker
    kind: str = "chat"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Ask once, and once more when the answer does not fit the schema.

        Raises:
            SchemaFault: neither answer fits.
        """
        messages = await self.asker.opening(scope.names, visit)
        response = await self.asker.ask(messages, visit)
        return await self.asker.conclude(messages, response, visit)


def build(config: ChatConfig, name: str, assembly: Assembly) -> ChatAgent:
    """The agent that `config` describes."""
    return ChatAgent(build_asker(config, name, assembly))
