select
    artist_name,
    cast(sum(play_count) as bigint) as play_count,
    count(distinct user_id) as unique_listeners,
    count(distinct track_id) as unique_tracks,
    sum(listened_ms) / cast(60000 as double) as total_minutes_listened,
    min(first_played_at) as first_played_at,
    max(last_played_at) as last_played_at
from {{ ref('play_totals') }}
group by artist_name
