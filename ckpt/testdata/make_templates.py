"""Writes templates/golden.json: what transformers renders for templates/*.jinja, and templates/snippets.json: what it
renders for the lines below.

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

# What templates say in passing, each at the start of a line.
snippets = [
    # white space around tags
    "{{ bos_token }} {% if true %}x{% endif %}", "  {% if true %}x{% endif %}", "a\n\t {% if true %}x{% endif %}  {# c #}", "a {# c #} b",
    "a\n  {#+ c #} b", "a\n  {%+ if true %}x{% endif %}", "a\n  {%- if true -%}\n  x  {%- endif %}", "{% if true %}\n  {% if true %}\n  x\n  {% endif %}\n  {% endif %}\ny",
    "{% if true +%}\n  {% if true %}x{% endif %}{% endif %}", "{# c +#}\n  {# c #}x", "{{ 1 }}\n  {{ 2 }}", "  {{ 1 }}", "{{ 1 -}}\n  {% if true %}x{% endif %}",
    "{{ '  {% if %}' }}\n  {% if true %}x{% endif %}", "{{ {'a': {'b': '}}'}}['a']['b'] }} {% if true %}x{% endif %}", "{% if '%}' %}\n  {% set x = 1 %}\n{{ x }}{% endif %}",
    "{% raw %}\n  {% if %}{{ x }}\n  {% endraw %}\ny", "a {% raw %} {# x {% endraw %} {% if true %}y{% endif %}", "  {% raw -%}\n x {%- endraw %}", "  {%+ raw %}x\n {%+ endraw %}",
    "{# {% raw %} #}\n  {% if true %}x{% endif %}", "a\r\n  {% if true %}x{% endif %}\r\n", "a\n\u00a0{% if true %}x{% endif %}", "{% set s = 'it\\'s' %} {% if true %}{{ s }}{% endif %}",
]
prefix = "{% for m in messages %}{{ m.content }}{% endfor %}|\n"
messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "<think>a</think>b"}]
rendered = []
for snippet in snippets:
    texts, _ = chat_template_utils.render_jinja_template(
        conversations=[messages], chat_template=prefix + snippet, bos_token="<s>", eos_token="</s>")
    rendered.append({"source": prefix + snippet, "text": texts[0]})
(here / "snippets.json").write_text(json.dumps({"messages": messages, "rendered": rendered}, indent=1, ensure_ascii=False) + "\n")
