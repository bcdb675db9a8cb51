"""Writes templates/golden.json: what transformers renders for templates/*.jinja.

    pip install transformers jinja2
    python make_templates.py

The templates state the behaviour of the chat templates of Qwen2, Qwen2.5, Qwen3 and Llama 3; whitespace.jinja
exercises the settings and functions that transformers adds to Jinja. The clock is fixed at 2024-07-26.
"""

import datetime
import json
import pathlib

from transformers.utils import chat_template_utils


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 12, 34, 56)


chat_template_utils.datetime = Clock
here = pathlib.Path(__file__).parent / "templates"
system = {"role": "system", "content": "Plan in small steps.\nUse the tools."}
user = {"role": "user", "content": "  What is 2+2? <|im_end|> naïve \u4e2d \"q\" <b>&'x'\n"}
think = {"role": "assistant", "content": "<think>\nadd them\n</think>\n\n4"}
plain = {"role": "assistant", "content": "four"}
more = {"role": "user", "content": "and 3+3?"}
chats = {
    "user": [user],
    "system": [system, user],
    "dialogue": [system, user, think, more],
    "no_system": [user, plain, more, think],
    "ends_with_assistant": [user, think],
    "system_only": [system],
    "assistant_first": [plain, more],
    "second_system": [user, system, more],
}
cases = []
for path in sorted(here.glob("*.jinja")):
    for name, messages in chats.items():
        for add in (False, True):
            case = {"template": path.name, "chat": name, "messages": messages, "add_generation_prompt": add}
            try:
                texts, _ = chat_template_utils.render_jinja_template(
                    conversations=[messages], chat_template=path.read_text(), add_generation_prompt=add,
                    bos_token="<s>", eos_token="</s>")
                case["text"] = texts[0]
            except Exception as e:
                case["refused"] = str(e)
            cases.append(case)
(here / "golden.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
