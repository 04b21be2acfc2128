{# Which sessions a build has to make anew: those that a changed play stands in, or next to.

   Sessions and changed plays are put in one row by time. A changed play can lengthen, join or split only the session it
   falls into and the nearest one on either side; all others stay as they are, however long the history. #}

{# SQL: the changed sessions of a listener, and the changed plays themselves, as spans of time. #}
{% macro changed_spans(sessions) -%}
    (
        select user_id, first_played_at, last_played_at, is_change
        from (
            select
                *,
                lag(is_change) over (partition by user_id order by first_played_at, last_played_at, is_change) as change_before,
                lead(is_change) over (partition by user_id order by first_played_at, last_played_at, is_change) as change_after
            from (
                select user_id, first_played_at, last_played_at, false as is_change
                from {{ sessions }}
                where user_id in (select changed.user_id from {{ changed_plays() }} as changed)
                union all
                select distinct user_id, played_at, played_at, true
                from {{ changed_plays() }} as changed
            ) as spans
        ) as spans
        where is_change or change_before or change_after
    )
{%- endmacro %}

{# SQL: whether the row `plays` may lie in one of the spans: by constants, so that an engine leaves other days unread. #}
{% macro on_days_of_spans(sessions) -%}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- set first -%} {{ date_of_local_time('min(first_played_at)') }} {%- endset -%}
        {%- set last -%} {{ date_of_local_time('max(last_played_at)') }} {%- endset -%}
        {%- for row in run_query(
            "select cast(" ~ first ~ " as varchar), cast(" ~ last ~ " as varchar) from " ~ changed_spans(sessions) ~ " as spans"
        ) if row[0] -%}
            {%- do found.append(row) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if found -%}
        plays.played_date >= cast('{{ found[0][0] }}' as date) and plays.played_date <= cast('{{ found[0][1] }}' as date)
    {%- else -%} false {%- endif -%}
{%- endmacro %}

{# The keys to forget: see get_incremental_replace_changed_sql. #}
{% macro changed_sessions(sessions) -%}
    (select user_id, first_played_at from {{ changed_spans(sessions) }} as spans where not is_change)
{%- endmacro %}
