{# What has changed since the published build, and how models take it up.

   Each row of silver_events carries the number of the build that brought or changed it (`_build`). A row with a higher
   number than the published build's may be missing from gold. An incremental model forgets every key that such a row
   touches and makes it anew from silver (strategy `replace_changed`); so a build that failed half-way is made good by
   the next one, and running it twice changes nothing. #}

{# SQL: the play events that have changed, as a relation. #}
{% macro changed_plays() -%}
    (
        select *, played_date as date
        from {{ ref('silver_events') }}
        where event_type = 'play' and _build > {{ setting('published_build') }}
    )
{%- endmacro %}

{# SQL: the keys that have changed, as a relation with just these columns. #}
{% macro changed_keys(keys) -%}
    (select distinct {{ keys | join(', ') }} from {{ changed_plays() }} as events)
{%- endmacro %}

{# SQL: whether `column` is one of the days that have changed. Days by name are what lets an engine leave the rest of the
   table unread (it knows the least and greatest of each block), however long that is; true where they are too many. #}
{% macro on_changed_days(column) -%}
    {%- set days = [] -%}
    {%- set most = 400 -%}
    {%- if execute -%}
        {%- for row in run_query(
            "select distinct cast(date as varchar) from " ~ changed_plays() ~ " as changed order by 1 limit " ~ (most + 1)
        ) -%}
            {%- do days.append("cast('" ~ row[0] ~ "' as date)") -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if days | length > most -%} true
    {%- elif days -%} {{ column }} in ({{ days | join(', ') }})
    {%- else -%} false
    {%- endif -%}
{%- endmacro %}

{# SQL: whether the row `plays` has a key that has changed; true in a full build. Keys are never null. #}
{% macro has_changed(keys) -%}
    {%- set _ = ref('silver_events') -%} {# dbt has to see it while parsing, when nothing is incremental #}
    {%- if is_incremental() -%}
        {% if 'date' in keys %}{{ on_changed_days('plays.date') }} and {% endif -%}
        exists (
            select 1
            from {{ changed_keys(keys) }} as changed
            where {{ same_keys(keys, 'plays', 'changed') }}
        )
    {%- else -%} true {%- endif -%}
{%- endmacro %}

{# Whether a query finds anything; asked while running, so that a model can leave out what would read much for nothing. #}
{% macro has_rows(query) -%}
    {{ return(not execute or run_query("select count(*) from (" ~ query ~ ") as found")[0][0] | int > 0) }}
{%- endmacro %}

{% macro same_keys(keys, a, b) -%}
    {%- for key in keys -%}
        {{ a }}.{{ key }} = {{ b }}.{{ key }}{% if not loop.last %} and {% endif %}
    {%- endfor -%}
{%- endmacro %}

{# The strategy: forget the keys that have changed, then add what the model says of them. The model's config names the
   keys (`unique_key`), and where they do not stand in silver the macro that finds them (`meta.changed`). #}
{% macro get_incremental_replace_changed_sql(arguments) %}
    {%- set keys = arguments['unique_key'] -%}
    {%- set finder = config.get('meta', {}).get('changed') -%}
    {%- set changed = context[finder](arguments['target_relation']) if finder else changed_keys(keys) -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    {%- set dml -%}
        delete from {{ arguments['target_relation'] }} as present
        using {{ changed }} as changed
        where {{ same_keys(keys, 'present', 'changed') }};
        insert into {{ arguments['target_relation'] }} ({{ columns }})
        select {{ columns }} from {{ arguments['temp_relation'] }}
    {%- endset -%}
    {# DuckDB is in dbt's own transaction here; Snowflake's statements stand alone unless they are put into one. #}
    {{ return(snowflake_dml_explicit_transaction(dml) if target.type == 'snowflake' else dml) }}
{% endmacro %}
