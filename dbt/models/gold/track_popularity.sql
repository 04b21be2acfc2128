with {{ spellings('artists', 'artist_name') }},

totals as (
    select
        track_id,
        cast(sum(play_count) as bigint) as play_count,
        count(distinct user_id) as unique_listeners,
        sum(listened_ms) / nullif(cast(sum(plays_with_length) as double), 0) as avg_listen_duration,
        max(last_played_at) as last_played_at
    from {{ ref('play_totals') }}
    where {{ is_named() }}
    group by track_id
),

named as (
    select totals.track_id, max(plays.track_name) as track_name, max(plays.artist_name) as artist_name
    from totals
    inner join {{ ref('play_totals') }} as plays
        on totals.track_id = plays.track_id and totals.last_played_at = plays.last_played_at
    group by totals.track_id
)

select
    totals.track_id,
    named.track_name,
    artists.artist_name,
    totals.play_count,
    totals.unique_listeners,
    totals.avg_listen_duration,
    totals.last_played_at
from totals
inner join named on totals.track_id = named.track_id
inner join artists on named.artist_name = artists.spelling
