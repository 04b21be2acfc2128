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
    from {{ came(topic) }}
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
        {{ date_of_local_time('played_at') }} as played_date,
        coalesce(ms_played, duration_ms) as listened_ms,
        coalesce(coalesce(ms_played, duration_ms) > {{ var('long_play_ms') }}, false) as is_long,
        duration_ms is null as is_duration_unknown,
        album_name is null as is_album_unknown,
        device_type is null as is_device_unknown,
        {{ invalid_reason() }} as invalid_reason,
        {{ now_utc() }} as processed_at
    from first_landed
),

{% if is_incremental() %}
-- An event that silver has stays as it landed first.
fresh as (
    select typed.*, known._first_build
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

-- The plays of the same tracks around the new ones, ...
near as (
    select known.event_id, known.user_id, {{ track_key('known.') }} as track_key, known.source
    from {{ this }} as known
    inner join nearby
        on
            known.user_id = nearby.user_id
            and {{ track_key('known.') }} = nearby.track_key
            and known.played_date >= nearby.played_date - 2
            and known.played_date <= nearby.played_date + 2
    where
        known.event_type = 'play'
        and known.played_date >= (select min(earliest.played_date) from nearby as earliest) - 2
        and known.played_date <= (select max(latest.played_date) from nearby as latest) + 2
),

-- ... where more than one source tells of them: what they are merged with may change.
shared as (
    select user_id, track_key
    from (
        select user_id, track_key, coalesce(source, 'not said') as source
        from near
        union all
        select user_id, {{ track_key() }}, coalesce(source, 'not said')
        from fresh
    ) as told
    group by user_id, track_key
    having min(source) <> max(source)
),

neighbours as (
    select known.*
    from {{ this }} as known
    where
        known.played_date >= (select min(earliest.played_date) from nearby as earliest) - 2
        and known.played_date <= (select max(latest.played_date) from nearby as latest) + 2
        and known.event_id in (
            select near.event_id
            from near
            inner join shared on near.user_id = shared.user_id and near.track_key = shared.track_key
        )
        and not exists (select 1 from fresh where fresh.event_id = known.event_id)
),

{% set columns %}
    event_id, user_id, event_type, track_id, track_name, artist_name, album_name, duration_ms, played_at, device_type,
    ms_played, started_at, ended_at, time_precision_s, source, skipped, reason_end, _kafka_topic, _kafka_topic_id,
    _kafka_partition, _kafka_offset, _kafka_timestamp, played_date, listened_ms, is_long, is_duration_unknown,
    is_album_unknown, is_device_unknown, invalid_reason, processed_at, _first_build
{% endset %}
events as (
    select {{ columns }}, cast(null as varchar) as old_master, true as is_new from fresh
    union all
    select {{ columns }}, master_event_id as old_master, false as is_new from neighbours
),
{% else %}
events as (
    select *, cast(null as bigint) as _first_build, cast(null as varchar) as old_master, true as is_new from typed
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
            rows between unbounded preceding and current row
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

ranked as (
    select
        *,
        row_number() over (
            partition by user_id, track_key, island, ordinal order by precision_ms, source_rank, event_id
        ) as rank
    from numbered
),

merged as (
    select record.event_id, master.event_id as master_event_id
    from ranked as record
    inner join ranked as master
        on
            record.user_id = master.user_id
            and record.track_key = master.track_key
            and record.island = master.island
            and record.ordinal = master.ordinal
    where
        record.rank > 1
        and master.rank = 1
        and record.span_start <= master.span_end
        and master.span_start <= record.span_end
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
    coalesce(master_event_id = event_id, false) as is_kept,
    cast({{ build_number() }} as bigint) as _build,
    coalesce(_first_build, cast({{ build_number() }} as bigint)) as _first_build
from decided
where is_new or old_master is distinct from master_event_id
