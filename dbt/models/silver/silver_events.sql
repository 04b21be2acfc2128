{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='event_id') }}

with landed as (
    {% for topic in ('plays', 'skips', 'likes') %}
    select
        event_id,
        user_id,
        event_type,
        track_id as landed_track_id,
        {{ track_id_of() }} as track_id,
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
        duration_ms is null as is_duration_unknown,
        album_name is null as is_album_unknown,
        device_type is null as is_device_unknown,
        {{ invalid_reason() }} as invalid_reason,
        {{ now_utc() }} as processed_at
    from first_landed
),

{% if is_incremental() %}
-- An event that silver has stays as it landed first; only a copy that the broker stamped earlier stands for it.
fresh as (
    select typed.*, known._first_build
    from typed
    left join {{ this }} as known on typed.event_id = known.event_id
    where
        known.event_id is null
        or (
            typed._kafka_timestamp < known._kafka_timestamp
            and typed.user_id = known.user_id
            and typed.track_id = known.track_id
            and typed.event_type = known.event_type
            and typed.played_at = known.played_at
        )
),

{% set columns %}
    event_id, user_id, event_type, landed_track_id, track_id, track_name, artist_name, album_name, duration_ms, played_at, device_type,
    ms_played, started_at, ended_at, time_precision_s, source, skipped, reason_end, _kafka_topic, _kafka_topic_id,
    _kafka_partition, _kafka_offset, _kafka_timestamp, played_date, is_duration_unknown, is_album_unknown,
    is_device_unknown, invalid_reason, processed_at, _first_build
{% endset %}
{% set several = has_rows(listeners_of_several_sources(this)) %}
{% if several %}
listeners as (
    {{ listeners_of_several_sources(this) }}
),

nearby as (
    select distinct fresh.user_id, {{ track_key('fresh.') }} as track_key
    from fresh
    inner join listeners on fresh.user_id = listeners.user_id
    where fresh.event_type = 'play'
),

-- All plays of the tracks that were played anew: what they are merged with may change.
neighbours as (
    select known.*
    from {{ this }} as known
    inner join listeners on known.user_id = listeners.user_id
    inner join nearby on known.user_id = nearby.user_id and {{ track_key('known.') }} = nearby.track_key
    where
        known.event_type = 'play'
        and not exists (select 1 from fresh where fresh.event_id = known.event_id)
),
{% endif %}

events as (
    select
        {{ columns }},
        cast(null as varchar) as old_master,
        cast(null as bigint) as old_listened_ms,
        true as is_new
    from fresh
    {% if several %}
    union all
    select
        {{ columns | replace('landed_track_id', 'coalesce(former_track_id, track_id)') }},
        master_event_id,
        listened_ms,
        false
    from neighbours
    {% endif %}
),
{% else %}
events as (
    select
        *,
        cast(null as bigint) as _first_build,
        cast(null as varchar) as old_master,
        cast(null as bigint) as old_listened_ms,
        true as is_new
    from typed
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
        {{ known_start() }} as known_start,
        {{ known_end() }} as known_end,
        coalesce(ms_played, duration_ms) as length_ms,
        {{ precision_ms() }} as precision_ms,
        {{ source_rank() }} as source_rank
    from events
    where event_type = 'play' and invalid_reason is null and {{ setting('merge_sources') | lower }}
),

{{ merged_records('spans') }},

-- What the records of a play know of its length, where its master does not.
lengths as (
    select
        merged.master_event_id,
        max(records.ms_played) as ms_played,
        max(records.duration_ms) as duration_ms
    from merged
    inner join events as records on merged.event_id = records.event_id
    group by merged.master_event_id
),

decided as (
    select
        events.*,
        coalesce(events.ms_played, lengths.ms_played, events.duration_ms, lengths.duration_ms) as listened_ms,
        case when events.invalid_reason is null then coalesce(merged.master_event_id, events.event_id) end
            as master_event_id
    from events
    left join merged on events.event_id = merged.event_id
    left join lengths on events.event_id = lengths.master_event_id
),

flagged as (
    select *, coalesce(listened_ms > {{ var('long_play_ms') }}, false) as is_long
    from decided
)

select
    {{ silver_event_columns() }},
    case when landed_track_id <> track_id then landed_track_id end as former_track_id,
    _kafka_topic,
    _kafka_timestamp,
    invalid_reason,
    master_event_id,
    coalesce(master_event_id = event_id, false) as is_kept,
    cast({{ build_number() }} as bigint) as _build,
    coalesce(_first_build, cast({{ build_number() }} as bigint)) as _first_build
from flagged
where is_new or old_master is distinct from master_event_id or old_listened_ms is distinct from listened_ms
