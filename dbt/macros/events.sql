{# One row an event: of rows with the same event_id (fetched, imported or produced again) the first one landed. #}
{% macro first_of_each(relation) -%}
    select *
    from {{ relation }}
    qualify
        row_number() over (
            partition by event_id order by _kafka_timestamp, _kafka_topic_id, _kafka_partition, _kafka_offset
        ) = 1
{%- endmacro %}

{# Why an event can't be used; null when it can. Values, not form: what has no form is a dead letter already. #}
{% macro invalid_reason() -%}
    case
        when trim(user_id) = '' then 'no user'
        when trim(track_id) = '' then 'no track'
        when duration_ms < 0 then 'negative duration_ms'
        when ms_played < 0 then 'negative ms_played'
        when greatest(coalesce(duration_ms, 0), coalesce(ms_played, 0)) > 2147483647 then 'longer than 24 days'
        when ended_at < started_at then 'ends before it starts'
    end
{%- endmacro %}

{# Whether a row of bronze lies at or after the positions that silver has taken up; true in a full build. #}
{% macro newly_landed() -%}
    {%- set seen = [] -%}
    {%- if is_incremental() and execute -%}
        {%- set positions = adapter.get_relation(this.database, this.schema, 'silver_positions') -%}
        {%- if positions -%}
            {%- for row in run_query(
                "select _kafka_topic_id, _kafka_partition, next_offset from " ~ positions ~ " order by 1, 2"
            ) -%}
                {%- do seen.append(row) -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endif -%}
    {%- if seen -%}
        not (
            {%- for topic_id, partition, next_offset in seen %}
            (
                _kafka_topic_id = '{{ topic_id }}'
                and _kafka_partition = {{ partition }}
                and _kafka_offset < {{ next_offset }}
            )
            {%- if not loop.last %} or {% endif %}
            {%- endfor %}
        )
    {%- else -%} true {%- endif -%}
{%- endmacro %}

{# Where newly landed rows of a topic are, among others. #}
{% macro came(topic) -%}
    {{ return(came_since(topic) if is_incremental() else source('bronze', topic)) }}
{%- endmacro %}

{# The columns of a silver table of events. #}
{% macro silver_event_columns() -%}
    event_id,
    user_id,
    event_type,
    track_id,
    track_name,
    artist_name,
    album_name,
    duration_ms,
    played_at,
    played_date,
    device_type,
    ms_played,
    listened_ms,
    started_at,
    ended_at,
    time_precision_s,
    source,
    skipped,
    reason_end,
    is_long,
    is_duration_unknown,
    is_album_unknown,
    is_device_unknown,
    _kafka_topic_id,
    _kafka_partition,
    _kafka_offset,
    processed_at
{%- endmacro %}
