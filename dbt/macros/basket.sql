{# The kinds of basket of var('basket'), which joins them with `+`. #}
{% macro basket_kinds() -%}
    {%- set kinds = var('basket').split('+') -%}
    {%- for kind in kinds if kind not in ('user', 'session', 'day') -%}
        {{ exceptions.raise_compiler_error(
            "var basket must be user, day, session, or some of them joined by +, not '" ~ var('basket') ~ "'"
        ) }}
    {%- endfor -%}
    {{ return(kinds) }}
{%- endmacro %}

{# SQL that names the basket of this kind that a play belongs to. #}
{% macro basket_key(kind) -%}
    {%- if kind == 'user' -%} 'user/' || user_id
    {%- elif kind == 'day' -%} 'day/' || user_id || '/' || cast(played_date as varchar)
    {%- else -%} 'session/' || user_id || '/' || cast(cast(session_number as bigint) as varchar)
    {%- endif -%}
{%- endmacro %}

{# How the tracks of a history or a basket are ordered, those that are kept first. #}
{% macro history_order(plays) -%}
    {%- if var('basket_keeps') == 'plays' -%} {{ plays }} desc, last_played_at desc
    {%- elif var('basket_keeps') == 'recent' -%} last_played_at desc, {{ plays }} desc
    {%- else -%}
        {{ exceptions.raise_compiler_error("var basket_keeps must be plays or recent, not '" ~ var('basket_keeps') ~ "'") }}
    {%- endif -%}
{%- endmacro %}
