with {{ spellings('artists', 'artist_name') }},

{{ spellings('albums', 'album_name') }}

select
    albums.album_name,
    artists.artist_name,
    cast(sum(totals.play_count) as bigint) as play_count,
    count(distinct totals.user_id) as unique_listeners,
    count(distinct totals.track_id) as unique_tracks
from {{ ref('play_totals') }} as totals
inner join artists on totals.artist_name = artists.spelling
inner join albums on totals.album_name = albums.spelling
where {{ is_named('totals.') }}
group by albums.album_name, artists.artist_name
