{# SQL that names the basket a play belongs to, after var('basket'). #}
{% macro basket_key() -%}
    {%- set basket = var('basket') -%}
    {%- if basket == 'user' -%} user_id
    {%- elif basket == 'day' -%} user_id || '/' || cast({{ date_of_local_time('played_at', "'UTC'") }} as varchar)
    {%- elif basket == 'session' -%} user_id || '/' || cast(session_number as varchar)
    {%- else -%} {{ exceptions.raise_compiler_error("var basket must be user, day or session, not '" ~ basket ~ "'") }}
    {%- endif -%}
{%- endmacro %}
