with {{ spellings('artists', 'artist_name') }}

select
    artists.artist_name,
    cast(sum(totals.play_count) as bigint) as play_count,
    count(distinct totals.user_id) as unique_listeners,
    count(distinct totals.track_id) as unique_tracks,
    sum(totals.listened_ms) / cast(60000 as double) as total_minutes_listened,
    min(totals.first_played_at) as first_played_at,
    max(totals.last_played_at) as last_played_at
from {{ ref('play_totals') }} as totals
inner join artists on totals.artist_name = artists.spelling
where {{ is_artist_named('totals.artist_name') }}
group by artists.artist_name
