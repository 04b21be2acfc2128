{# Whether a play says that the track was listened to: not marked as skipped, and not known to be a short try. #}
{% macro is_heard() -%}
    (skipped is distinct from true and coalesce(listened_ms >= {{ var('heard_ms') }}, true))
{%- endmacro %}

{# Milliseconds without music before a play (played_at is its end); null for a listener's first. #}
{% macro silence_ms() -%}
    {{ dbt.datediff(
        'lag(played_at) over (partition by user_id order by played_at, event_id)', 'played_at', 'millisecond'
    ) }}
    - coalesce(listened_ms, 0)
{%- endmacro %}
