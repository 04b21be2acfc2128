{{ config(materialized='incremental', incremental_strategy='replace_changed', unique_key=['user_id', 'date']) }}

select
    user_id,
    date,
    count(*) as total_plays,
    count(distinct case when {{ is_named() }} then track_id end) as unique_tracks,
    count(distinct case when {{ is_artist_named() }} then {{ name_key('artist_name') }} end) as unique_artists,
    coalesce(sum(listened_ms), 0) / cast(60000 as double) as total_minutes_listened,
    avg(cast(duration_ms as double)) as avg_track_duration_ms
from {{ ref('counted_plays') }} as plays
where {{ has_changed(['user_id', 'date']) }}
group by user_id, date
