with named as (
    select user_id, track_id, track_name, artist_name
    from {{ ref('play_totals') }}
    qualify
        row_number() over (
            partition by user_id, track_id order by first_played_at, track_name, artist_name
        ) = 1
),

firsts as (
    select
        user_id,
        track_id,
        min(first_played_at) as first_played_at,
        max(last_played_at) as last_played_at,
        cast(sum(play_count) as bigint) as play_count
    from {{ ref('play_totals') }}
    group by user_id, track_id
)

select
    firsts.user_id,
    firsts.track_id,
    named.track_name,
    named.artist_name,
    firsts.first_played_at,
    cast({{ local_time('firsts.first_played_at') }} as date) as first_date,
    firsts.last_played_at,
    firsts.play_count,
    min(firsts.first_played_at) over (partition by firsts.user_id, named.artist_name) = firsts.first_played_at
        as is_first_of_artist
from firsts
inner join named on firsts.user_id = named.user_id and firsts.track_id = named.track_id
