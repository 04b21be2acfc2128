select
    album_name,
    artist_name,
    cast(sum(play_count) as bigint) as play_count,
    count(distinct user_id) as unique_listeners,
    count(distinct track_id) as unique_tracks
from {{ ref('play_totals') }}
where album_name is not null
group by album_name, artist_name
