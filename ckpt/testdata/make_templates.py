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
    # tags of several lines
    "{% if true %}{{ 'a'\n-}}\n\n b{% endif\n-%}\n c", "{%- if true and\n  not\nfalse\n-%}\n  x {%-\n\nendif\n%}\ny", "{% set x = [\n'a',\n  2,\nbos_token] %}{{\nx }}{{ x[\n1\n] }}{% for i in\nx\n%}\n{{ i }}{% endfor %}",
    "{{ 'a\nb' ~\n\"c\\\"\n'd\" }}{{ 'it\\'s\n' |\nreplace(\n'\n', '-'\n) }}{% if 'a'\nin\n'A'\n|\nlower\n%}\nz{% endif %}", "{%\n  raw\n-%}\n {{ x\n}} {%-\nendraw\n%}\ny{#\n'\n-#}\n z",
    # items
    "{{ 'a'.split('</think>')[-1] }}", "{{ [1][-1] }}{{ [1, 2][-2] }}{{ [1, 2][1] }}{{ [1][1] }}{{ [1][-2] }}", "{{ 'é世'[0] }}{{ 'é世'[-1] }}{{ 'é世'[-2] }}{{ 'a'[1] }}{{ 'a'[-2] }}",
    "{{ messages[-1].content }}{{ messages[-(messages | length)]['content'] }}{{ messages[0]['role'] }}{{ messages[0]['nothing'] }}", "{{ {'a': 1, 2: 'b'}['a'] }}{{ {'a': 1, 2: 'b'}[2] }}",
    "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}{{ ns['a'] }}", "{% for i in [0, 1] %}{{ messages[i * 0].role[i] }}{{ messages[i - 1]['role'][-1 - i] }}{% endfor %}",
    "{{ 'é世ü'[1:] }}{{ 'é世ü'[:-1] }}{{ 'é世ü'[::-1] }}",
    # methods
    "{{ 'a-b-c'.split('-', 1) }}{{ 'a-b-c'.rsplit('-', 1) }}{{ 'a-b-c'.split('-', 0) }}{{ 'a-b-c'.split('-', maxsplit=5) }}{{ 'a-b'.split(sep='-') }}{{ ''.split('-') }}",
    "{{ ' a  b\tc '.split() }}{{ ' a  b\tc '.split(none, 1) | tojson }}{{ ' a  b  c '.rsplit(none, 1) }}{{ ''.split() }}{{ ' a '.rsplit() }}{{ 'a b'.rsplit(none, 0) }}",
    "{{ 'abab'.replace('b', 'x') }}{{ 'abab'.replace('b', 'x', 1) }}{{ 'ab'.replace('', '-') }}", "[{{ ' a\n'.strip() }}][{{ ' a\n'.rstrip() }}][{{ '\n a '.lstrip() }}][{{ 'xaxy'.strip('yx') }}][{{ 'aax'.lstrip('a') }}][{{ '\u3000a\x1f'.strip() }}]",
    "{{ 'abc'.startswith('ab') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('bc') }}{{ 'abc'.endswith(('x', 'y')) }}{{ 'abc'.startswith('b', 1) }}{{ 'abc'.endswith('b', 0, -1) }}{{ 'abc'.startswith('', 4) }}",
    "{{ 'é世x'.find('x') }}{{ 'abc'.find('z') }}{{ 'abcabc'.find('b', 2) }}{{ 'abcabc'.find('b', -2) }}{{ 'abab'.rfind('é') }}{{ 'ébab'.rfind('b') }}{{ 'abc'.find('', 4) }}{{ 'abc'.find('') }}",
    "{{ 'abcabc'.count('b') }}{{ 'aaa'.count('aa') }}{{ 'abc'.count('') }}{{ 'abcabc'.count('b', 2) }}", "{{ ', '.join(['a', 'b']) }}{{ '-'.join('é世') }}{{ '-'.join([]) }}",
    "{{ 'a\nb\r\n\nc'.splitlines() }}{{ 'a\nb\n'.splitlines(true) | tojson }}{{ ''.splitlines() }}", "{{ 'straße é'.upper() }}{{ 'AÉ'.lower() }}{{ \"it's a DAY x2y\".title() }}{{ 'éA b'.capitalize() }}{{ ''.capitalize() }}",
    "{% for k, v in {'b': 1, 'a': [2]}.items() %}{{ k }}={{ v }},{% endfor %}{{ {'b': 1, 'a': 2}.keys() | list }}{{ {'b': 1, 'a': 2}.values() | list }}{% for k, v in {'b': 1, 'a': 2} | items %}{{ k }}{{ v }}{% endfor %}",
    "{{ {'a': 1}.get('a') }}{{ {'a': 1}.get('b', 2) }}{{ messages[0].get('content') }}{% for k, v in messages[0].items() %}{{ k }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{{ 'x'.ljust(3) ~ 'x'.rjust(3, '.') ~ 'x'.center(4, '.') ~ 'ab'.removeprefix('a') ~ 'a=b'.partition('=')[2] }}", "{{ ' a '.strip().upper().split('A') }}{{ 'a b'.split()[1].upper()[0].lower() }}",
    # filters and statements
    "{{ [3, 1, 2] | reverse | list }}{{ 'é世' | reverse }}{% for m in messages | reverse %}{{ m.role }}{% endfor %}{{ [] | reverse | list }}{{ messages[1:] | reverse | map(attribute='role') | list }}",
    "{% for c in 'é世' %}{{ c }}{% endfor %}{{ 'é世' | list }}{{ 'é世' | join('-') }}{{ 'é世' | first }}{{ 'é世' | last }}{{ 'é世' | length }}{% for a in 'béa' | sort %}{{ a }}{% endfor %}",
    "{{ [1.5, 1.0, 1e16, 1e15, 1e-5, 0.0001, -2.25e-7, 1e22, 0.1 + 0.2] | tojson }}", "{% generation %}\n  {{ messages[-1].content }}\n{% endgeneration %}\nx{% if true %}{% generation %}y{% endgeneration %}{% endif %}",
    # what is not there
    "{{ messages[0].tool_calls is not none }}{{ messages[0]['tool_calls'] is none }}{{ messages[0].tool_calls is defined }}{{ messages[0].content is defined }}{{ messages[5] is defined }}{{ messages[0] is defined }}",
    "{{ tools is defined }}{{ tools is none }}{{ tools is not none }}{{ nothing is defined }}{{ nothing is none }}{{ nothing is undefined }}{% set x = none %}{{ x is defined }}{{ x is none }}{{ documents is not undefined }}",
    "{% for m in messages %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}{{ (messages | selectattr('tool_calls', 'defined') | list | length) }}{{ (messages | first).role is defined }}",
    "{{ nothing | default('d') }}{{ nothing | default }}{{ '' | default('d') }}{{ '' | default('d', true) }}{{ messages[0].x | default('d') }}{{ messages[0].content | default('d') }}{{ nothing | d('e', boolean=true) }}{{ tools | default('d', true) }}",
    "{% if tools is defined and tools %}a{% elif tools is defined and tools is not none %}b{% else %}c{% endif %}{% if messages[1].reasoning_content is string %}a{% else %}b{% endif %}",
    "{{ [] | first | default('d') }}{{ ['a'] | first | default('d') }}{{ '' | last | default('d') }}{{ [''] | last | d('d') }}{{ [] | first is defined }}{{ [0] | last is defined }}{{ [none] | first is none }}{{ [] | first is none }}",
    "{{ messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | first | default('no system') }}{{ (messages | selectattr('role', 'equalto', 'user') | list | first) is defined }}",
    # what "in" takes
    "{{ 'tool' in messages | map(attribute='role') | list }}{{ 'user' in messages | map(attribute='role') }}{{ 'b' not in 'b' | upper }}{{ 'ab' in 'a' ~ 'b' and 'c' in 'C' | lower }}{{ ('a' in 'b') | string | lower }}",
    "{% if 'x' in messages[0].tags | default(['x']) %}a{% endif %}{% for c in ['a', 'b'] | map('upper') if c in 'a' | upper %}{{ c }}{% else %}none{% endfor %}{% for k, v in {'a': 1} | items %}{{ k }}{{ v }}{% endfor %}",
    "{{ ['a' in 'A' | lower, 'é' in 'É' | lower] }}{{ {'in': 'a' in 'b' | upper}['in'] }}{{ 'T' if 'x' in 'X' | lower else 'F' }}{{ 'x' is in ['x'] }}{{ 'x' is not in ['x'] }}{{ ') in (' in ') in ' + '(' }}{% set b = 'a' in 'A' | lower -%}\n {{ b }}{% raw %}{{ a in b | c }}{% endraw %}",
    # texts
    "[{{ '\x1f a\x1c' | trim }}]{{ 'xax' | trim('x') }}{{ ' a ' | trim(chars=none) }}{{ nothing | trim }}{{ true | lower }}{{ 'straße' | upper }}{{ 'ΑΣ' | lower }}{{ 'ǆA' | capitalize }}{{ [' a', 'b '] | map('trim') | join }}{% filter trim %} a\x1f {% endfilter %}",
    "{{ 'a' is sequence }}{{ [] is sequence }}{{ {} is sequence }}{{ 1 is sequence }}{% if messages[0].content is sequence and messages[0].content is not string %}parts{% else %}text{% endif %}",
    # operators, and what none is
    "{{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 10 // -3 }} {{ 10 % -3 }} {{ 5 % 5.0 }} {{ 7.0 // 0.1 }} {{ 2 ** 3 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 2 ** 0.5 }} {{ 6 / 2 }} {{ 3 - 1.5 }}",
    "{{ true + 1 }}{{ true * 3 }} {{ 3 * 'ab' }}{{ 'ab' * -1 }}{{ [1] * 2 }}{{ 2 * [1] }}{{ [1] + ['a'] }} {{ 1 < 1.5 }}{{ 'a' < 'b' }}{{ 2 >= 2 }}{{ true > 0 }}{{ 'b' <= 'a' }}{% for m in messages %}{{ (m.role == 'user') != (loop.index0 % 2 == 0) }}{% endfor %}",
    "{{ none }} {{ none is none }}{{ none is not none }}{{ none is defined }}{{ none is undefined }}{{ (none) is none }} {{ nothing }} {{ messages[0].foo }} {{ messages[0]['foo'] }} {{ messages[0].get('foo') }} {{ {'a': none}.a }} {{ {'a': none}['a'] }} {{ [] | first }} {{ [none] | first }}",
    "{{ none ~ 'a' }}{{ 'a' ~ none }}{{ nothing ~ 'a' }} {{ nothing == none }}{{ none != nothing }}{{ none == none }} {{ none | default('a') }}{{ nothing | default(none) }} {{ none | string }}{{ none | upper }}{{ nothing | upper }} {{ tools }} {{ none or 'a' }}",
    "{% set x = none %}{{ x }} {{ x is none }}{{ x == none }}{% set ns = namespace(a=none) %}{{ ns.a }} {{ ns.b }} {% for i in [none, 1] %}{{ i }}{% endfor %} {% for i in [1, 2] %}{{ loop.previtem }}{% endfor %} {{ none if true else 1 }} {{ 1 if false }}",
]
prefix = "{% for m in messages %}{{ m.content }}{% endfor %}|\n"
messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "<think>a</think>b"}]
rendered = []
for snippet in snippets:
    texts, _ = chat_template_utils.render_jinja_template(
        conversations=[messages], chat_template=prefix + snippet, bos_token="<s>", eos_token="</s>")
    rendered.append({"source": prefix + snippet, "text": texts[0]})
(here / "snippets.json").write_text(json.dumps({"messages": messages, "rendered": rendered}, indent=1, ensure_ascii=False) + "\n")
