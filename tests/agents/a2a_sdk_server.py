"""A real A2A server: the SDK's own, with an agent that answers at once, works, fails, or wants more.

Prints its port. Run it where `a2a-sdk`, `starlette`, `sse-starlette` and `uvicorn` are installed.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from a2a.helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part, Role
from starlette.applications import Starlette


class Agent(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        asked = context.get_user_input()
        if asked.startswith("say"):
            await event_queue.enqueue_event(new_text_message(f"said {asked}", role=Role.ROLE_AGENT))
            return
        await event_queue.enqueue_event(context.current_task or new_task_from_user_message(context.message))
        work = TaskUpdater(event_queue, context.task_id, context.context_id)
        await work.start_work()
        await asyncio.sleep(0.2)
        if asked.startswith("fail"):
            await work.failed(work.new_agent_message([Part(text="no luck today")]))
        elif asked.startswith("ask"):
            await work.requires_input(work.new_agent_message([Part(text="which one?")]))
        else:
            await work.add_artifact([Part(text=f"did {asked}")])
            await work.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def app(url: str) -> Any:
    card = AgentCard(
        name="worker",
        description="Works.",
        version="1",
        supported_interfaces=[AgentInterface(url=f"{url}/rpc", protocol_binding="JSONRPC", protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text"],
        default_output_modes=["text"],
        skills=[AgentSkill(id="work", name="work", description="Works.", tags=["work"])],
    )
    handler = DefaultRequestHandler(agent_executor=Agent(), task_store=InMemoryTaskStore(), agent_card=card)
    return Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/rpc")])


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    print(port, flush=True)
    uvicorn.Server(uvicorn.Config(app(f"http://127.0.0.1:{port}"), log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
