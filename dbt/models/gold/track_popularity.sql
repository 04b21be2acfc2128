select
    track_id,
    max_by(track_name, played_at) as track_name,
    max_by(artist_name, played_at) as artist_name,
    count(*) as play_count,
    count(distinct user_id) as unique_listeners,
    avg(listened_ms) as avg_listen_duration,
    max(played_at) as last_played_at
from {{ ref('silver_plays') }}
group by track_id
