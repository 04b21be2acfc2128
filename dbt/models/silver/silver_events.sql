{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='event_id') }}

with landed as (
    {% for topic in ('plays', 'skips', 'likes') %}
    select
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
        started_at,
        ended_at,
        time_precision_s,
        source,
        skipped,
        reason_end,
        _kafka_topic,
        _kafka_topic_id,
        _kafka_partition,
        _kafka_offset,
        _kafka_timestamp
    from {{ source('bronze', topic) }}
    where {{ newly_landed() }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

first_landed as (
    {{ first_of_each('landed') }}
),

typed as (
    select
        *,
        cast({{ local_time('played_at') }} as date) as played_date,
        coalesce(ms_played, duration_ms) as listened_ms,
        coalesce(coalesce(ms_played, duration_ms) > {{ var('long_play_ms') }}, false) as is_long,
        duration_ms is null as is_duration_unknown,
        album_name is null as is_album_unknown,
        device_type is null as is_device_unknown,
        {{ invalid_reason() }} as invalid_reason,
        {{ dbt.current_timestamp() }} as processed_at
    from first_landed
),

{% if is_incremental() %}
-- An event that silver has stays as it landed first.
fresh as (
    select typed.*
    from typed
    left join {{ this }} as known on typed.event_id = known.event_id
    where
        known.event_id is null
        or typed._kafka_timestamp < known._kafka_timestamp
),

nearby as (
    select distinct user_id, {{ track_key() }} as track_key, played_date
    from fresh
    where event_type = 'play'
),

-- The plays of the same tracks around the new ones: what they are merged with may change.
neighbours as (
    select known.*
    from {{ this }} as known
    where
        known.event_type = 'play'
        and known.played_date >= (select min(played_date) from nearby) - 2
        and known.played_date <= (select max(played_date) from nearby) + 2
        and not exists (select 1 from fresh where fresh.event_id = known.event_id)
        and exists (
            select 1
            from nearby
            where
                nearby.user_id = known.user_id
                and nearby.track_key = {{ track_key('known.') }}
                and nearby.played_date between known.played_date - 2 and known.played_date + 2
        )
),

{% set columns %}
    event_id, user_id, event_type, track_id, track_name, artist_name, album_name, duration_ms, played_at, device_type,
    ms_played, started_at, ended_at, time_precision_s, source, skipped, reason_end, _kafka_topic, _kafka_topic_id,
    _kafka_partition, _kafka_offset, _kafka_timestamp, played_date, listened_ms, is_long, is_duration_unknown,
    is_album_unknown, is_device_unknown, invalid_reason, processed_at
{% endset %}
events as (
    select {{ columns }}, cast(null as varchar) as old_master, true as is_new from fresh
    union all
    select {{ columns }}, master_event_id as old_master, false as is_new from neighbours
),
{% else %}
events as (
    select *, cast(null as varchar) as old_master, true as is_new from typed
),
{% endif %}

spans as (
    select
        event_id,
        user_id,
        {{ track_key() }} as track_key,
        coalesce(source, 'not said') as source,
        {{ span_start() }} as span_start,
        {{ span_end() }} as span_end,
        {{ precision_ms() }} as precision_ms,
        {{ source_rank() }} as source_rank
    from events
    where event_type = 'play' and invalid_reason is null and {{ setting('merge_sources') | lower }}
),

-- Only tracks that a listener has from more than one source can have anything to merge.
contested as (
    select user_id, track_key
    from spans
    group by user_id, track_key
    having min(source) <> max(source)
),

reaching as (
    select
        spans.*,
        max(spans.span_end) over (
            partition by spans.user_id, spans.track_key
            order by spans.span_start, spans.span_end, spans.event_id
            rows between unbounded preceding and 1 preceding
        ) as reached
    from spans
    inner join contested on spans.user_id = contested.user_id and spans.track_key = contested.track_key
),

islands as (
    select
        *,
        sum(case when span_start <= reached then 0 else 1 end) over (
            partition by user_id, track_key
            order by span_start, span_end, event_id
            rows unbounded preceding
        ) as island
    from reaching
),

numbered as (
    select
        *,
        row_number() over (
            partition by user_id, track_key, island, source order by span_start, span_end, event_id
        ) as ordinal
    from islands
),

groups as (
    select
        event_id,
        span_start,
        span_end,
        first_value(event_id) over same_play as master_event_id,
        first_value(span_start) over same_play as master_start,
        first_value(span_end) over same_play as master_end
    from numbered
    window
        same_play as (
            partition by user_id, track_key, island, ordinal
            order by precision_ms, source_rank, event_id
            rows between unbounded preceding and unbounded following
        )
),

merged as (
    select event_id, master_event_id
    from groups
    where event_id <> master_event_id and span_start <= master_end and master_start <= span_end
),

decided as (
    select
        events.*,
        case when events.invalid_reason is null then coalesce(merged.master_event_id, events.event_id) end
            as master_event_id
    from events
    left join merged on events.event_id = merged.event_id
)

select
    {{ silver_event_columns() }},
    _kafka_topic,
    _kafka_timestamp,
    invalid_reason,
    master_event_id,
    cast({{ build_number() }} as bigint) as _build
from decided
where is_new or old_master is distinct from master_event_id
