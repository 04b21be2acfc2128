{# One row an event: of rows with the same event_id (fetched, imported or produced again) the first one landed. #}
{% macro first_landed(relation) -%}
    select * exclude (_copy)
    from (
        select
            *,
            row_number() over (
                partition by event_id order by _kafka_timestamp, _kafka_topic_id, _kafka_partition, _kafka_offset
            ) as _copy
        from {{ relation }}
    ) as copies
    where _copy = 1
{%- endmacro %}

{# Why an event can't be used; null when it can. Values, not form: what has no form is a dead letter already. #}
{% macro invalid_reason() -%}
    case
        when trim(user_id) = '' then 'no user'
        when trim(track_id) = '' then 'no track'
        when duration_ms < 0 then 'negative duration_ms'
        when ms_played < 0 then 'negative ms_played'
        when ended_at < started_at then 'ends before it starts'
    end
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
    device_type,
    ms_played,
    coalesce(ms_played, duration_ms) as listened_ms,
    started_at,
    ended_at,
    time_precision_s,
    source,
    skipped,
    coalesce(ms_played, duration_ms) > {{ var('long_play_ms') }} as is_long,
    duration_ms is null as is_duration_unknown,
    album_name is null as is_album_unknown,
    device_type is null as is_device_unknown,
    _kafka_topic_id,
    _kafka_partition,
    _kafka_offset,
    {{ now_utc() }} as processed_at
{%- endmacro %}
