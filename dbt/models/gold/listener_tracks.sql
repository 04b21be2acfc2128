select
    user_id,
    track_id,
    heard_plays,
    last_played_at,
    row_number() over (partition by user_id order by {{ history_order('heard_plays') }}, track_id) as history_rank
from {{ ref('first_listens') }}
where heard_plays > 0
qualify
    row_number() over (partition by user_id order by {{ history_order('heard_plays') }}, track_id)
    <= {{ var('basket_most_tracks') }}
