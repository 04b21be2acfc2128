with tracks as (
    select
        user_id,
        track_id,
        cast(sum(play_count) as bigint) as plays,
        cast(sum(heard_plays) as bigint) as heard_plays,
        min(first_played_at) as first_played_at,
        max(last_played_at) as last_played_at
    from {{ ref('play_totals') }}
    group by user_id, track_id
)

select
    user_id,
    track_id,
    plays,
    heard_plays,
    first_played_at,
    last_played_at,
    -- Of those that were heard, which ones stand for the listener.
    case
        when heard_plays > 0
            then row_number() over (
                partition by user_id
                order by case when heard_plays > 0 then 0 else 1 end, {{ history_order('heard_plays') }}, track_id
            )
    end as history_rank
from tracks
