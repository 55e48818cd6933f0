"""The hooks of guardrails.yaml."""

import re
from dataclasses import replace

from agentbatch.hooks import ItemEnd, ModelAnswer, ModelCall, Refused

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def mask_addresses(call: ModelCall) -> ModelCall:
    """No e-mail address leaves for the model."""
    masked = (replace(each, content=ADDRESS.sub("[e-mail]", each.content)) for each in call.messages)
    return replace(call, messages=tuple(masked))


async def no_promises(answer: ModelAnswer) -> None:
    """An answer that promises money is none."""
    if "refund" in answer.text:
        raise Refused("it promises a refund")


def trimmed(end: ItemEnd) -> ItemEnd:
    """No white space around what is written."""
    return replace(end, output=end.output.strip()) if isinstance(end.output, str) else end
