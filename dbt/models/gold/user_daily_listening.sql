select
    user_id,
    cast(played_at as date) as date,
    count(*) as total_plays,
    count(distinct track_id) as unique_tracks,
    count(distinct artist_name) as unique_artists,
    sum(listened_ms) / 60000.0e0 as total_minutes_listened,
    avg(duration_ms) as avg_track_duration_ms
from {{ ref('silver_plays') }}
group by user_id, cast(played_at as date)
