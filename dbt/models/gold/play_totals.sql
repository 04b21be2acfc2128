{{
    config(
        materialized='incremental',
        incremental_strategy='replace_changed',
        unique_key=['user_id', 'track_id'],
    )
}}

select
    user_id,
    track_id,
    track_name,
    artist_name,
    album_name,
    device_type,
    count(*) as play_count,
    count(case when {{ is_heard() }} then 1 end) as heard_plays,
    cast(coalesce(sum(listened_ms), 0) as bigint) as listened_ms,
    count(listened_ms) as plays_with_length,
    count(skipped) as plays_with_skip_known,
    count(case when skipped then 1 end) as skips,
    min(played_at) as first_played_at,
    max(played_at) as last_played_at
from {{ ref('counted_plays') }} as plays
where {{ has_changed(['user_id', 'track_id']) }}
group by user_id, track_id, track_name, artist_name, album_name, device_type
