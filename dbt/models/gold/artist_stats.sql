select
    artist_name,
    count(*) as play_count,
    count(distinct user_id) as unique_listeners,
    count(distinct track_id) as unique_tracks,
    sum(listened_ms) / 60000.0e0 as total_minutes_listened,
    min(played_at) as first_played_at,
    max(played_at) as last_played_at
from {{ ref('silver_plays') }}
group by artist_name
