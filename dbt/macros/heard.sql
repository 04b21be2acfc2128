{# Whether a play says that the track was listened to: not marked as skipped, and not known to be a short try. #}
{% macro is_heard() -%}
    (skipped is distinct from true and coalesce(listened_ms >= {{ var('heard_ms') }}, true))
{%- endmacro %}
