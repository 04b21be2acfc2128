with latest as (
    select max(last_played_at) as last_played_at from {{ ref('first_listens') }}
),

named as (
    select
        track_id,
        track_name,
        case when {{ is_artist_named() }} then artist_name else '' end as artist_name
    from {{ ref('track_popularity') }}
),

listened as (
    select
        tracks.track_id,
        count(case when tracks.heard_plays > 0 then 1 end) as listeners,
        count(
            case
                when
                    tracks.heard_plays > 0
                    and tracks.last_played_at >= {{ dbt.dateadd('day', -var('popular_days'), 'latest.last_played_at') }}
                    then 1
            end
        ) as recent_listeners
    from {{ ref('first_listens') }} as tracks
    cross join latest
    group by tracks.track_id
)

select
    named.track_id,
    named.track_name,
    named.artist_name,
    listened.listeners,
    listened.recent_listeners,
    row_number() over (order by named.track_id) as track_number,
    -- Sources give a song ids of their own; by artist and title it is one.
    first_value(named.track_id) over (
        partition by {{ track_key('named.') }} order by named.track_id
        rows between unbounded preceding and unbounded following
    ) as song,
    row_number() over (
        order by listened.recent_listeners desc, listened.listeners desc, named.track_id
    ) as popularity_rank,
    row_number() over (
        partition by named.artist_name order by listened.listeners desc, named.track_id
    ) as artist_rank,
    -- Beside the artist's best known track: 1 for that one itself.
    cast(listened.listeners as double)
    / greatest(max(listened.listeners) over (partition by named.artist_name), 1) as share_of_best
from named
inner join listened on named.track_id = listened.track_id
