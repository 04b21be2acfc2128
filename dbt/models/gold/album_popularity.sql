select
    album_name,
    artist_name,
    count(*) as play_count,
    count(distinct user_id) as unique_listeners,
    count(distinct track_id) as unique_tracks
from {{ ref('silver_plays') }}
where not is_album_unknown
group by album_name, artist_name
