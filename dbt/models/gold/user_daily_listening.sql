select
    user_id,
    {{ date_of_local_time('played_at', "'UTC'") }} as date,
    count(*) as total_plays,
    count(distinct track_id) as unique_tracks,
    count(distinct artist_name) as unique_artists,
    sum(listened_ms) / 60000.0e0 as total_minutes_listened,
    avg(cast(duration_ms as double)) as avg_track_duration_ms
from {{ ref('silver_plays') }}
group by user_id, {{ date_of_local_time('played_at', "'UTC'") }}
