with heard as (
    select * from {{ ref('first_listens') }}
    where heard_plays > 0
),

listeners as (
    select user_id, max(last_played_at) as last_played_at
    from {{ ref('first_listens') }}
    group by user_id
)

select
    heard.user_id,
    heard.track_id,
    tracks.track_name,
    tracks.artist_name,
    heard.heard_plays as plays,
    heard.first_played_at,
    heard.last_played_at,
    row_number() over (
        partition by heard.user_id order by heard.heard_plays desc, heard.last_played_at, heard.track_id
    ) as rank
from heard
inner join listeners on heard.user_id = listeners.user_id
inner join {{ ref('track_catalogue') }} as tracks on heard.track_id = tracks.track_id
where
    heard.heard_plays >= {{ var('favourite_plays') }}
    and heard.last_played_at < {{ dbt.dateadd('day', -var('forgotten_days'), 'listeners.last_played_at') }}
